package reprise_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/reprise-tls/reprise"
)

// The three callbacks with an external cache of one's own, as SSL_CTX_sess_set_new_cb and its companions would set
// them. The encoding holds the session's secret: what stores it must be as safe as a private key. [BindStore] seals
// what it stores.
func Example_callbacks() {
	cache, err := reprise.New(reprise.Options{Context: []byte("shop")})
	if err != nil {
		panic(err)
	}
	defer cache.Close()

	var external sync.Map
	cache.SetNewCallback(func(_ *reprise.Cache, s *reprise.Session) (keep bool) {
		encoded, err := s.MarshalBinary()
		if err == nil {
			external.Store(s.ID(), encoded)
		}
		return true
	})
	cache.SetRemoveCallback(func(_ *reprise.Cache, s *reprise.Session, why reprise.Removal, _ bool) {
		if why.Final() { // not because it was evicted here, or this process ends
			external.Delete(s.ID())
		}
	})
	cache.SetGetCallback(func(_ context.Context, id reprise.SessionID) (*reprise.Session, error) {
		encoded, ok := external.Load(id)
		if !ok {
			return nil, nil
		}
		return reprise.ParseSession(encoded.([]byte))
	})

	fmt.Println(cache.Size(), cache.Timeout())
	// Output: 20480 2h0m0s
}
