package reprise

import (
	"context"
	"crypto/tls"
	"testing"
)

// TestTakeCallbackThatIsUnset: a session for single use is taken once, also when the take callback goes away in the middle.
func TestTakeCallbackThatIsUnset(t *testing.T) {
	c, err := New(Options{SingleUse: true})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := c.Accept(t.Context(), ConnectionInfo{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := conn.NewSession(SessionParams{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, Secret: make([]byte, 32)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.Complete(true)
	f := found{session: s, since: c.internal.moment(&s.id)}
	refuses := func(context.Context, *Session) (bool, error) { return false, nil }
	for range 2 {
		c.SetTakeCallback(refuses)
		unset := func() context.Context { c.SetTakeCallback(nil); return t.Context() }
		if got := c.take(f, unset); got != Used {
			t.Errorf("%v by a callback that has refused", got)
		}
	}
}
