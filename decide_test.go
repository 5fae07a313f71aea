package reprise_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
)

// offerWith makes a handshake that offers a session to a connection that differs from the one which made it.
func (s *server) offerWith(session *reprise.Session, info reprise.ConnectionInfo, offer reprise.Offer) reprise.Reason {
	s.t.Helper()
	conn := s.accept(info)
	s.resume(conn, session.ID(), offer)
	return conn.Reason()
}

func TestDeclines(t *testing.T) {
	tls12 := reprise.SessionParams{
		Version: tls.VersionTLS12, CipherSuite: tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, Secret: make([]byte, 48),
		ExtendedMasterSecret: true,
	}
	without := tls12
	without.ExtendedMasterSecret = false
	offer12 := reprise.Offer{Version: tls.VersionTLS12, CipherSuites: []uint16{tls12.CipherSuite}, ExtendedMasterSecret: true}
	offer := func(change func(*reprise.Offer)) reprise.Offer {
		o := offer12
		change(&o)
		return o
	}
	info := func(change func(*reprise.ConnectionInfo)) reprise.ConnectionInfo {
		i := anyInfo
		change(&i)
		return i
	}
	suites13 := func(suites ...uint16) reprise.Offer {
		return reprise.Offer{Version: tls.VersionTLS13, CipherSuites: suites}
	}
	for _, test := range []struct {
		name   string
		params reprise.SessionParams
		info   reprise.ConnectionInfo
		offer  reprise.Offer
		want   reprise.Reason
	}{
		{"same", tls12, anyInfo, offer12, reprise.Resumed},
		{"TLS 1.3", tls12, anyInfo, offer(func(o *reprise.Offer) { o.Version = tls.VersionTLS13 }), reprise.Version},
		{"TLS 1.2", anyParams(), anyInfo, offer12, reprise.Version},
		{"suite not offered", tls12, anyInfo, offer(func(o *reprise.Offer) { o.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256} }), reprise.CipherSuite},
		{"no suite", tls12, anyInfo, offer(func(o *reprise.Offer) { o.CipherSuites = nil }), reprise.CipherSuite},
		{"TLS 1.3 suite of the same hash", anyParams(), anyInfo, suites13(tls.TLS_CHACHA20_POLY1305_SHA256), reprise.Resumed},
		{"TLS 1.3 suite of another hash", anyParams(), anyInfo, suites13(tls.TLS_AES_256_GCM_SHA384), reprise.CipherSuite},
		{"no extended master secret offered", tls12, anyInfo, offer(func(o *reprise.Offer) { o.ExtendedMasterSecret = false }), reprise.ExtendedMasterSecret},
		{"no extended master secret in the session", without, anyInfo, offer12, reprise.ExtendedMasterSecret},
		{"no extended master secret at all", without, anyInfo, offer(func(o *reprise.Offer) { o.ExtendedMasterSecret = false }), reprise.Resumed},
		{"other server name", tls12, reprise.ConnectionInfo{ServerName: "mail.example"}, offer12, reprise.ServerName},
		{"no server name", tls12, reprise.ConnectionInfo{}, offer12, reprise.ServerName},
		{"same server name in another spelling", tls12, reprise.ConnectionInfo{ServerName: "WWW.Example."}, offer12, reprise.Resumed},
		{"other context", tls12, info(func(i *reprise.ConnectionInfo) { i.Context = []byte("other") }), offer12, reprise.OtherScope},
		{"QUIC", tls12, info(func(i *reprise.ConnectionInfo) { i.Transport = reprise.QUIC }), offer12, reprise.OtherScope},
		{"client certificates", tls12, info(func(i *reprise.ConnectionInfo) { i.ClientAuth = tls.RequestClientCert }), offer12, reprise.OtherScope},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t, reprise.Options{Context: []byte("shop")})
			session := s.fullWith(anyInfo, test.params)
			if got := s.offerWith(session, test.info, test.offer); got != test.want {
				t.Errorf("ended in %q, want %q", got, test.want)
			}
			if n := s.Stats().Outcomes[test.want]; n != 1 {
				t.Errorf("%q counted %d times", test.want, n)
			}
			s.expectRemoved()
			if got := s.offerWith(session, anyInfo, offerOf(test.params)); got != reprise.Resumed {
				t.Errorf("after the decline the session itself ended in %q", got)
			}
		})
	}
}

// TestServerNamesOfOneHost: only the case of ASCII letters and a trailing dot make no difference.
func TestServerNamesOfOneHost(t *testing.T) {
	for _, test := range []struct {
		made, offered string
		want          reprise.Reason
	}{
		{"www.example", "wWw.eXaMpLe.", reprise.Resumed},
		{"WWW.EXAMPLE.", "www.example", reprise.Resumed},
		{"www.example", "www.example..", reprise.ServerName},
		{"www.example..", "www.example..", reprise.Resumed},
		{"www.example..", "www.example.", reprise.ServerName},
		{"", ".", reprise.Resumed},
		{"kiosk.example", "\u212aiosk.example", reprise.ServerName}, // a kelvin sign, whose lower case is k
		{"\xfe.Example", "\xff.Example", reprise.ServerName},
		{"192.0.2.1", "", reprise.ServerName},
		{"192.0.2.1", "192.0.2.2", reprise.ServerName},
	} {
		s := newServer(t, reprise.Options{})
		session := s.fullWith(reprise.ConnectionInfo{ServerName: test.made}, anyParams())
		if got := s.offerWith(session, reprise.ConnectionInfo{ServerName: test.offered}, anyOffer); got != test.want {
			t.Errorf("made for %q, offered for %q: %v, want %v", test.made, test.offered, got, test.want)
		}
	}
}

// TestNewSessionTakesAnySpelling: get callbacks need not know which spelling is canonical.
func TestNewSessionTakesAnySpelling(t *testing.T) {
	s := newServer(t, reprise.Options{})
	p := anyParams()
	p.ID, p.Created, p.ServerName, p.Scope = s.full().ID(), s.now, "WWW.Example.", reprise.ScopeOf(anyInfo)
	session, err := reprise.NewSession(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Add(session); err != nil {
		t.Fatal(err)
	}
	s.expectOffer(session, reprise.Resumed)
}

// offerOf returns the offer that fits a session.
func offerOf(p reprise.SessionParams) reprise.Offer {
	return reprise.Offer{Version: p.Version, CipherSuites: []uint16{p.CipherSuite}, ExtendedMasterSecret: p.ExtendedMasterSecret}
}

// TestExtendedMasterSecretMissingIsFatal: RFC 7627, section 5.3, lets the engine abort in this direction only, for which
// it gets the session.
func TestExtendedMasterSecretMissingIsFatal(t *testing.T) {
	for _, inSession := range []bool{true, false} {
		s := newServer(t, reprise.Options{})
		p := anyParams()
		p.Version, p.CipherSuite, p.ExtendedMasterSecret = tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, inSession
		session := s.fullWith(anyInfo, p)
		offer := offerOf(p)
		offer.ExtendedMasterSecret = !inSession
		found, reason := s.accept(anyInfo).Lookup(session.ID().Bytes(), offer)
		if reason != reprise.ExtendedMasterSecret || (found != nil) != inSession {
			t.Errorf("session with extension %v: %v, session returned %v", inSession, reason, found != nil)
		}
	}
}

func TestScopeOrderOfClientCAs(t *testing.T) {
	_, a := selfSigned(t, "a.example")
	certificate, _ := selfSigned(t, "b.example")
	leaf, _ := x509.ParseCertificate(certificate.Certificate[0])
	s := newServer(t, reprise.Options{Context: []byte("shop")})
	scope := func(pool *x509.CertPool) string {
		return s.accept(reprise.ConnectionInfo{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}).Scope().String()
	}
	both, reversed := a.Clone(), x509.NewCertPool()
	both.AddCert(leaf)
	reversed.AddCert(leaf)
	for _, der := range [][]byte{mustChain(t, a)} {
		certificate, _ := x509.ParseCertificate(der)
		reversed.AddCert(certificate)
	}
	if scope(both) != scope(reversed) {
		t.Error("the order of the CAs changes the scope")
	}
	if scope(both) == scope(a) {
		t.Error("another CA does not change the scope")
	}
}

// mustChain returns the only certificate of a pool.
func mustChain(t *testing.T, pool *x509.CertPool) []byte {
	t.Helper()
	der, ok := poolCertificates.Load(pool)
	if !ok {
		t.Fatal("unknown pool")
	}
	return der.([]byte)
}

// poolCertificates remembers what selfSigned put into each pool, as a pool does not tell.
var poolCertificates sync.Map

func TestContextRequiredWithClientCertificates(t *testing.T) {
	s := newServer(t, reprise.Options{})
	if _, err := s.Accept(t.Context(), reprise.ConnectionInfo{ClientAuth: tls.RequestClientCert}); !errors.Is(err, reprise.ErrContextRequired) {
		t.Errorf("error %v", err)
	}
	if _, err := s.Accept(t.Context(), reprise.ConnectionInfo{ClientAuth: tls.RequestClientCert, Context: []byte("x")}); err != nil {
		t.Error(err)
	}
	if _, err := s.Accept(t.Context(), reprise.ConnectionInfo{Context: make([]byte, 33)}); err == nil {
		t.Error("a context of 33 bytes was accepted")
	}
}

func TestSingleUse(t *testing.T) {
	s := newServer(t, reprise.Options{SingleUse: true})
	session := s.full()
	s.expectOffer(session, reprise.Resumed)
	s.expectRemoved(removal{session.ID(), reprise.RemovedUsed, true})
	s.expectOffer(session, reprise.Used)
}

// TestSingleUseRace: of many handshakes that offer one session at once, one resumes; with a take callback, whichever the external
// cache says.
func TestSingleUseRace(t *testing.T) {
	for _, callback := range []bool{false, true} {
		t.Run(fmt.Sprintf("take callback %v", callback), func(t *testing.T) {
			s := newServer(t, reprise.Options{SingleUse: true})
			var taken sync.Map
			if callback {
				s.SetTakeCallback(func(_ context.Context, session *reprise.Session) (bool, error) {
					_, again := taken.LoadOrStore(session.ID(), true)
					return !again, nil
				})
			}
			for range 200 {
				session := s.full()
				s.SetGetCallback(func(context.Context, reprise.SessionID) (*reprise.Session, error) {
					if _, gone := taken.Load(session.ID()); gone {
						return nil, nil
					}
					return session, nil
				})
				var resumed atomic.Int32
				var wg sync.WaitGroup
				begin := make(chan struct{})
				for range 8 {
					conn := s.accept(anyInfo)
					wg.Go(func() {
						<-begin
						found, reason := conn.Lookup(session.ID().Bytes(), anyOffer)
						if reason == reprise.Resumed && conn.Take(found) == reprise.Resumed {
							taken.Store(session.ID(), true)
							resumed.Add(1)
						}
					})
				}
				close(begin)
				wg.Wait()
				if n := resumed.Load(); n != 1 && (callback || n == 0) {
					t.Fatalf("%d handshakes resumed", n)
				}
			}
		})
	}
}

// TestSingleUseWhileRemoving: the external cache still has the session while the remove callback of its first use runs.
func TestSingleUseWhileRemoving(t *testing.T) {
	s := newServer(t, reprise.Options{SingleUse: true})
	session := s.full()
	s.SetGetCallback(func(context.Context, reprise.SessionID) (*reprise.Session, error) { return session, nil })
	var second reprise.Reason
	s.SetRemoveCallback(func(*reprise.Cache, *reprise.Session, reprise.Removal, bool) {
		s.SetRemoveCallback(func(*reprise.Cache, *reprise.Session, reprise.Removal, bool) {})
		second = s.offer(session)
		s.SetGetCallback(nil) // deleted
	})
	s.expectOffer(session, reprise.Resumed)
	if second != reprise.Used {
		t.Errorf("a second use ended in %q", second)
	}
	s.expectOffer(session, reprise.Used)
}

func TestTake(t *testing.T) {
	s := newServer(t, reprise.Options{SingleUse: true})
	session := s.full()
	answer, answerErr := false, context.DeadlineExceeded
	s.SetTakeCallback(func(ctx context.Context, _ *reprise.Session) (bool, error) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("take without deadline")
		}
		return answer, answerErr
	})
	s.expectOffer(session, reprise.StoreTimeout)
	s.expectRemoved() // nobody knows whether it was taken; the store will tell the next time
	answerErr = nil
	s.expectOffer(session, reprise.Used)
	s.expectRemoved(removal{session.ID(), reprise.RemovedUsed, true})
	s.expectOffer(session, reprise.Used)

	session = s.full()
	answer = true
	s.expectOffer(session, reprise.Resumed)
	s.expectRemoved(removal{session.ID(), reprise.RemovedUsed, true})

	multi := newServer(t, reprise.Options{})
	multi.SetTakeCallback(func(context.Context, *reprise.Session) (bool, error) {
		t.Error("a session for many uses was taken")
		return false, nil
	})
	session = multi.full()
	multi.expectOffer(session, reprise.Resumed)
}

// TestChecksComeBeforeTheTake: a session that may not be resumed here is not used up.
func TestChecksComeBeforeTheTake(t *testing.T) {
	s := newServer(t, reprise.Options{SingleUse: true})
	session := s.full()
	if got := s.offerWith(session, reprise.ConnectionInfo{ServerName: "mail.example"}, anyOffer); got != reprise.ServerName {
		t.Error(got)
	}
	s.expectOffer(session, reprise.Resumed)
}

func TestLineage(t *testing.T) {
	s := newServer(t, reprise.Options{})
	s.SetTimeout(30 * 24 * time.Hour)
	first := s.full()
	start := s.now
	session, generation := first, uint32(0)
	for s.now.Sub(start) <= reprise.MaxLineage-36*time.Hour {
		s.pass(36 * time.Hour)
		conn := s.accept(anyInfo)
		found, reason := conn.Lookup(session.ID().Bytes(), anyOffer)
		if reason != reprise.Resumed {
			t.Fatalf("after %v: %v", s.now.Sub(start), reason)
		}
		conn.Resumed(found)
		renewed, err := conn.NewSession(anyParams(), nil)
		if err != nil {
			t.Fatal(err)
		}
		conn.Complete(true)
		generation++
		l := renewed.Lineage()
		if l.ID != first.Lineage().ID || !l.Start.Equal(start) || l.Generation != generation {
			t.Fatalf("lineage %+v", l)
		}
		if limit := start.Add(reprise.MaxLineage); renewed.Expiry().After(limit) {
			t.Fatalf("expires %v after the end of its lineage", renewed.Expiry().Sub(limit))
		}
		session = renewed
	}
	s.pass(36 * time.Hour)
	s.expectOffer(session, reprise.Expired)
	if other := s.full(); other.Lineage().ID == first.Lineage().ID || other.Lineage().Generation != 0 {
		t.Error("a full handshake did not begin a new lineage")
	}
}

// TestLineageOfAConnection: all sessions of one full handshake are of one lineage, which began with it, however late a
// ticket is asked for.
func TestLineageOfAConnection(t *testing.T) {
	now := newServer(t, reprise.Options{}).now
	c := makeChain(t, now, [3]time.Duration{4 * week, 4 * week, 3 * 24 * time.Hour}, x509.ExtKeyUsageClientAuth)
	for _, test := range []struct {
		info   reprise.ConnectionInfo
		params reprise.SessionParams
		chains [][]*x509.Certificate
		end    time.Duration
	}{
		{anyInfo, anyParams(), nil, reprise.MaxLineage},
		{c.info(), c.params(), c.verified(), 3 * 24 * time.Hour},
	} {
		s := newServer(t, reprise.Options{Context: []byte("shop")})
		start := s.now
		conn := s.accept(test.info)
		var all []reprise.Lineage
		for range 3 {
			session, err := conn.NewSession(test.params, test.chains)
			if err != nil {
				t.Fatal(err)
			}
			conn.Complete(true)
			all = append(all, session.Lineage())
			s.pass(24 * time.Hour)
		}
		for _, l := range all {
			if l != all[0] || !l.Start.Equal(start) || !l.End.Equal(start.Add(test.end)) || l.Generation != 0 {
				t.Errorf("lineage %+v of a handshake at %v", l, start)
			}
		}
	}
}

func TestReasonOfSeveralOffers(t *testing.T) {
	s := newServer(t, reprise.Options{})
	session := s.full()
	conn := s.accept(anyInfo)
	if conn.Reason() != reprise.NotOffered {
		t.Error(conn.Reason())
	}
	conn.Lookup([]byte{1}, anyOffer)
	conn.Lookup(nil, anyOffer) // not an offer
	if conn.Reason() != reprise.Unknown {
		t.Error(conn.Reason())
	}
	found, _ := conn.Lookup(session.ID().Bytes(), anyOffer)
	conn.Resumed(found)
	conn.Complete(true)
	if conn.Reason() != reprise.Resumed || conn.ResumedSession() != found || conn.Session() != found {
		t.Error(conn.Reason())
	}
}

func TestReasonNames(t *testing.T) {
	seen := make(map[string]bool)
	for _, reason := range reprise.Reasons() {
		name := reason.String()
		if name == "" || name == "invalid" || seen[name] {
			t.Errorf("reason %d is named %q", reason, name)
		}
		seen[name] = true
	}
	if len(seen) != 15 {
		t.Errorf("%d reasons", len(seen))
	}
}

func TestEnd(t *testing.T) {
	clean := reprise.Ending{CloseNotifySent: true, CloseNotifyReceived: true}
	sent := reprise.Ending{CloseNotifySent: true}
	received := reprise.Ending{CloseNotifyReceived: true}
	alert := reprise.Ending{CloseNotifySent: true, CloseNotifyReceived: true, FatalAlert: true}
	const no = reprise.Removal(255)
	for _, test := range []struct {
		rule reprise.Unclean
		ends map[reprise.Ending]reprise.Removal
	}{
		{reprise.UncleanOpenSSL, map[reprise.Ending]reprise.Removal{
			clean: no, sent: no, received: reprise.RemovedUnclean, {}: reprise.RemovedUnclean, alert: reprise.RemovedFatalAlert,
		}},
		{reprise.UncleanNever, map[reprise.Ending]reprise.Removal{clean: no, sent: no, received: no, {}: no, alert: no}},
		{reprise.UncleanFatal, map[reprise.Ending]reprise.Removal{
			clean: no, sent: no, received: no, {}: no, alert: reprise.RemovedFatalAlert,
		}},
		{reprise.UncleanStrict, map[reprise.Ending]reprise.Removal{
			clean: no, sent: reprise.RemovedUnclean, received: reprise.RemovedUnclean, {}: reprise.RemovedUnclean,
			alert: reprise.RemovedFatalAlert,
		}},
	} {
		for end, want := range test.ends {
			s := newServer(t, reprise.Options{Unclean: test.rule})
			conn := s.accept(anyInfo)
			session, err := conn.NewSession(anyParams(), nil)
			if err != nil {
				t.Fatal(err)
			}
			conn.Complete(true)
			conn.End(end)
			conn.End(reprise.Ending{FatalAlert: true}) // only the first counts
			if want == no {
				s.expectRemoved()
			} else {
				s.expectRemoved(removal{session.ID(), want, true})
			}
		}
	}
}

// TestNothingRemovesBeforeTheHandshakeIsComplete: IDs travel in clear, and who saw one could delete the session.
func TestNothingRemovesBeforeTheHandshakeIsComplete(t *testing.T) {
	s := newServer(t, reprise.Options{})
	session := s.full()
	conn := s.accept(anyInfo)
	found, _ := conn.Lookup(session.ID().Bytes(), anyOffer)
	conn.Resumed(found)
	conn.End(reprise.Ending{FatalAlert: true})
	s.expectRemoved()
	s.expectOffer(session, reprise.Resumed)
}

func TestUncleanEndOfAResumedConnection(t *testing.T) {
	s := newServer(t, reprise.Options{})
	session := s.full()
	conn := s.accept(anyInfo)
	s.resume(conn, session.ID(), anyOffer)
	conn.End(reprise.Ending{})
	s.expectRemoved(removal{session.ID(), reprise.RemovedUnclean, true})
	if s.accept(anyInfo).End(reprise.Ending{}); len(s.removed) != 0 {
		t.Error("a connection without session removed one")
	}
}

// TestUnconfirmedSessions: they can't push out confirmed ones, they are bounded, and a resumption confirms them.
func TestUnconfirmedSessions(t *testing.T) {
	s := newServer(t, reprise.Options{UnconfirmedPerSource: -1})
	s.SetSize(8)
	unconfirmed := func() *reprise.Session {
		conn := s.accept(anyInfo)
		session, err := conn.NewSession(anyParams(), nil)
		if err != nil {
			t.Fatal(err)
		}
		conn.Complete(false)
		return session
	}
	a, b := unconfirmed(), unconfirmed()
	if st := s.Stats(); st.Number != 2 || st.Unconfirmed != 2 {
		t.Errorf("stats %+v", st)
	}
	c := unconfirmed() // a quarter of the size is theirs
	s.expectRemoved(removal{a.ID(), reprise.RemovedEvicted, true})
	s.expectOffer(b, reprise.Resumed)
	if st := s.Stats(); st.Number != 2 || st.Unconfirmed != 1 {
		t.Errorf("stats %+v", st)
	}
	var confirmed []*reprise.Session
	for range 6 {
		confirmed = append(confirmed, s.full())
	}
	d := unconfirmed()
	s.expectRemoved(removal{c.ID(), reprise.RemovedEvicted, true}) // not the older, confirmed b
	confirmed = append(confirmed, s.full())
	s.expectRemoved(removal{b.ID(), reprise.RemovedEvicted, true}) // a confirmed one takes whichever expires first
	_ = d
	for _, session := range confirmed {
		s.expectOffer(session, reprise.Resumed)
	}
}

func TestUnconfirmedPerSource(t *testing.T) {
	s := newServer(t, reprise.Options{UnconfirmedPerSource: 3})
	announced := 0
	s.SetNewCallback(func(*reprise.Cache, *reprise.Session) bool { announced++; return true })
	from := func(ip string, confirmed bool) {
		conn := s.accept(reprise.ConnectionInfo{RemoteAddr: &net.TCPAddr{IP: net.ParseIP(ip), Port: 1}})
		if _, err := conn.NewSession(anyParams(), nil); err != nil {
			t.Fatal(err)
		}
		conn.Complete(confirmed)
	}
	for range 10 {
		from("192.0.2.1", false)
		from("2001:db8::1", false)
		from("2001:db8::ffff", false) // of the same /64
	}
	if announced != 6 || s.Stats().NotKept != 24 {
		t.Errorf("%d announced, %d not kept", announced, s.Stats().NotKept)
	}
	from("192.0.2.1", true)
	from("192.0.2.2", false)
	if announced != 8 {
		t.Errorf("%d announced; a confirmed one, or another address, was bounded", announced)
	}
	s.pass(time.Minute)
	from("192.0.2.1", false)
	if announced != 9 {
		t.Error("the bound did not end with the minute")
	}
	high := newServer(t, reprise.Options{UnconfirmedPerSource: math.MaxInt - math.MaxUint32}) // its lower half is 0
	conn := high.accept(anyInfo)
	if _, err := conn.NewSession(anyParams(), nil); err != nil {
		t.Fatal(err)
	}
	if conn.Complete(false); high.Stats().NotKept != 0 {
		t.Error("a high bound keeps nothing")
	}
}
