// Package alert has the alerts of TLS (RFC 5246, section 7.2; RFC 8446, section 6), and errors that call for one.
package alert

import (
	"errors"
	"fmt"
)

// An Alert is the description of a TLS alert.
type Alert uint8

// The alerts that this engine sends or judges.
const (
	CloseNotify            Alert = 0
	UnexpectedMessage      Alert = 10
	BadRecordMAC           Alert = 20
	RecordOverflow         Alert = 22
	HandshakeFailure       Alert = 40
	BadCertificate         Alert = 42
	UnsupportedCertificate Alert = 43
	CertificateExpired     Alert = 45
	CertificateUnknown     Alert = 46
	IllegalParameter       Alert = 47
	UnknownCA              Alert = 48
	AccessDenied           Alert = 49
	DecodeError            Alert = 50
	DecryptError           Alert = 51
	ProtocolVersion        Alert = 70
	InternalError          Alert = 80
	InappropriateFallback  Alert = 86
	UserCanceled           Alert = 90
	NoRenegotiation        Alert = 100
	MissingExtension       Alert = 109
	UnrecognizedName       Alert = 112
	NoApplicationProtocol  Alert = 120
)

var names = map[Alert]string{
	CloseNotify:            "close notify",
	UnexpectedMessage:      "unexpected message",
	BadRecordMAC:           "bad record MAC",
	RecordOverflow:         "record overflow",
	HandshakeFailure:       "handshake failure",
	BadCertificate:         "bad certificate",
	UnsupportedCertificate: "unsupported certificate",
	CertificateExpired:     "certificate expired",
	CertificateUnknown:     "certificate unknown",
	IllegalParameter:       "illegal parameter",
	UnknownCA:              "unknown CA",
	AccessDenied:           "access denied",
	DecodeError:            "decode error",
	DecryptError:           "decrypt error",
	ProtocolVersion:        "protocol version",
	InternalError:          "internal error",
	InappropriateFallback:  "inappropriate fallback",
	UserCanceled:           "user canceled",
	NoRenegotiation:        "no renegotiation",
	MissingExtension:       "missing extension",
	UnrecognizedName:       "unrecognized name",
	NoApplicationProtocol:  "no application protocol",
}

// String returns the alert's name, such as "bad record MAC".
func (a Alert) String() string {
	if name, ok := names[a]; ok {
		return name
	}
	return fmt.Sprintf("alert %d", uint8(a))
}

// The levels of an alert.
const (
	Warning = 1
	Fatal   = 2
)

// An Error is a fault that ends the connection with a fatal alert.
type Error struct {
	Alert Alert
	Err   error
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%v (alert: %v)", e.Err, e.Alert) }

// Unwrap returns what was wrong.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an error that calls for the alert.
func (a Alert) Errorf(format string, args ...any) error {
	return &Error{a, fmt.Errorf(format, args...)}
}

// Wrap returns err as an error that calls for the alert.
func (a Alert) Wrap(err error) error { return &Error{a, err} }

// Of returns the alert that an error calls for; internal error if it does not say.
func Of(err error) Alert {
	var e *Error
	if errors.As(err, &e) {
		return e.Alert
	}
	return InternalError
}
