package reprise

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"testing"
)

func TestKeyedHashIsHMAC(t *testing.T) {
	key := []byte("key")
	k := newKeyedHash(key)
	var goroutines sync.WaitGroup
	for length := range 200 {
		goroutines.Go(func() {
			message := make([]byte, length)
			rand.Read(message)
			mac := hmac.New(sha256.New, key)
			mac.Write(message)
			if got, want := k.sum(message[:length/3], message[length/3:]), mac.Sum(nil); !bytes.Equal(got[:], want) {
				t.Errorf("hash of %d bytes is %x, want %x", length, got, want)
			}
		})
	}
	goroutines.Wait()
}

func TestExpandIsHKDF(t *testing.T) {
	id, err := MakeSessionID([]byte("a session ID"))
	if err != nil {
		t.Fatal(err)
	}
	key := bytes.Repeat([]byte{0x5a}, sha256.Size)
	want, err := hkdf.Expand(sha256.New, key, "a session ID", 32)
	if err != nil {
		t.Fatal(err)
	}
	if got := expand(newKeyedHash(key), &id); !bytes.Equal(got[:], want) {
		t.Errorf("expanded to %x, want %x", got, want)
	}
}
