package tlsstate

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"sync"
)

// Convertible reports whether crypto/tls, as linked into this program, encodes session states as this package does. It
// tries once: states with everything in them must survive [tls.ParseSessionState] and [tls.SessionState.Bytes] byte
// for byte. If a Go release adds a field, they come back longer.
func Convertible() bool { return convertible() }

var convertible = sync.OnceValue(func() bool {
	for _, s := range specimens() {
		if !survives(s) {
			return false
		}
	}
	return true
})

func survives(s *State) bool {
	data, err := s.Marshal()
	if err != nil {
		return false
	}
	state, err := tls.ParseSessionState(data)
	if err != nil || state.EarlyData != s.EarlyData || len(state.Extra) != len(s.Extra) {
		return false
	}
	back, err := state.Bytes()
	return err == nil && bytes.Equal(data, back)
}

// specimens returns states of every kind, with a distinct value in each field.
func specimens() []*State {
	certificate, err := base64.StdEncoding.DecodeString(specimenCertificate)
	if err != nil {
		return []*State{{}} // survives nothing
	}
	plain := State{
		Version:     tls.VersionTLS12,
		CipherSuite: tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		CreatedAt:   1_700_000_001,
		Secret:      bytes.Repeat([]byte{0x5a}, 48),
		Curve:       tls.X25519,
	}

	tls12 := plain
	tls12.Extra = [][]byte{[]byte("first"), {}, []byte("third")}
	tls12.ExtendedMasterSecret = true
	tls12.Certificates = [][]byte{certificate, certificate}
	tls12.LeafExtensions = specimenStaples
	tls12.VerifiedChains = [][][]byte{{certificate, certificate}, {}}

	tls13 := tls12
	tls13.Version, tls13.CipherSuite, tls13.Curve = tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256, 0
	tls13.Secret = bytes.Repeat([]byte{0x5b}, 32)
	tls13.EarlyData, tls13.ALPN = true, "h3"

	client := tls13
	client.Client, client.UseBy, client.AgeAdd = true, 1_700_000_002, 0xa5a5a5a5

	client12 := tls12
	client12.Client = true

	return []*State{&plain, &tls12, &tls13, &client, &client12}
}

// specimenStaples are the extensions of a CertificateEntry with an OCSP response and an SCT.
var specimenStaples = []byte{
	0, 5, 0, 6, 1, 0, 0, 2, 'o', 'k', // status_request: ocsp, 2 bytes
	0, 18, 0, 5, 0, 3, 0, 1, 's', // signed_certificate_timestamp: one of 1 byte
}

// specimenCertificate is a self-signed Ed25519 certificate that stands for any. Nobody has its key or trusts it.
const specimenCertificate = "" +
	"MIHQMIGDoAMCAQICAQEwBQYDK2VwMBIxEDAOBgNVBAMTB3JlcHJpc2UwHhcNMjYwMTAxMDAwMDAwWhcNMjcwMTAxMDAwMDAwWjAS" +
	"MRAwDgYDVQQDEwdyZXByaXNlMCowBQYDK2VwAyEA/O0KHGRzYNWaJDwvo+RFqpkXNylYLEE6kNC+oq2GCHgwBQYDK2VwA0EASFZG" +
	"l8cin4IDTg3E3hp4+YP6b1a/zTxdagARpo1NC6qG/615O2ptW8624ERvrfqPNE9DIDHQ5yT/Y3tz6gbPDQ=="
