package native

import (
	"testing"

	"github.com/reprise-tls/reprise/native/internal/alert"
	"github.com/reprise-tls/reprise/native/internal/wire"
)

// expectLast awaits the message that completes a handshake, whatever it is.
type expectLast struct{}

func (expectLast) next(*engine, message) (state, error) { return nil, nil }

// TestMessageAfterTheLast: nothing may follow the Finished in its record, be it a message or a part of one.
func TestMessageAfterTheLast(t *testing.T) {
	last := []byte{byte(wire.KindFinished), 0, 0, 1, 0}
	for name, behind := range map[string][]byte{"nothing": nil, "a message": last, "a part of a message": last[:1]} {
		content := append(last[:len(last):len(last)], behind...)
		e := &engine{state: expectLast{}}
		e.in.Feed(append([]byte{22, 3, 3, 0, byte(len(content))}, content...))
		err := e.advance()
		if behind == nil && err != nil || behind != nil && (err == nil || alert.Of(err) != alert.UnexpectedMessage) {
			t.Errorf("%s behind the Finished: %v", name, err)
		}
	}
}

func TestClosedExporterHasNoSecret(t *testing.T) {
	x := new(exporter)
	for i := range x.master {
		x.master[i] = 0xa5
	}
	x.close()
	for _, b := range x.master {
		if b != 0 {
			t.Fatalf("the secret is still there: %x", x.master)
		}
	}
}
