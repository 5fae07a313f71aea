package native

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"hash"
	"net"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/native/internal/alert"
	"github.com/reprise-tls/reprise/native/internal/record"
	"github.com/reprise-tls/reprise/native/internal/wire"
)

// Limits against hostile peers, until the handshake is complete.
const (
	// maxMessage is the length in bytes of the longest handshake message but a Certificate.
	maxMessage = 64 << 10
	// maxCertificateMessage is that of the longest client chain.
	maxCertificateMessage = 256 << 10
	// maxUselessRecords is how many records in a row may bring nothing: empty application data, warnings.
	maxUselessRecords = 16
)

// An engine is the TLS state of a server connection during its handshake: bytes of the peer go in, bytes for the peer come out.
// It has no socket and starts no goroutine; what blocks are the application's callbacks and the cache's. Afterwards
// its reader and writer are all that is left.
type engine struct {
	ctx    context.Context
	conn   net.Conn // for ClientHelloInfo only
	config *tls.Config
	cache  *reprise.Cache

	in      record.Reader
	out     record.Writer
	output  []byte // to be sent
	partial []byte // of a handshake message that spans records
	useless int

	state      state
	transcript transcript
	connection *reprise.Connection // nil: no sessions
	result     tls.ConnectionState
	exporter   *exporter
	handshake  *handshake // nil before the ClientHello
	byTicket   bool       // the client offers a ticket
	isComplete bool       // and the cache knows it
}

// A state is what the engine awaits next; it has a type of its own for each message, with what is known by then.
type state interface {
	// next handles the message that was awaited, or an error that ends the connection. It returns the state after it, nil
	// if the handshake is complete.
	next(e *engine, m message) (state, error)
}

// A message is a handshake message, or a ChangeCipherSpec, which is not one but comes in their midst.
type message struct {
	kind wire.Kind
	body []byte
	raw  []byte // with its header, for the transcript

	followed         bool // by more in the same record
	changeCipherSpec bool
}

// is tells whether the message is the handshake message that is awaited.
func (m message) is(kind wire.Kind) bool { return !m.changeCipherSpec && m.kind == kind }

// unexpected is the error for a message that is out of turn (RFC 5246, section 7.4).
func (m message) unexpected(awaited string) error {
	if m.changeCipherSpec {
		return alert.UnexpectedMessage.Errorf("native: ChangeCipherSpec, expected %s", awaited)
	}
	return alert.UnexpectedMessage.Errorf("native: handshake message %d, expected %s", m.kind, awaited)
}

// malformed is the error for a message that does not parse.
func (m message) malformed() error {
	return alert.DecodeError.Errorf("native: malformed handshake message %d", m.kind)
}

// errMoreInput is returned by advance when it needs more bytes of the peer.
var errMoreInput = errors.New("native: more input needed")

// advance handles what was fed, until the handshake is complete or more is needed. On an error, output ends with the alert
// that it calls for.
func (e *engine) advance() error {
	for e.state != nil {
		kind, content, err := e.in.Next()
		if record.IsIncomplete(err) {
			return errMoreInput
		}
		if err == nil {
			err = e.handleRecord(kind, content)
		}
		if err != nil {
			return e.fail(err)
		}
	}
	if len(e.partial) > 0 {
		return e.fail(alert.UnexpectedMessage.Errorf("native: handshake message after the Finished"))
	}
	return nil
}

// complete tells the cache that the handshake is complete. The last flight goes out after that: who has it may come back with the
// session at once.
func (e *engine) complete() {
	e.isComplete = true
	if e.connection != nil {
		e.connection.Complete(true)
	}
}

// abandon tells the cache that nothing came of the connection.
func (e *engine) abandon() {
	switch {
	case e.connection == nil:
	case e.isComplete: // but the last flight did not go out
		e.connection.End(reprise.Ending{})
	default:
		e.connection.Release()
	}
}

// fail queues the alert of an error, unless the error is the peer's alert.
func (e *engine) fail(err error) error {
	if !isReceived(err) {
		e.sendAlert(alert.Fatal, alert.Of(err))
	}
	return err
}

// isReceived tells whether an error is the peer's alert, which is not answered.
func isReceived(err error) bool {
	_, ok := errors.AsType[*AlertError](err)
	return ok
}

func (e *engine) sendAlert(level uint8, a alert.Alert) {
	output, err := e.out.Append(e.output, record.Alert, []byte{level, byte(a)})
	if err == nil {
		e.output = output
	}
}

func (e *engine) handleRecord(kind record.Type, content []byte) error {
	if len(e.partial) > 0 && kind != record.Handshake {
		return alert.UnexpectedMessage.Errorf("native: record of type %d within a handshake message", kind)
	}
	switch kind {
	case record.Handshake:
		e.useless = 0
		return e.handleFragment(content)
	case record.ChangeCipherSpec:
		if len(content) != 1 || content[0] != 1 {
			return alert.DecodeError.Errorf("native: malformed ChangeCipherSpec")
		}
		return e.step(message{changeCipherSpec: true})
	case record.Alert:
		return e.handleAlert(content)
	default:
		return alert.UnexpectedMessage.Errorf("native: application data during the handshake")
	}
}

// handleFragment handles what a record has of one or more handshake messages. A message may come in single bytes, so what there is of it
// already is not moved each time.
func (e *engine) handleFragment(fragment []byte) error {
	if len(e.partial) == 0 {
		rest, err := e.handleMessages(fragment)
		e.partial = append(e.partial, rest...)
		return err
	}
	e.partial = append(e.partial, fragment...)
	rest, err := e.handleMessages(e.partial)
	if len(rest) < len(e.partial) {
		e.partial = bytes.Clone(rest) // of a long message the memory is not kept
	}
	return err
}

// handleAlert ends the handshake on every alert but warnings, of which it bears a few.
func (e *engine) handleAlert(content []byte) error {
	level, a, err := parseAlert(content)
	if err != nil {
		return err
	}
	if level == alert.Warning && a != alert.CloseNotify {
		if e.useless++; e.useless > maxUselessRecords {
			return alert.UnexpectedMessage.Errorf("native: too many warnings")
		}
		return nil
	}
	return &AlertError{Alert: uint8(a)}
}

// handleMessages handles the messages that b has as a whole, and returns the rest. A step copies what it keeps.
func (e *engine) handleMessages(b []byte) (rest []byte, err error) {
	for e.state != nil {
		m, length, err := nextMessage(b, e.state)
		if err != nil || length == 0 {
			return b, err
		}
		b = b[length:]
		m.followed = len(b) > 0
		if err := e.step(m); err != nil {
			return b, err
		}
	}
	return b, nil
}

// nextMessage returns the first message, and how long it is; 0 if it is not there as a whole.
func nextMessage(b []byte, awaiting state) (m message, length int, err error) {
	if len(b) < wire.HeaderLength {
		return m, 0, nil
	}
	limit := maxMessage
	if _, ok := awaiting.(*expectCertificate); ok {
		limit = maxCertificateMessage
	}
	length = wire.HeaderLength + (int(b[1])<<16 | int(b[2])<<8 | int(b[3]))
	if length > limit {
		return m, 0, alert.IllegalParameter.Errorf("native: handshake message of %d bytes", length)
	}
	if len(b) < length {
		return m, 0, nil
	}
	return message{kind: wire.Kind(b[0]), body: b[wire.HeaderLength:length:length], raw: b[:length:length]}, length, nil
}

func (e *engine) step(m message) error {
	next, err := e.state.next(e, m)
	if err != nil {
		return err
	}
	e.state = next
	return nil
}

// send queues handshake messages in as few records as they fit in, and adds them to the transcript.
func (e *engine) send(messages ...[]byte) error {
	for _, m := range messages {
		e.transcript.add(m)
	}
	flight := messages[0]
	if len(messages) > 1 {
		flight = concat(messages...)
	}
	return e.append(record.Handshake, flight)
}

func (e *engine) append(kind record.Type, content []byte) (err error) {
	e.output, err = e.out.Append(e.output, kind, content)
	return err
}

// A transcript is the hash of the handshake messages so far, and the messages themselves while the hash is not chosen or a
// CertificateVerify may come, which signs them (RFC 5246, section 7.4.8).
type transcript struct {
	hash     hash.Hash
	messages []byte
	keep     bool
	digest   [64]byte // what sum returns lies in it
}

// begin begins the transcript with the ClientHello, which nobody may change afterwards.
func (t *transcript) begin(hello []byte) { t.messages = hello[:len(hello):len(hello)] }

func (t *transcript) add(m []byte) {
	if t.hash != nil {
		t.hash.Write(m)
	}
	if t.hash == nil || t.keep {
		t.messages = append(t.messages, m...)
	}
}

// choose sets the hash. keep tells that the messages are needed later.
func (t *transcript) choose(h hash.Hash, keep bool) {
	t.hash, t.keep = h, keep
	h.Write(t.messages)
	if !keep {
		t.messages = nil
	}
}

// sum returns the hash of all messages so far. It is valid until the next call.
func (t *transcript) sum() []byte { return t.hash.Sum(t.digest[:0]) }

func parseAlert(content []byte) (level uint8, a alert.Alert, err error) {
	if len(content) != 2 {
		return 0, 0, alert.DecodeError.Errorf("native: alert of %d bytes", len(content))
	}
	level, a = content[0], alert.Alert(content[1])
	if level != alert.Warning && level != alert.Fatal {
		return 0, 0, alert.IllegalParameter.Errorf("native: alert of level %d", level)
	}
	return level, a, nil
}

// An AlertError is the peer's alert that ended the connection.
type AlertError struct {
	Alert uint8 // the description, RFC 5246, section 7.2
}

// Error implements error.
func (e *AlertError) Error() string {
	return "native: the peer sent an alert: " + alert.Alert(e.Alert).String()
}
