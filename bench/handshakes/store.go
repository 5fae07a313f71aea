package main

import (
	"fmt"
	"io"

	"github.com/reprise-tls/reprise"
	pebblestore "github.com/reprise-tls/reprise/store/pebble"
	redisstore "github.com/reprise-tls/reprise/store/redis"
)

type closableStore interface {
	reprise.Store
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
