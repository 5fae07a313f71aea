package main

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/reprise-tls/reprise"
	pebblestore "github.com/reprise-tls/reprise/store/pebble"
	redisstore "github.com/reprise-tls/reprise/store/redis"
)

type closableStore interface {
	reprise.Store
	reprise.BatchPutter
	io.Closer
}

func openStore(k storeKind, setup serverSetup) (closableStore, error) {
	switch k {
	case embeddedStore:
		return pebblestore.Open(setup.Folder, pebblestore.Options{})
	case redisStore:
		return redisstore.Open(setup.Redis, redisstore.Options{})
	default:
		return nil, fmt.Errorf("no store %d", k)
	}
}

// A countedStore counts the calls of a store; of a batch, each put.
type countedStore struct {
	closableStore
	gets, takes, puts, deletes atomic.Int64
}

func (s *countedStore) Get(ctx context.Context, key reprise.StoreKey) ([]byte, bool, error) {
	s.gets.Add(1)
	return s.closableStore.Get(ctx, key)
}

func (s *countedStore) Take(ctx context.Context, key reprise.StoreKey) ([]byte, bool, error) {
	s.takes.Add(1)
	return s.closableStore.Take(ctx, key)
}

func (s *countedStore) Put(ctx context.Context, key reprise.StoreKey, record []byte, lifetime time.Duration) error {
	s.puts.Add(1)
	return s.closableStore.Put(ctx, key, record, lifetime)
}

func (s *countedStore) PutBatch(ctx context.Context, puts []reprise.StorePut) error {
	s.puts.Add(int64(len(puts)))
	return s.closableStore.PutBatch(ctx, puts)
}

func (s *countedStore) Delete(ctx context.Context, key reprise.StoreKey) error {
	s.deletes.Add(1)
	return s.closableStore.Delete(ctx, key)
}

// counted returns a store that counts, with the optional interfaces of the one below that read and write records.
func (s *countedStore) counted() reprise.Store {
	if getter, ok := s.closableStore.(reprise.BatchGetter); ok {
		return &countedBatchGetter{s, getter}
	}
	return s
}

// A countedBatchGetter is a countedStore that takes several gets together.
type countedBatchGetter struct {
	*countedStore
	getter reprise.BatchGetter
}

func (s *countedBatchGetter) GetBatch(ctx context.Context, keys []reprise.StoreKey, done func(int, []byte, error)) {
	s.gets.Add(int64(len(keys)))
	s.getter.GetBatch(ctx, keys, done)
}

func (s *countedStore) count(m *sample) {
	m.Gets, m.Takes = int(s.gets.Load()), int(s.takes.Load())
	m.Puts, m.Deletes = int(s.puts.Load()), int(s.deletes.Load())
}
