package listen_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/listen"
)

// helloOf returns the ClientHello of a client, in a record.
func helloOf(t *testing.T, config *tls.Config) []byte {
	t.Helper()
	a, b := net.Pipe()
	defer b.Close()
	go func() { _ = tls.Client(a, config).Handshake() }() // until the pipe is closed
	header := make([]byte, 5)
	if _, err := io.ReadFull(b, header); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint16(header[3:]))
	if _, err := io.ReadFull(b, body); err != nil {
		t.Fatal(err)
	}
	return append(header, body...)
}

// TestAlertBeforeUnreadData: a client that has sent more than was read gets the alert of native and the end of the stream, and no
// reset, which could take the alert away.
func TestAlertBeforeUnreadData(t *testing.T) {
	ln := newListener(t, listenTCP(t), newCache(t, reprise.Options{}), listen.Options{Engine: listen.EngineAuto})
	go func() { _, _ = ln.Accept() }() // until it is closed
	raw := dial(t, ln)
	if err := raw.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	unknown := []byte{99, 3, 3, 0, 1, 0}
	input := append(helloOf(t, clientConfig(t, tls.VersionTLS12)), unknown...)
	if _, err := raw.Write(append(input, make([]byte, 40_000)...)); err != nil {
		t.Fatal(err)
	}
	output, err := io.ReadAll(raw)
	if err != nil {
		t.Errorf("after %d bytes: %v", len(output), err)
	}
	if alert := []byte{21, 3, 3, 0, 2, 2, 10}; !bytes.HasSuffix(output, alert) {
		t.Errorf("the server has sent %x, want the alert unexpected message at the end", output)
	}
}
