package storetest

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/reprise-tls/reprise"
)

func valueMissIsValue() *double {
	d := new(double)
	d.value = func(ctx context.Context, key reprise.StoreKey) ([]byte, error) {
		value, err := d.Store.Value(ctx, key)
		if value == nil {
			value = []byte{}
		}
		return value, err
	}
	return d
}

func swapBlindly() *double {
	d := new(double)
	d.swap = func(ctx context.Context, key reprise.StoreKey, _, value []byte) (bool, error) {
		old, err := d.Store.Value(ctx, key)
		if err != nil {
			return false, err
		}
		return d.Store.SwapValue(ctx, key, old, value)
	}
	return d
}

func valueSharesSlice() *double {
	d := new(double)
	held := make(map[reprise.StoreKey][]byte)
	d.value = func(_ context.Context, key reprise.StoreKey) ([]byte, error) { return held[key], nil }
	d.swap = func(_ context.Context, key reprise.StoreKey, old, value []byte) (bool, error) {
		if !bytes.Equal(held[key], old) {
			return false, nil
		}
		held[key] = value
		return true, nil
	}
	return d
}

// valuesAreRecords keeps the values where the records are.
func valuesAreRecords() *double {
	d := new(double)
	d.value = func(ctx context.Context, key reprise.StoreKey) ([]byte, error) {
		value, _, err := d.Store.Get(ctx, key)
		return value, err
	}
	d.swap = func(ctx context.Context, key reprise.StoreKey, _, value []byte) (bool, error) {
		return true, d.Store.Put(ctx, key, value, long)
	}
	return d
}

func clearLeavesValues() *double {
	d := new(double)
	d.clear = func(ctx context.Context) (int, error) {
		count, err := d.Count(ctx)
		err = errors.Join(err, d.Each(ctx, func(key reprise.StoreKey, _ []byte, _ time.Time) bool {
			return d.Delete(ctx, key) == nil
		}))
		return count, err
	}
	return d
}

func clearCountsValues() *double {
	d := new(double)
	d.clear = func(ctx context.Context) (int, error) {
		n, err := d.Store.Clear(ctx)
		return n + 1, err
	}
	return d
}

func swapInSteps() *double {
	d := new(double)
	d.swap = func(ctx context.Context, key reprise.StoreKey, old, value []byte) (bool, error) {
		now, err := d.Store.Value(ctx, key)
		if err != nil || !bytes.Equal(now, old) {
			return false, err
		}
		time.Sleep(time.Millisecond)
		for {
			swapped, err := d.Store.SwapValue(ctx, key, now, value)
			if swapped || err != nil {
				return swapped, err
			}
			if now, err = d.Store.Value(ctx, key); err != nil {
				return false, err
			}
		}
	}
	return d
}

func swapIgnoresContext() *double {
	d := new(double)
	d.swap = func(ctx context.Context, key reprise.StoreKey, old, value []byte) (bool, error) {
		return d.Store.SwapValue(context.WithoutCancel(ctx), key, old, value)
	}
	return d
}
