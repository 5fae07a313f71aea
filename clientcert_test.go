package reprise_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"runtime"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
)

// A chain is a client's: leaf, intermediate and root.
type chain struct {
	certificates []*x509.Certificate
	roots        *x509.CertPool
}

// makeChain makes a chain whose certificates end at the times given: root, intermediate, leaf.
func makeChain(t *testing.T, now time.Time, lifetimes [3]time.Duration, usage x509.ExtKeyUsage) chain {
	t.Helper()
	var parent *x509.Certificate
	var parentKey *ecdsa.PrivateKey
	c := chain{roots: x509.NewCertPool()}
	for i, lifetime := range lifetimes {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: []string{"root", "intermediate", "client"}[i]},
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(lifetime),
			IsCA: i < 2, BasicConstraintsValid: true,
		}
		if i == 2 {
			template.ExtKeyUsage = []x509.ExtKeyUsage{usage}
		}
		if parent == nil {
			parent, parentKey = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		parent, parentKey = certificate, key
		c.certificates = append([]*x509.Certificate{certificate}, c.certificates...)
	}
	c.roots.AddCert(c.certificates[2])
	return c
}

// params are those of a session with the chain's client certificate.
func (c chain) params() reprise.SessionParams {
	p := anyParams()
	p.PeerCertificates = [][]byte{c.certificates[0].Raw, c.certificates[1].Raw}
	return p
}

func (c chain) verified() [][]*x509.Certificate { return [][]*x509.Certificate{c.certificates} }

func (c chain) info() reprise.ConnectionInfo {
	return reprise.ConnectionInfo{ServerName: "www.example", ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: c.roots}
}

const week = 7 * 24 * time.Hour

// mutual makes a full handshake with the chain's client certificate.
func (s *server) mutual(c chain, info reprise.ConnectionInfo) *reprise.Session {
	s.t.Helper()
	conn := s.accept(info)
	session, err := conn.NewSession(c.params(), c.verified())
	if err != nil {
		s.t.Fatal(err)
	}
	conn.Complete(true)
	return session
}

func TestClientCertificateIsVerifiedAgain(t *testing.T) {
	s := newServer(t, reprise.Options{Context: []byte("shop")})
	c := makeChain(t, s.now, [3]time.Duration{4 * week, 4 * week, 4 * week}, x509.ExtKeyUsageClientAuth)
	info := c.info()
	session := s.mutual(c, info)
	conn := s.accept(info)
	found, reason := conn.Lookup(session.ID().Bytes(), anyOffer)
	if reason != reprise.Resumed {
		t.Fatal(reason)
	}
	if chains := conn.VerifiedChains(found); len(chains) != 1 || len(chains[0]) != 3 {
		t.Errorf("verified chains %v", chains)
	}

	// A pool with the same subject and another key: the scope is the same, the trust is not.
	other := makeChain(t, s.now, [3]time.Duration{4 * week, 4 * week, 4 * week}, x509.ExtKeyUsageClientAuth)
	info.ClientCAs = other.roots
	if got := s.offerWith(session, info, anyOffer); got != reprise.ClientCertificate {
		t.Errorf("with another root: %v", got)
	}
	// The pool is the same, and its content has changed: what was verified before does not count.
	*c.roots = *other.roots.Clone()
	if got := s.offerWith(session, c.info(), anyOffer); got != reprise.ClientCertificate {
		t.Errorf("after the root was taken out: %v", got)
	}
}

func TestClientCertificateUsage(t *testing.T) {
	s := newServer(t, reprise.Options{Context: []byte("shop")})
	c := makeChain(t, s.now, [3]time.Duration{4 * week, 4 * week, 4 * week}, x509.ExtKeyUsageServerAuth)
	session := s.mutual(c, c.info())
	if got := s.offerWith(session, c.info(), anyOffer); got != reprise.ClientCertificate {
		t.Errorf("a server's certificate: %v", got)
	}
}

// TestSessionEndsWithItsCertificates: never past the earliest NotAfter of the verified chain.
func TestSessionEndsWithItsCertificates(t *testing.T) {
	for i, name := range []string{"root", "intermediate", "leaf"} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, reprise.Options{Context: []byte("shop")})
			s.SetTimeout(week)
			lifetimes := [3]time.Duration{4 * week, 4 * week, 4 * week}
			lifetimes[i] = 24 * time.Hour
			c := makeChain(t, s.now, lifetimes, x509.ExtKeyUsageClientAuth)
			session := s.mutual(c, c.info())
			if got := session.Expiry().Sub(s.now); got != 24*time.Hour {
				t.Errorf("expires after %v", got)
			}
			s.pass(24 * time.Hour)
			if got := s.offerWith(session, c.info(), anyOffer); got != reprise.Resumed {
				t.Errorf("at the last moment: %v", got)
			}
			s.pass(time.Second)
			if got := s.offerWith(session, c.info(), anyOffer); got != reprise.Expired {
				t.Errorf("after it: %v", got)
			}
		})
	}
}

// TestCertificateTimeOfTheConnection: the time of the tls.Config decides about certificates, and what was verified before
// does not outlive it.
func TestCertificateTimeOfTheConnection(t *testing.T) {
	s := newServer(t, reprise.Options{Context: []byte("shop")})
	c := makeChain(t, s.now, [3]time.Duration{4 * week, 4 * week, 4 * week}, x509.ExtKeyUsageClientAuth)
	session := s.mutual(c, c.info())
	info := c.info()
	for _, test := range []struct {
		at   time.Duration
		want reprise.Reason
	}{
		{0, reprise.Resumed},
		{-2 * time.Hour, reprise.ClientCertificate},
		{0, reprise.Resumed},
		{5 * week, reprise.ClientCertificate},
		{time.Hour, reprise.Resumed},
	} {
		info.CertificateTime = func() time.Time { return s.now.Add(test.at) }
		if got := s.offerWith(session, info, anyOffer); got != test.want {
			t.Errorf("at %v: %v, want %v", test.at, got, test.want)
		}
	}
}

// TestEachVerifiedChainIsValid: of several chains one may end before the others, and is not shown any longer then.
func TestEachVerifiedChainIsValid(t *testing.T) {
	now := newServer(t, reprise.Options{}).now
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(serial int64, parent *x509.Certificate, lifetime time.Duration) *x509.Certificate {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(serial), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(lifetime),
			Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true,
		}
		if parent == nil {
			parent = template
		} else {
			template.Subject.CommonName, template.IsCA = "client", false
			template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return certificate
	}
	first, second := issue(1, nil, week), issue(2, nil, 24*time.Hour)
	leaf := issue(3, first, week)
	for _, order := range [][]*x509.Certificate{{first, second}, {second, first}} {
		s := newServer(t, reprise.Options{Context: []byte("shop")})
		s.SetTimeout(week)
		c := chain{certificates: []*x509.Certificate{leaf, first}, roots: x509.NewCertPool()}
		for _, root := range order {
			c.roots.AddCert(root)
		}
		session := s.mutual(c, c.info())
		conn := s.accept(c.info())
		both, err := conn.NewSession(c.params(), [][]*x509.Certificate{{leaf, order[0]}, {leaf, order[1]}})
		if err != nil {
			t.Fatal(err)
		}
		if end := both.Lineage().End; !end.Equal(first.NotAfter) {
			t.Errorf("a lineage with two chains ends %v, the longer one %v", end, first.NotAfter)
		}
		for _, want := range []int{2, 1} {
			conn := s.accept(c.info())
			found, reason := conn.Lookup(session.ID().Bytes(), anyOffer)
			if reason != reprise.Resumed {
				t.Fatal(reason)
			}
			if got := len(conn.VerifiedChains(found)); got != want {
				t.Errorf("%d chains, want %d", got, want)
			}
			s.pass(25 * time.Hour)
		}
	}
}

func TestVerifyPeerCertificate(t *testing.T) {
	s := newServer(t, reprise.Options{Context: []byte("shop")})
	c := makeChain(t, s.now, [3]time.Duration{4 * week, 4 * week, 4 * week}, x509.ExtKeyUsageClientAuth)
	session := s.mutual(c, c.info())
	calls := 0
	for _, test := range []struct {
		name   string
		verify func(raw [][]byte, chains [][]*x509.Certificate) error
		want   reprise.Reason
	}{
		{"yes", func(raw [][]byte, chains [][]*x509.Certificate) error {
			calls++
			if len(raw) != 2 || len(chains) != 1 {
				t.Errorf("%d certificates, %d chains", len(raw), len(chains))
			}
			return nil
		}, reprise.Resumed},
		{"no", func([][]byte, [][]*x509.Certificate) error { return errors.New("no") }, reprise.ClientCertificate},
		{"panic", func([][]byte, [][]*x509.Certificate) error { panic("no") }, reprise.ClientCertificate},
	} {
		info := c.info()
		info.VerifyPeerCertificate = test.verify
		for range 2 {
			if got := s.offerWith(session, info, anyOffer); got != test.want {
				t.Errorf("%s: %v, want %v", test.name, got, test.want)
			}
		}
	}
	if calls != 2 {
		t.Errorf("%d calls for 2 handshakes", calls)
	}

	// It is asked about the absence of a certificate, too.
	info := c.info()
	info.ClientAuth = tls.VerifyClientCertIfGiven
	without := s.fullWith(info, anyParams())
	for _, test := range []struct {
		err  error
		want reprise.Reason
	}{{nil, reprise.Resumed}, {errors.New("a certificate is needed now"), reprise.ClientCertificate}} {
		info.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error {
			if len(raw) != 0 {
				t.Errorf("%d certificates of a session without", len(raw))
			}
			return test.err
		}
		if got := s.offerWith(without, info, anyOffer); got != test.want {
			t.Errorf("without a certificate: %v, want %v", got, test.want)
		}
	}
}

func TestClientAuthTypes(t *testing.T) {
	c := makeChain(t, time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC), [3]time.Duration{4 * week, 4 * week, week / 7}, x509.ExtKeyUsageClientAuth)
	for _, test := range []struct {
		auth          tls.ClientAuthType
		with, without reprise.Reason
	}{
		{tls.RequestClientCert, reprise.Resumed, reprise.Resumed},
		{tls.RequireAnyClientCert, reprise.Resumed, reprise.ClientCertificate},
		{tls.VerifyClientCertIfGiven, reprise.Resumed, reprise.Resumed},
		{tls.RequireAndVerifyClientCert, reprise.Resumed, reprise.ClientCertificate},
	} {
		t.Run(test.auth.String(), func(t *testing.T) {
			s := newServer(t, reprise.Options{Context: []byte("shop")})
			info := c.info()
			info.ClientAuth = test.auth
			if got := s.offerWith(s.mutual(c, info), info, anyOffer); got != test.with {
				t.Errorf("with a certificate: %v, want %v", got, test.with)
			}
			if got := s.offerWith(s.fullWith(info, anyParams()), info, anyOffer); got != test.without {
				t.Errorf("without: %v, want %v", got, test.without)
			}
			late := info
			late.CertificateTime = func() time.Time { return c.certificates[0].NotAfter.Add(time.Second) }
			if got := s.offerWith(s.mutual(c, info), late, anyOffer); got != reprise.ClientCertificate {
				t.Errorf("with an expired certificate: %v", got)
			}
			unverified := s.accept(info) // nothing was verified: the leaf's time still counts
			session, err := unverified.NewSession(c.params(), nil)
			if err != nil {
				t.Fatal(err)
			}
			unverified.Complete(true)
			if !session.Lineage().End.Equal(c.certificates[0].NotAfter) {
				t.Errorf("lineage ends %v, leaf %v", session.Lineage().End, c.certificates[0].NotAfter)
			}
		})
	}
}

// TestNoExtendedMasterSecretNoClientCertificate: without the extension a TLS 1.2 session must not carry an identity.
func TestNoExtendedMasterSecretNoClientCertificate(t *testing.T) {
	s := newServer(t, reprise.Options{Context: []byte("shop")})
	c := makeChain(t, s.now, [3]time.Duration{4 * week, 4 * week, 4 * week}, x509.ExtKeyUsageClientAuth)
	p := c.params()
	p.Version, p.CipherSuite = tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
	conn := s.accept(c.info())
	session, err := conn.NewSession(p, c.verified())
	if err != nil {
		t.Fatal(err)
	}
	conn.Complete(true)
	if got := s.offerWith(session, c.info(), offerOf(p)); got != reprise.ExtendedMasterSecret {
		t.Error(got)
	}
}

func TestMalformedClientCertificate(t *testing.T) {
	s := newServer(t, reprise.Options{Context: []byte("shop")})
	c := makeChain(t, s.now, [3]time.Duration{4 * week, 4 * week, 4 * week}, x509.ExtKeyUsageClientAuth)
	p := anyParams()
	p.PeerCertificates = [][]byte{{1, 2, 3}}
	if _, err := s.accept(c.info()).NewSession(p, nil); err == nil {
		t.Error("a session was made with a malformed client certificate")
	}
	conn := s.accept(c.info())
	session, err := conn.NewSession(p, c.verified())
	if err != nil {
		t.Fatal(err)
	}
	conn.Complete(true)
	if got := s.offerWith(session, c.info(), anyOffer); got != reprise.ClientCertificate {
		t.Error(got)
	}
}

// TestClientChainsLieOnce: a session with a chain costs hardly more memory than one without.
func TestClientChainsLieOnce(t *testing.T) {
	s := newServer(t, reprise.Options{Context: []byte("shop")})
	s.SetSize(0)
	c := makeChain(t, s.now, [3]time.Duration{4 * week, 4 * week, 4 * week}, x509.ExtKeyUsageClientAuth)
	heap := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	s.mutual(c, c.info())
	const n = 20_000
	before := heap()
	for range n {
		s.mutual(c, c.info())
	}
	if each := (heap() - before) / n; each > 400 {
		t.Errorf("%d bytes a session, with a chain of %d bytes", each, len(c.certificates[0].Raw)+len(c.certificates[1].Raw))
	}
	runtime.KeepAlive(s)
}
