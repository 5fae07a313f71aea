package native

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/reprise-tls/reprise/native/internal/alert"
	"github.com/reprise-tls/reprise/native/internal/schedule"
)

// An exporter makes keying material for the application (RFC 5705).
type exporter struct {
	suite   *schedule.Suite
	randoms [2 * schedule.RandomLength]byte // the client's and the server's
	allowed bool                            // RFC 7627, section 5.4

	mu     sync.Mutex
	master [schedule.MasterSecretLength]byte
	closed bool
}

// newExporter returns the exporter of a handshake whose master secret is known.
func newExporter(h *handshake) *exporter {
	x := &exporter{suite: h.suite, allowed: h.hello.ExtendedMasterSecret}
	copy(x.randoms[copy(x.randoms[:], h.hello.Random):], h.serverHello.Random[:])
	copy(x.master[:], h.master)
	return x
}

// close overwrites the secret.
func (x *exporter) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	clear(x.master[:])
	x.closed = true
}

// reserved are labels that the handshake itself uses (RFC 5705, section 4; RFC 7627).
var reserved = []string{"client finished", "server finished", "master secret", "extended master secret", "key expansion"}

func (x *exporter) export(label string, context []byte, length int) ([]byte, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.closed:
		return nil, errors.New("native: exporter of a connection that is closed")
	case !x.allowed:
		// Without the extension, two connections can export the same.
		return nil, errors.New("native: keying material is exported only with extended master secret")
	case slices.Contains(reserved, label):
		return nil, fmt.Errorf("native: reserved exporter label %q", label)
	case length < 0 || len(context) > 0xffff:
		return nil, errors.New("native: exporter context or length out of range")
	}
	seeds := [][]byte{x.randoms[:]}
	if context != nil {
		seeds = append(seeds, binary.BigEndian.AppendUint16(nil, uint16(len(context))), context)
	}
	out := make([]byte, length)
	schedule.NewPRF(x.suite, x.master[:]).Expand(out, label, seeds...)
	return out, nil
}

// keyLogMutex keeps lines of a KeyLogWriter apart, which connections share.
var keyLogMutex sync.Mutex

// logSecret writes the master secret to the KeyLogWriter, if the application wants that, in the format of NSS.
func (e *engine) logSecret(clientRandom, master []byte) error {
	if e.config.KeyLogWriter == nil {
		return nil
	}
	keyLogMutex.Lock()
	defer keyLogMutex.Unlock()
	if _, err := fmt.Fprintf(e.config.KeyLogWriter, "CLIENT_RANDOM %x %x\n", clientRandom, master); err != nil {
		return alert.InternalError.Errorf("native: KeyLogWriter: %w", err)
	}
	return nil
}
