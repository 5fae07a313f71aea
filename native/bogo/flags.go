package main

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/cryptobyte"
)

// A test is what the runner's flags say of one.
type test struct {
	server      bool
	port        string
	shimID      uint64
	ipv6        bool
	resumeCount int

	initial, resume phase
}

// A phase has the flags that may differ between the first connection and the later ones.
type phase struct {
	// what is configured
	minVersion, maxVersion             uint16
	noTLS10, noTLS11, noTLS12, noTLS13 bool
	groups                             []tls.CurveID
	noTicket                           bool
	certificate                        *credential // of -cert-file and -key-file
	credentials                        []*credential
	requireCertificate                 bool
	verifyPeer, verifyFail             bool
	useVerifyCallback                  bool
	verifyPrefs                        []tls.SignatureScheme
	trustCert                          string
	clientCAs                          [][]byte // names in DER
	selectALPN                         string
	declineALPN, rejectALPN            bool
	useEarlyCallback                   bool
	useHelloCallback, failHello        bool
	failCertCallback                   bool
	useOCSPCallback, setOCSP, failOCSP bool

	// what is done
	async              bool
	implicitHandshake  bool
	noOpExtraHandshake bool
	shimShutsDown      bool
	checkCloseNotify   bool
	exportLength       int
	exportLabel        string

	// what is expected
	expectSessionMiss                  bool
	expectSessionID, expectNoSessionID bool
	expectEMS, expectNoHRR             bool
	expectGroup                        tls.CurveID
	expectServerName                   string
	expectAdvertisedALPN               []string
	expectOfferedSchemes               []tls.SignatureScheme
	expectPeerScheme                   tls.SignatureScheme
	expectPeerCertificate              *tls.Certificate
	expectVerifyResult                 bool
	expectCredential                   *int
}

// A credential is a certificate with its key.
type credential struct {
	certFile, keyFile string
	ocspResponse      []byte
	scts              [][]byte
	signingPrefs      []tls.SignatureScheme
}

// parseFlags reads the runner's flags: one dash, the value in the next argument. Flags beginning with -on-initial and
// -on-resume are for one phase, all others for both. Any that is not known makes the test unimplemented.
func parseFlags(args []string) (*test, error) {
	t := &test{}
	for len(args) > 0 {
		name := args[0]
		set, hasValue, ok := t.flag(name)
		if !ok {
			return nil, unimplemented("flag %s", name)
		}
		args = args[1:]
		value := ""
		if hasValue {
			if len(args) == 0 {
				return nil, fmt.Errorf("bogo: flag %s without a value", name)
			}
			value, args = args[0], args[1:]
		}
		if err := set(value); err != nil {
			return nil, fmt.Errorf("bogo: flag %s %q: %w", name, value, err)
		}
	}
	if !t.server {
		return nil, unimplemented("the engine is a server")
	}
	return t, nil
}

// flag returns what sets a flag.
func (t *test) flag(name string) (set func(value string) error, hasValue, ok bool) {
	if f, ok := testFlags[name]; ok {
		return func(value string) error { return f.set(t, value) }, f.hasValue, true
	}
	phases := []*phase{&t.initial, &t.resume}
	if rest, ok := strings.CutPrefix(name, "-on-initial"); ok {
		name, phases = rest, phases[:1]
	} else if rest, ok := strings.CutPrefix(name, "-on-resume"); ok {
		name, phases = rest, phases[1:]
	}
	f, ok := phaseFlags[name]
	set = func(value string) error {
		for _, p := range phases {
			if err := f.set(p, value); err != nil {
				return err
			}
		}
		return nil
	}
	return set, f.hasValue, ok
}

// allowsVersion tells whether the flags allow a version of TLS.
func (p *phase) allowsVersion(version uint16) bool {
	excluded := map[uint16]bool{
		tls.VersionTLS10: p.noTLS10, tls.VersionTLS11: p.noTLS11, tls.VersionTLS12: p.noTLS12, tls.VersionTLS13: p.noTLS13,
	}
	return !excluded[version] && version >= p.minVersion && (p.maxVersion == 0 || version <= p.maxVersion)
}

// A flag of a T sets something of it.
type flag[T any] struct {
	hasValue bool
	set      func(t *T, value string) error
}

func toggle[T any](set func(*T)) flag[T] {
	return flag[T]{set: func(t *T, _ string) error { set(t); return nil }}
}

func text[T any](set func(*T, string)) flag[T] {
	return flag[T]{true, func(t *T, v string) error { set(t, v); return nil }}
}

func number[T any](set func(*T, int)) flag[T] {
	return flag[T]{true, func(t *T, v string) error {
		n, err := strconv.Atoi(v)
		set(t, n)
		return err
	}}
}

func base64Bytes[T any](set func(*T, []byte) error) flag[T] {
	return flag[T]{true, func(t *T, v string) error {
		b, err := base64.StdEncoding.DecodeString(v)
		if err != nil {
			return err
		}
		return set(t, b)
	}}
}

var testFlags = map[string]flag[test]{
	"-server": toggle(func(t *test) { t.server = true }),
	"-port":   text(func(t *test, v string) { t.port = v }),
	"-shim-id": {true, func(t *test, v string) (err error) {
		t.shimID, err = strconv.ParseUint(v, 10, 64)
		return err
	}},
	"-ipv6":         toggle(func(t *test) { t.ipv6 = true }),
	"-resume-count": number(func(t *test, n int) { t.resumeCount = n }),
}

var phaseFlags = map[string]flag[phase]{
	"-min-version": number(func(p *phase, n int) { p.minVersion = uint16(n) }),
	"-max-version": number(func(p *phase, n int) { p.maxVersion = uint16(n) }),
	"-no-tls1":     toggle(func(p *phase) { p.noTLS10 = true }),
	"-no-tls11":    toggle(func(p *phase) { p.noTLS11 = true }),
	"-no-tls12":    toggle(func(p *phase) { p.noTLS12 = true }),
	"-no-tls13":    toggle(func(p *phase) { p.noTLS13 = true }),
	"-curves":      number(func(p *phase, n int) { p.groups = append(p.groups, tls.CurveID(n)) }),
	"-no-ticket":   toggle(func(p *phase) { p.noTicket = true }),

	"-new-x509-credential": toggle(func(p *phase) { p.credentials = append(p.credentials, &credential{}) }),
	"-cert-file":           text(func(p *phase, v string) { p.credential().certFile = v }),
	"-key-file":            text(func(p *phase, v string) { p.credential().keyFile = v }),
	"-signing-prefs": number(func(p *phase, n int) {
		c := p.credential()
		c.signingPrefs = append(c.signingPrefs, tls.SignatureScheme(n))
	}),
	"-ocsp-response": base64Bytes(func(p *phase, b []byte) error { p.credential().ocspResponse = b; return nil }),
	"-signed-cert-timestamps": base64Bytes(func(p *phase, b []byte) (err error) {
		p.credential().scts, err = parseSCTs(b)
		return err
	}),

	"-require-any-client-certificate": toggle(func(p *phase) { p.requireCertificate = true }),
	"-verify-peer":                    toggle(func(p *phase) { p.verifyPeer = true }),
	"-verify-fail":                    toggle(func(p *phase) { p.verifyFail = true }),
	"-use-custom-verify-callback":     toggle(func(p *phase) { p.useVerifyCallback = true }),
	"-verify-prefs":                   number(func(p *phase, n int) { p.verifyPrefs = append(p.verifyPrefs, tls.SignatureScheme(n)) }),
	"-trust-cert":                     text(func(p *phase, v string) { p.trustCert = v }),
	"-use-client-ca-list": {true, func(p *phase, v string) (err error) {
		p.clientCAs, err = parseNames(v)
		return err
	}},

	"-select-alpn":           text(func(p *phase, v string) { p.selectALPN = v }),
	"-decline-alpn":          toggle(func(p *phase) { p.declineALPN = true }),
	"-reject-alpn":           toggle(func(p *phase) { p.rejectALPN = true }),
	"-use-early-callback":    toggle(func(p *phase) { p.useEarlyCallback = true }),
	"-install-ddos-callback": toggle(func(p *phase) { p.useHelloCallback = true }),
	"-fail-ddos-callback":    toggle(func(p *phase) { p.failHello = true }),
	"-fail-cert-callback":    toggle(func(p *phase) { p.failCertCallback = true }),
	"-use-ocsp-callback":     toggle(func(p *phase) { p.useOCSPCallback = true }),
	"-set-ocsp-in-callback":  toggle(func(p *phase) { p.setOCSP = true }),
	"-decline-ocsp-callback": toggle(func(*phase) {}), // the callback sets no response
	"-fail-ocsp-callback":    toggle(func(p *phase) { p.failOCSP = true }),

	"-async":                  toggle(func(p *phase) { p.async = true }),
	"-implicit-handshake":     toggle(func(p *phase) { p.implicitHandshake = true }),
	"-no-op-extra-handshake":  toggle(func(p *phase) { p.noOpExtraHandshake = true }),
	"-shim-shuts-down":        toggle(func(p *phase) { p.shimShutsDown = true }),
	"-check-close-notify":     toggle(func(p *phase) { p.checkCloseNotify = true }),
	"-export-keying-material": number(func(p *phase, n int) { p.exportLength = n }),
	"-export-label":           text(func(p *phase, v string) { p.exportLabel = v }),
	"-export-context":         text(func(*phase, string) {}), // it counts with -use-export-context only

	"-expect-session-miss":           toggle(func(p *phase) { p.expectSessionMiss = true }),
	"-expect-session-id":             toggle(func(p *phase) { p.expectSessionID = true }),
	"-expect-no-session-id":          toggle(func(p *phase) { p.expectNoSessionID = true }),
	"-expect-extended-master-secret": toggle(func(p *phase) { p.expectEMS = true }),
	"-expect-no-hrr":                 toggle(func(p *phase) { p.expectNoHRR = true }),
	"-expect-server-name":            text(func(p *phase, v string) { p.expectServerName = v }),
	"-expect-curve-id":               number(func(p *phase, n int) { p.expectGroup = tls.CurveID(n) }),
	"-expect-advertised-alpn": {true, func(p *phase, v string) (err error) {
		p.expectAdvertisedALPN, err = parseProtocols(v)
		return err
	}},
	"-expect-peer-signature-algorithm": number(func(p *phase, n int) { p.expectPeerScheme = tls.SignatureScheme(n) }),
	"-expect-peer-verify-pref": number(func(p *phase, n int) {
		p.expectOfferedSchemes = append(p.expectOfferedSchemes, tls.SignatureScheme(n))
	}),
	"-expect-verify-result": toggle(func(p *phase) { p.expectVerifyResult = true }),
	"-expect-peer-cert-file": {true, func(p *phase, v string) (err error) {
		p.expectPeerCertificate, err = loadChain(v)
		return err
	}},
	"-expect-selected-credential": number(func(p *phase, n int) { p.expectCredential = &n }),
}

// credential returns the one that flags are about: that of the last -new-x509-credential, else the certificate.
func (p *phase) credential() *credential {
	if n := len(p.credentials); n > 0 {
		return p.credentials[n-1]
	}
	if p.certificate == nil {
		p.certificate = &credential{}
	}
	return p.certificate
}

// parseSCTs reads a SignedCertificateTimestampList (RFC 6962, section 3.3).
func parseSCTs(list []byte) (scts [][]byte, err error) {
	s := cryptobyte.String(list)
	var all cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&all) || !s.Empty() {
		return nil, fmt.Errorf("malformed list of %d bytes", len(list))
	}
	for !all.Empty() {
		var sct cryptobyte.String
		if !all.ReadUint16LengthPrefixed(&sct) {
			return nil, fmt.Errorf("malformed list of %d bytes", len(list))
		}
		scts = append(scts, sct)
	}
	return scts, nil
}

// parseProtocols reads the protocols of ALPN, each behind its length.
func parseProtocols(list string) (protocols []string, err error) {
	for s := cryptobyte.String(list); !s.Empty(); {
		var protocol cryptobyte.String
		if !s.ReadUint8LengthPrefixed(&protocol) {
			return nil, fmt.Errorf("malformed list of %d bytes", len(list))
		}
		protocols = append(protocols, string(protocol))
	}
	return protocols, nil
}

// parseNames reads distinguished names in DER, written in hexadecimal.
func parseNames(list string) (names [][]byte, err error) {
	if slices.Contains([]string{"<NULL>", "<EMPTY>", ""}, list) {
		return nil, nil
	}
	for _, name := range strings.Split(list, ",") {
		der, err := hex.DecodeString(name)
		if err != nil {
			return nil, err
		}
		names = append(names, der)
	}
	return names, nil
}
