package native_test

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/certtest"
	"github.com/reprise-tls/reprise/native"
)

// documentedFields returns what docs/native.md says of each field of tls.Config.
func documentedFields(t *testing.T) map[string]string {
	t.Helper()
	docs, err := os.ReadFile("../docs/native.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(docs), "## What of tls.Config is honoured\n")
	table, _, _ = strings.Cut(table, "\n## ")
	fields := make(map[string]string)
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 4 {
			continue
		}
		for _, name := range regexp.MustCompile("`([A-Za-z]+)`").FindAllStringSubmatch(cells[1], -1) {
			if fields[name[1]] != "" {
				t.Errorf("%s is in the table twice", name[1])
			}
			fields[name[1]] = strings.TrimSpace(cells[2])
		}
	}
	return fields
}

// setFields are values of the fields that are refused or have no effect.
var setFields = tls.Config{
	Rand:          rand.Reader,
	WrapSession:   (&tls.Config{}).EncryptTicket,
	UnwrapSession: (&tls.Config{}).DecryptTicket,

	SessionTicketKey:            [32]byte{1}, //nolint:staticcheck // SA1019: it still is a field
	DynamicRecordSizingDisabled: true,
	PreferServerCipherSuites:    true, //nolint:staticcheck // SA1019: see above
	EncryptedClientHelloKeys:    []tls.EncryptedClientHelloKey{{Config: []byte{1}, PrivateKey: []byte{1}}},
	GetEncryptedClientHelloKeys: func(*tls.ClientHelloInfo) ([]tls.EncryptedClientHelloKey, error) { panic("called") },

	RootCAs:                             x509.NewCertPool(),
	ServerName:                          "other.example",
	InsecureSkipVerify:                  true,
	ClientSessionCache:                  tls.NewLRUClientSessionCache(1),
	GetClientCertificate:                func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { panic("called") },
	Renegotiation:                       tls.RenegotiateFreelyAsClient,
	EncryptedClientHelloConfigList:      []byte{1},
	EncryptedClientHelloRejectionVerify: func(tls.ConnectionState) error { panic("called") },
}

// TestFieldsOfConfig: the documentation has each field of tls.Config of this Go, and is right about those that are not honoured. What
// is honoured, other tests show.
func TestFieldsOfConfig(t *testing.T) {
	documented := documentedFields(t)
	_, certificate := certtest.Shared(t)
	for _, field := range reflect.VisibleFields(reflect.TypeFor[tls.Config]()) {
		if !field.IsExported() {
			continue
		}
		says, ok := documented[field.Name]
		delete(documented, field.Name)
		config := &tls.Config{Certificates: []tls.Certificate{certificate}}
		value := reflect.ValueOf(&setFields).Elem().FieldByIndex(field.Index)
		switch {
		case !ok:
			t.Errorf("%s is not in docs/native.md", field.Name)
		case strings.HasPrefix(says, "honoured"):
		case value.IsZero():
			t.Errorf("%s is not honoured, and not tested here", field.Name)
		case strings.HasPrefix(says, "refused"):
			reflect.ValueOf(config).Elem().FieldByIndex(field.Index).Set(value)
			if err := handshakeWith(t, config); err == nil || !strings.Contains(err.Error(), field.Name) {
				t.Errorf("%s: %v, want an error that names it", field.Name, err)
			}
		case strings.HasPrefix(says, "no effect"):
			reflect.ValueOf(config).Elem().FieldByIndex(field.Index).Set(value)
			if err := handshakeWith(t, config); err != nil {
				t.Errorf("%s: %v", field.Name, err)
			}
		default:
			t.Errorf("%s: docs/native.md says %q; neither honoured, refused nor no effect", field.Name, says)
		}
	}
	for name := range documented {
		t.Errorf("docs/native.md has the field %s, and tls.Config has not", name)
	}
}

// handshakeWith makes a handshake of a server with config.
func handshakeWith(t *testing.T, config *tls.Config) error {
	t.Helper()
	authority, _ := certtest.Shared(t)
	a, b := tcpPair(t)
	client := tls.Client(a, &tls.Config{RootCAs: authority.Pool(), ServerName: "a.example", MaxVersion: tls.VersionTLS12})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = client.Handshake() // the server's outcome tells
	}()
	err := native.Server(b, config, newCache(t, reprise.Options{})).Handshake()
	if err != nil {
		b.Close()
	}
	<-ended
	return err
}

// TestKeyLogWriter gets the line that other programs read.
func TestKeyLogWriter(t *testing.T) {
	_, certificate := certtest.Shared(t)
	var log bytes.Buffer
	if err := handshakeWith(t, &tls.Config{Certificates: []tls.Certificate{certificate}, KeyLogWriter: &log}); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^CLIENT_RANDOM [0-9a-f]{64} [0-9a-f]{96}\n$`).Match(log.Bytes()) {
		t.Errorf("%q", log.Bytes())
	}
}
