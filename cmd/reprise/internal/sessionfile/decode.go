package sessionfile

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
	"github.com/reprise-tls/reprise/sslsession"
)

// A Form is how a session is encoded.
type Form string

const (
	formPEM     Form = "pem"
	formDER     Form = "der"
	formReprise Form = "reprise"
	formRecord  Form = "record"
)

// found is a session as it was read.
type found struct {
	form Form
	// ssl is the session of a PEM or DER form, nil of others.
	ssl *sslsession.SSLSession
	// own is the session of the other forms; nil if it is a record that was not opened, and sealed then says why.
	own    *reprise.Session
	sealed error
	// header and record are those of a record.
	header reprise.RecordHeader
	record []byte
	// more tells that another session follows in the file.
	more bool
}

// decode reads a session in any form. open opens a record.
func decode(data []byte, open func(record []byte) (*reprise.Session, error)) (*found, error) {
	text, isText := asText(data)
	switch {
	case bytes.Contains(data, []byte("-----BEGIN ")):
		x, rest, err := sslsession.ParsePEM(data)
		return &found{form: formPEM, ssl: x, more: bytes.Contains(rest, []byte("-----BEGIN "+sslsession.PEMType))}, err
	case !isText:
		return decodeBinary(data, open)
	}
	decoded, err := decodeText(text)
	if err != nil {
		return nil, err
	}
	defer clear(decoded)
	return decodeBinary(decoded, open)
}

// asText returns data without the space around it if it is text.
func asText(data []byte) (string, bool) {
	for _, c := range data {
		if c > '~' || c < ' ' && c != '\n' && c != '\r' && c != '\t' {
			return "", false
		}
	}
	return string(bytes.TrimSpace(data)), true
}

// decodeText decodes what redis-cli shows, hexadecimal, or base64.
func decodeText(text string) ([]byte, error) {
	if strings.HasPrefix(text, `"`) {
		if unquoted, err := strconv.Unquote(text); err == nil {
			return []byte(unquoted), nil
		}
	}
	text = strings.Map(dropSeparators, text)
	if decoded, err := hex.DecodeString(text); err == nil {
		return decoded, nil
	}
	text = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(text), "=")
	if decoded, err := base64.RawStdEncoding.DecodeString(text); err == nil {
		return decoded, nil
	}
	return nil, errors.New("text that is neither PEM, hexadecimal, base64 nor a string of redis-cli")
}

// decodeBinary reads a session that is not text. A newline may follow, as redis-cli --raw prints one.
func decodeBinary(data []byte, open func(record []byte) (*reprise.Session, error)) (*found, error) {
	f, err := decodeExactly(data, open)
	if trimmed, ok := bytes.CutSuffix(data, []byte("\n")); ok && (err != nil || f.sealed != nil) {
		if f, err := decodeExactly(trimmed, open); err == nil && f.sealed == nil {
			return f, nil
		}
	}
	return f, err
}

func decodeExactly(data []byte, open func(record []byte) (*reprise.Session, error)) (*found, error) {
	const sequence, revision = 0x30, 1
	switch {
	case len(data) < 3:
		return nil, fmt.Errorf("%d bytes are no session", len(data))
	case data[0] == sequence:
		return decodeDER(data)
	case data[0] == revision && isVersion(data[1:]):
		s, err := reprise.ParseSession(data)
		return &found{form: formReprise, own: s}, err
	case data[0] == revision:
		return decodeRecord(data, open)
	}
	return nil, fmt.Errorf("neither a session in DER nor one of ours: it begins with %#02x", data[0])
}

// isVersion tells a session's encoding, in which the protocol version follows the revision, from a record, in which a time does.
func isVersion(data []byte) bool {
	version := binary.BigEndian.Uint16(data)
	return version == tls.VersionTLS12 || version == tls.VersionTLS13
}

func decodeDER(data []byte) (*found, error) {
	x, rest, err := sslsession.Parse(data)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes follow the session", len(rest))
	}
	return &found{form: formDER, ssl: x}, err
}

func decodeRecord(data []byte, open func(record []byte) (*reprise.Session, error)) (*found, error) {
	header, err := reprise.ParseRecordHeader(data)
	if err != nil {
		return nil, err
	}
	f := &found{form: formRecord, header: header, record: bytes.Clone(data)}
	f.own, f.sealed = open(data)
	return f, nil
}

// toSession returns the session as one of ours.
func (f *found) toSession() (*reprise.Session, error) {
	if f.ssl == nil {
		return f.own, f.needOpen()
	}
	s, err := sslsession.ToSession(f.ssl, f.foreign())
	if errors.Is(err, sslsession.ErrForeign) {
		return nil, hint.With(errors.New("a session of other software, with a client certificate: its scope depends on the client CAs"),
			"convert it in a program of yours, with sslsession.ToSession, or keep it in PEM or DER")
	}
	return s, hint.With(err, "it can be kept in PEM or DER only")
}

// foreign is what a session of other software says of its scope itself. One with a client certificate does not say enough.
func (f *found) foreign() sslsession.Foreign {
	if f.ssl.PeerCertificate != nil {
		return sslsession.Foreign{}
	}
	return sslsession.Foreign{
		Scope:   reprise.ScopeOf(reprise.ConnectionInfo{Context: f.ssl.SessionIDContext, ServerName: string(f.ssl.ServerName)}),
		Context: f.ssl.SessionIDContext,
		Now:     time.Now(),
	}
}

// toSSLSession returns the session in the form of OpenSSL.
func (f *found) toSSLSession() (*sslsession.SSLSession, error) {
	if f.ssl != nil {
		return f.ssl, nil
	}
	if err := f.needOpen(); err != nil {
		return nil, err
	}
	x, err := sslsession.FromSession(f.own)
	return x, hint.With(err, "--to reprise keeps it as it is")
}

// needOpen returns an error if the session is in a record that was not opened.
func (f *found) needOpen() error {
	if errors.Is(f.sealed, errNoID) {
		return hint.With(errors.New("a sealed record"), "%v", f.sealed)
	}
	return hint.With(f.sealed, "see that the ID is that of this record's session, and that the fleet key is the one of the servers that use the store; "+
		"'reprise key show-id FILE' and /_status show the keys' names")
}
