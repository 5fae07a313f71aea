package main

import (
	"crypto/tls"
	"fmt"
)

// A benchCase is a kind of handshake.
type benchCase struct {
	version uint16
	group   tls.CurveID
	resumed bool
	mutual  bool   // with a client certificate
	key     string // kind of the server's key
	engines bool   // the servers are engineKinds, the client is one of libssl
}

func (c benchCase) String() string {
	outcome, clients := "full", "no client certificate"
	if c.resumed {
		outcome = "resumed"
	}
	if c.mutual {
		clients = "client chain of 3"
	}
	if c.engines {
		clients = "client of libssl"
	}
	return fmt.Sprintf("%s %s, %v, %s, %s", tls.VersionName(c.version), outcome, c.group, c.key, clients)
}

// limit is what the ratio to crypto/tls must not exceed; 0 if there is no such demand.
func (c benchCase) limit() float64 {
	switch {
	case !c.resumed, c.engines: // engines have aims of their own
		return 0
	case c.mutual:
		return 1
	default:
		return 1.05
	}
}

// cases returns all cases in the order of the report. crypto/tls has no hybrid groups in TLS 1.2.
func cases(rsa bool) []benchCase {
	var all []benchCase
	add := func(key string, mutual bool) {
		for _, resumed := range []bool{true, false} {
			all = append(all,
				benchCase{version: tls.VersionTLS13, group: tls.X25519, resumed: resumed, mutual: mutual, key: key},
				benchCase{version: tls.VersionTLS13, group: tls.X25519MLKEM768, resumed: resumed, mutual: mutual, key: key},
				benchCase{version: tls.VersionTLS12, group: tls.X25519, resumed: resumed, mutual: mutual, key: key},
			)
		}
	}
	addEngines := func(key string) {
		for _, resumed := range []bool{true, false} {
			all = append(all, benchCase{version: tls.VersionTLS12, group: tls.X25519, resumed: resumed, key: key, engines: true})
		}
	}
	add(ecdsaKey, false)
	add(ecdsaKey, true)
	addEngines(ecdsaKey)
	if rsa {
		add(rsaKey, false)
		add(rsaKey, true)
		addEngines(rsaKey)
	}
	return all
}

// wantsPuts returns how many sessions the server stores in n connections. A resumed TLS 1.2 connection keeps its
// session; all others get a new one.
func (c benchCase) wantsPuts(n int) int {
	if c.resumed && c.version == tls.VersionTLS12 {
		return 0
	}
	return n
}
