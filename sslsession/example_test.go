package sslsession_test

import (
	"fmt"
	"os"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/sslsession"
)

// A session that another server has made, as its tool wrote it into a file. It says which context it belongs to, but
// knows no scope: that is up to us.
func ExampleToSession() {
	data, err := os.ReadFile("testdata/stunnel.server.pem")
	if err != nil {
		panic(err)
	}
	x, _, err := sslsession.ParsePEM(data)
	if err != nil {
		panic(err)
	}
	// The connections that may resume it: without server name and client certificate.
	scope := reprise.ScopeOf(reprise.ConnectionInfo{Context: []byte("t")})
	s, err := sslsession.ToSession(x, sslsession.Foreign{Scope: scope, Context: []byte("t")})
	if err != nil {
		panic(err)
	}
	fmt.Println(s)
	fmt.Println(s.Timeout(), s.ExtendedMasterSecret(), s.Group())

	_, err = sslsession.ToSession(x, sslsession.Foreign{Scope: scope, Context: []byte("another")})
	fmt.Println(err)
	// Output:
	// Session(TLS 1.2, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, created 2026-11-22T21:21:29Z)
	// 5m0s true X25519
	// sslsession: a session of another session ID context
}
