package listen_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"net"
	"strings"
	"testing"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/listen"
)

// TestEndingAfterMessageOutOfPlace: a TLS 1.2 client that sends a handshake message after the handshake, as for a
// renegotiation, gets a fatal alert. crypto/tls does not remember that one in what later reads return.
func TestEndingAfterMessageOutOfPlace(t *testing.T) {
	ln := newListener(t, listenTCP(t), newCache(t, reprise.Options{}), listen.Options{})
	var keyLog bytes.Buffer
	config := clientConfig(t, tls.VersionTLS12)
	config.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	config.KeyLogWriter = &keyLog
	raw := &recordingConn{Conn: dial(t, ln)}
	client, server := connectOver(t, raw, ln, config)

	finished := []byte{20, 0, 0, 0}
	const sentBefore = 2 // records: Finished and data
	_, _ = raw.Write(sealTLS12(t, keyLog.String(), raw.read.Bytes(), sentBefore, finished))
	readToEnd(server)
	server.Close()
	client.NetConn().Close()
	if got := listen.EndingOf(server); got != fatal {
		t.Errorf("ended with %+v, want %+v", got, fatal)
	}
}

// A recordingConn keeps what was read.
type recordingConn struct {
	net.Conn
	read bytes.Buffer
}

func (c *recordingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.read.Write(b[:n])
	return n, err
}

// sealTLS12 returns a handshake record of a client, under AES-128-GCM (RFC 5288). The keys come from the line of its
// key log and what it has read of the server.
func sealTLS12(t *testing.T, keyLog string, serverFlight []byte, seq uint64, message []byte) []byte {
	t.Helper()
	fields := strings.Fields(keyLog) // CLIENT_RANDOM <client random> <master secret>
	clientRandom, err := hex.DecodeString(fields[1])
	if err != nil {
		t.Fatal(err)
	}
	master, err := hex.DecodeString(fields[2])
	if err != nil {
		t.Fatal(err)
	}
	const beforeRandom = 5 + 4 + 2 // record header, message header, version of the ServerHello
	seed := append(bytes.Clone(serverFlight[beforeRandom:][:32]), clientRandom...)
	block := prfTLS12(master, "key expansion", seed, 40)
	key, salt := block[:16], block[32:36]

	aesBlock, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(aesBlock)
	if err != nil {
		t.Fatal(err)
	}
	explicit := binary.BigEndian.AppendUint64(nil, seq)
	additional := append(bytes.Clone(explicit), 22, 3, 3, 0, byte(len(message)))
	sealed := aead.Seal(bytes.Clone(explicit), append(bytes.Clone(salt), explicit...), message, additional)
	return append([]byte{22, 3, 3, 0, byte(len(sealed))}, sealed...)
}

// prfTLS12 is the PRF of TLS 1.2 with SHA-256 (RFC 5246, section 5).
func prfTLS12(secret []byte, label string, seed []byte, length int) (out []byte) {
	mac := func(parts ...[]byte) []byte {
		h := hmac.New(sha256.New, secret)
		for _, part := range parts {
			h.Write(part)
		}
		return h.Sum(nil)
	}
	seed = append([]byte(label), seed...)
	for a := mac(seed); len(out) < length; a = mac(a) {
		out = append(out, mac(a, seed)...)
	}
	return out[:length]
}
