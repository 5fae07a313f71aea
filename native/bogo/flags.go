package main

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// parseFlags reads the runner's flags: one dash, the value in the next argument. Flags beginning with -on-initial- and
// -on-resume- are for one phase, all others for both. Any that is not known makes the test unimplemented.
func parseFlags(args []string) (*flags, error) {
	f := &flags{}
	for len(args) > 0 {
		name := strings.TrimPrefix(args[0], "-")
		args = args[1:]
		value := func() string {
			if len(args) == 0 {
				return ""
			}
			v := args[0]
			args = args[1:]
			return v
		}
		phases := []*phase{&f.initial, &f.resume}
		if rest, ok := strings.CutPrefix(name, "on-initial-"); ok {
			name, phases = rest, phases[:1]
		} else if rest, ok := strings.CutPrefix(name, "on-resume-"); ok {
			name, phases = rest, phases[1:]
		}
		known, err := f.global(name, value)
		if err != nil {
			return nil, err
		}
		if known {
			continue
		}
		set, ok := phaseFlags[name]
		if !ok {
			return nil, fmt.Errorf("%w: flag -%s", errUnimplemented, name)
		}
		v := ""
		if set.hasValue {
			v = value()
		}
		for _, p := range phases {
			if err := set.apply(p, v); err != nil {
				return nil, fmt.Errorf("bogo: flag -%s %q: %w", name, v, err)
			}
		}
	}
	return f, nil
}

// global reads the flags that are for the whole test.
func (f *flags) global(name string, value func() string) (known bool, err error) {
	switch name {
	case "server", "no-tls1", "no-tls11", "write-different-record-sizes-unused", "implicit-handshake":
	case "port":
		f.port = value()
	case "shim-id":
		f.shimID, err = strconv.ParseUint(value(), 10, 64)
	case "ipv6":
		f.ipv6 = true
	case "resume-count":
		f.resumeCount, err = strconv.Atoi(value())
	case "shim-writes-first":
		f.shimWritesFirst = true
	case "shim-shuts-down":
		f.shimShutsDown = true
	case "check-close-notify":
		f.checkCloseNotify = true
	default:
		return false, nil
	}
	return true, err
}

type phaseFlag struct {
	hasValue bool
	apply    func(p *phase, value string) error
}

func toggle(set func(*phase)) phaseFlag {
	return phaseFlag{apply: func(p *phase, _ string) error { set(p); return nil }}
}

func text(set func(*phase, string)) phaseFlag {
	return phaseFlag{true, func(p *phase, v string) error { set(p, v); return nil }}
}

func number(set func(*phase, uint16)) phaseFlag {
	return phaseFlag{true, func(p *phase, v string) error {
		n, err := strconv.ParseUint(v, 10, 16)
		set(p, uint16(n))
		return err
	}}
}

func base64Bytes(set func(*phase, []byte)) phaseFlag {
	return phaseFlag{true, func(p *phase, v string) error {
		b, err := base64.StdEncoding.DecodeString(v)
		set(p, b)
		return err
	}}
}

var phaseFlags = map[string]phaseFlag{
	"cert-file":                      text(func(p *phase, v string) { p.certFile = v }),
	"key-file":                       text(func(p *phase, v string) { p.keyFile = v }),
	"trust-cert":                     text(func(p *phase, v string) { p.trustCert = v }),
	"min-version":                    number(func(p *phase, v uint16) { p.minVersion = v }),
	"max-version":                    number(func(p *phase, v uint16) { p.maxVersion = v }),
	"no-tls12":                       toggle(func(p *phase) { p.noTLS12 = true }),
	"no-tls13":                       toggle(func(p *phase) { p.noTLS13 = true }),
	"no-ticket":                      toggle(func(p *phase) { p.noTicket = true }),
	"curves":                         number(func(p *phase, v uint16) { p.groups = append(p.groups, tls.CurveID(v)) }),
	"require-any-client-certificate": toggle(func(p *phase) { p.clientAuth = tls.RequireAnyClientCert }),
	"verify-peer": toggle(func(p *phase) {
		if p.clientAuth == tls.NoClientCert {
			p.clientAuth = tls.RequestClientCert
		}
	}),
	"verify-fail":                     toggle(func(p *phase) { p.verifyFail = true }),
	"select-alpn":                     text(func(p *phase, v string) { p.alpn = v }),
	"decline-alpn":                    toggle(func(p *phase) { p.declineALPN = true }),
	"signing-prefs":                   number(func(p *phase, v uint16) { p.signingPrefs = append(p.signingPrefs, tls.SignatureScheme(v)) }),
	"ocsp-response":                   base64Bytes(func(p *phase, v []byte) { p.ocspResponse = v }),
	"expect-session-miss":             toggle(func(p *phase) { p.expectSessionMiss = true }),
	"expect-session-id":               toggle(func(p *phase) { p.expectSessionID = true }),
	"expect-no-session-id":            toggle(func(p *phase) { p.expectNoSessionID = true }),
	"expect-extended-master-secret":   toggle(func(p *phase) { p.expectEMS = true }),
	"expect-server-name":              text(func(p *phase, v string) { p.expectServerName = v }),
	"expect-curve-id":                 number(func(p *phase, v uint16) { p.expectGroup = tls.CurveID(v) }),
	"expect-alpn":                     text(func(p *phase, v string) { p.expectALPN = v }),
	"expect-advertised-alpn":          text(func(*phase, string) {}),
	"export-keying-material":          number(func(p *phase, v uint16) { p.exportLength = int(v) }),
	"export-label":                    text(func(p *phase, v string) { p.exportLabel = v }),
	"export-context":                  text(func(p *phase, v string) { p.exportContext = v }),
	"use-export-context":              toggle(func(p *phase) { p.useExportContext = true }),
	"expect-peer-signature-algorithm": number(func(*phase, uint16) {}),
}
