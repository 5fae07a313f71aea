package reprise_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/store/memory"
)

// A swappingStore is a memory store whose values fail when the test says so.
type swappingStore struct {
	memory.Store
	mu                  sync.Mutex
	failReads, failSwap bool
}

func (s *swappingStore) fail(reads, swaps bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failReads, s.failSwap = reads, swaps
}

func (s *swappingStore) fails() (reads, swaps bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failReads, s.failSwap
}

func (s *swappingStore) Value(ctx context.Context, key reprise.StoreKey) ([]byte, error) {
	if reads, _ := s.fails(); reads {
		return nil, errFault
	}
	return s.Store.Value(ctx, key)
}

func (s *swappingStore) SwapValue(ctx context.Context, key reprise.StoreKey, old, value []byte) (bool, error) {
	if _, swaps := s.fails(); swaps {
		return false, errFault
	}
	return s.Store.SwapValue(ctx, key, old, value)
}

// restore makes the values those of another store: a snapshot.
func (s *swappingStore) restore(t *testing.T, keys ...reprise.StoreKey) (snapshot func()) {
	t.Helper()
	values := make(map[reprise.StoreKey][]byte)
	for _, key := range keys {
		value, err := s.Store.Value(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		values[key] = value
	}
	return func() {
		for key, value := range values {
			now, err := s.Store.Value(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if swapped, err := s.Store.SwapValue(t.Context(), key, now, value); !swapped || err != nil {
				t.Fatal(swapped, err)
			}
		}
	}
}

// A keyRecorder notes the keys of values.
type keyRecorder struct {
	swappingStore
	places map[reprise.StoreKey]bool
}

func (s *keyRecorder) SwapValue(ctx context.Context, key reprise.StoreKey, old, value []byte) (bool, error) {
	s.mu.Lock()
	s.places[key] = true
	s.mu.Unlock()
	return s.swappingStore.SwapValue(ctx, key, old, value)
}

func (s *keyRecorder) keys() (keys []reprise.StoreKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.places {
		keys = append(keys, key)
	}
	return keys
}

func (n *node) revoke(r reprise.Revocation) {
	n.t.Helper()
	if err := n.Revoke(n.t.Context(), r); err != nil {
		n.t.Fatal(err)
	}
}

// fullAs makes a full handshake with a configuration and a client chain.
func (n *node) fullAs(info reprise.ConnectionInfo, chain ...[]byte) *reprise.Session {
	n.t.Helper()
	conn, err := n.Accept(n.t.Context(), info)
	if err != nil {
		n.t.Fatal(err)
	}
	p := anyParams()
	p.PeerCertificates = chain
	s, err := conn.NewSession(p, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	conn.Complete(true)
	return s
}

// resumeAs offers a session, and returns the one that the client gets for it.
func (n *node) resumeAs(info reprise.ConnectionInfo, s *reprise.Session) (reprise.Reason, *reprise.Session) {
	n.t.Helper()
	conn, err := n.Accept(n.t.Context(), info)
	if err != nil {
		n.t.Fatal(err)
	}
	found, reason := conn.Lookup(s.ID().Bytes(), anyOffer)
	if reason != reprise.Resumed {
		conn.Complete(true)
		return reason, nil
	}
	conn.Resumed(found)
	p := anyParams()
	p.PeerCertificates = found.PeerCertificates()
	next, err := conn.NewSession(p, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	conn.Complete(true)
	return reason, next
}

// A client is a configuration and the chain that its clients show.
type client struct {
	info  reprise.ConnectionInfo
	chain [][]byte
}

var (
	shop  = client{reprise.ConnectionInfo{ServerName: "shop.example", Context: []byte("shop")}, nil}
	mail  = client{reprise.ConnectionInfo{ServerName: "mail.example", Context: []byte("mail")}, nil}
	alice = client{reprise.ConnectionInfo{ServerName: "staff.example", Context: []byte("staff"), ClientAuth: tls.RequireAnyClientCert}, [][]byte{newLeaf("alice")}}
	bob   = client{alice.info, [][]byte{newLeaf("bob")}}

	clients = []client{shop, mail, alice, bob}
)

// newLeaf returns a self-signed certificate.
func newLeaf(name string) []byte {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(nil, template, template, public, private)
	if err != nil {
		panic(err)
	}
	return der
}

// TestRevoke: a revocation reaches the lineages that it names, on all nodes, with their descendants; no others, and none that
// begin later.
func TestRevoke(t *testing.T) {
	for _, test := range []struct {
		name string
		r    func(first *reprise.Session) reprise.Revocation
		hits []int // of clients
	}{
		{"session", reprise.RevokeSession, []int{0}},
		{"server name", func(*reprise.Session) reprise.Revocation { return reprise.RevokeServerName("Mail.Example.") }, []int{1}},
		{"context", func(*reprise.Session) reprise.Revocation { return reprise.RevokeContext([]byte("staff")) }, []int{2, 3}},
		{"client certificate", func(*reprise.Session) reprise.Revocation {
			return reprise.RevokeClientCertificate(sha256.Sum256(alice.chain[0]))
		}, []int{2}},
		{"all", func(*reprise.Session) reprise.Revocation { return reprise.RevokeAll() }, []int{0, 1, 2, 3}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, keys := &memory.Store{}, fleetKeys(t, 1, 2)
				a, b := newNode(t, store, keys, oneWriter), newNode(t, store, keys, oneWriter)
				lineages := make([][]*reprise.Session, len(clients)) // their sessions
				for i, c := range clients {
					s := a.fullAs(c.info, c.chain...)
					a.flush()
					_, child := b.resumeAs(c.info, s)
					if child == nil {
						t.Fatalf("client %d does not resume", i)
					}
					lineages[i] = []*reprise.Session{s, child}
				}
				b.flush()
				a.revoke(test.r(lineages[0][0]))
				check := func(n *node) {
					t.Helper()
					for i, c := range clients {
						for generation, s := range lineages[i] {
							got, _ := n.resumeAs(c.info, s)
							if hit := slices.Contains(test.hits, i); hit != (got == reprise.Revoked || got == reprise.Unknown) || !hit && got != reprise.Resumed {
								t.Errorf("client %d, generation %d: %v", i, generation, got)
							}
						}
					}
				}
				check(a)
				time.Sleep(time.Second + time.Millisecond)
				check(b)
				later := a.fullAs(shop.info)
				if got, _ := a.resumeAs(shop.info, later); got != reprise.Resumed {
					t.Errorf("a lineage that began later: %v", got)
				}
				check(newNode(t, store, fleetKeys(t, 2, 1), oneWriter))
			})
		})
	}
}

// TestRevokedSessionsAreRemoved: a session that was revoked ends its residence and its record when it is offered, once.
func TestRevokedSessionsAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{}
		n := newNode(t, store, nil, oneWriter)
		s, named := n.full(false), n.full(false)
		n.flush()
		n.revoke(reprise.RevokeSession(named))
		if n.Lookup(named.ID()) != nil {
			t.Error("a session that was revoked by name is resident")
		}
		n.revoke(reprise.RevokeAll())
		resumes(t, s, reprise.Revoked, n)
		n.flush()
		resumes(t, s, reprise.Unknown, n)
		stats := n.Cache.Stats()
		if stats.Removals[reprise.RemovedRevoked] != 2 || stats.Number != 0 || stats.Outcomes[reprise.Revoked] != 1 {
			t.Errorf("%+v", stats)
		}
		if count, err := store.Count(t.Context()); count != 0 || err != nil {
			t.Errorf("%d records are left, %v", count, err)
		}
	})
}

// TestRevocationOutlivesItsStore: what a store has lost it hears of again, and other nodes by it.
func TestRevocationOutlivesItsStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, keys := &keyRecorder{places: make(map[reprise.StoreKey]bool)}, fleetKeys(t, 1, 2)
		a, b := newNode(t, store, keys, oneWriter), newNode(t, store, keys, oneWriter)
		hit, other := a.fullAs(shop.info), a.fullAs(mail.info)
		a.flush()
		before := store.restore(t, store.keys()...)
		if len(store.keys()) != 2 {
			t.Fatalf("%d logs, want one for each key", len(store.keys()))
		}
		b.revoke(reprise.RevokeServerName("shop.example"))
		time.Sleep(1500 * time.Millisecond)
		before()
		time.Sleep(time.Second)
		for _, n := range []*node{a, b, newNode(t, store, fleetKeys(t, 1), oneWriter)} {
			if got, _ := n.resumeAs(shop.info, hit); got != reprise.Revoked && got != reprise.Unknown {
				t.Errorf("after the store went back: %v", got)
			}
			if got, _ := n.resumeAs(mail.info, other); got != reprise.Resumed {
				t.Errorf("another session after the store went back: %v", got)
			}
			a.flush()
		}
	})
}

// TestStoreThatForgotAll: if nobody knows any more what was revoked, all that could have been is.
func TestStoreThatForgotAll(t *testing.T) {
	for name, damage := range map[string][]byte{"lost": nil, "damaged": []byte("\x01not a log")} {
		synctest.Test(t, func(t *testing.T) {
			store := &keyRecorder{places: make(map[reprise.StoreKey]bool)}
			a := newNode(t, store, fleetKeys(t, 1), oneWriter)
			s := a.full(false)
			a.flush()
			_ = a.StoreBinding.Close(t.Context())
			time.Sleep(time.Minute)
			place := store.keys()[0]
			log, err := store.Store.Value(t.Context(), place)
			if err != nil {
				t.Fatal(err)
			}
			if swapped, err := store.Store.SwapValue(t.Context(), place, log, damage); !swapped || err != nil {
				t.Fatal(swapped, err)
			}
			b := newNode(t, store, fleetKeys(t, 1), oneWriter)
			resumes(t, s, reprise.Revoked, b)
			resumes(t, b.full(false), reprise.Resumed, b)
			if t.Failed() {
				t.Log(name)
			}
		})
	}
}

// TestStoreThatWentBackUnseen: a session that has captured more than the store has proves that it has gone back. What was captured
// before counts as revoked from then on.
func TestStoreThatWentBackUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &keyRecorder{places: make(map[reprise.StoreKey]bool)}
		a := newNode(t, store, fleetKeys(t, 1), oneWriter)
		old := a.full(false)
		before := store.restore(t, store.keys()...)
		time.Sleep(time.Minute)
		a.revoke(reprise.RevokeServerName("www.example"))
		proof := a.full(false)
		a.flush()
		_ = a.StoreBinding.Close(t.Context())
		before()
		b := newNode(t, store, fleetKeys(t, 1), oneWriter)
		resumes(t, proof, reprise.Resumed, b) // nothing that was revoked before it began concerns it
		synctest.Wait()
		resumes(t, proof, reprise.Revoked, b)
		resumes(t, old, reprise.Revoked, b)
		s := b.full(false)
		resumes(t, s, reprise.Resumed, b)
		if b.StoreBinding.Stats().Revocations != 0 {
			t.Error("there are names in a log that began anew")
		}
	})
}

// TestUnreadRevocations: without the log for 10 seconds, or from the start, client certificates do not resume; the rest goes on.
func TestUnreadRevocations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &swappingStore{}
		n := newNode(t, store, fleetKeys(t, 1), oneWriter)
		plain, staff := n.fullAs(shop.info), n.fullAs(alice.info, alice.chain...)
		n.flush()
		expect := func(n *node, want reprise.Reason) {
			t.Helper()
			if got, _ := n.resumeAs(shop.info, plain); got != reprise.Resumed {
				t.Errorf("without a client certificate: %v", got)
			}
			if got, _ := n.resumeAs(alice.info, staff); got != want {
				t.Errorf("with a client certificate: %v, want %v", got, want)
			}
			if n.StoreBinding.Stats().RevocationsUnread != (want == reprise.StoreError) {
				t.Error("the statistics say otherwise")
			}
		}
		store.fail(true, false)
		time.Sleep(8900 * time.Millisecond)
		expect(n, reprise.Resumed)
		expect(newNode(t, store, fleetKeys(t, 1), oneWriter), reprise.StoreError)
		time.Sleep(1500 * time.Millisecond)
		expect(n, reprise.StoreError)
		if err := n.Revoke(t.Context(), reprise.RevokeAll()); !errors.Is(err, errFault) {
			t.Errorf("Revoke: %v", err)
		}
		store.fail(false, true) // what can be read need not be written
		time.Sleep(1100 * time.Millisecond)
		expect(n, reprise.Resumed)
		if err := n.Revoke(t.Context(), reprise.RevokeAll()); !errors.Is(err, errFault) {
			t.Errorf("Revoke: %v", err)
		}
		expect(n, reprise.Resumed)
		store.fail(false, false)
		n.revoke(reprise.RevokeAll())
		if got, _ := n.resumeAs(shop.info, plain); got != reprise.Revoked {
			t.Errorf("at last: %v", got)
		}
	})
}

// A readCounter counts the reads of values.
type readCounter struct {
	*tellingStore
	reads atomic.Int64
}

func (s *readCounter) Value(ctx context.Context, key reprise.StoreKey) ([]byte, error) {
	s.reads.Add(1)
	return s.tellingStore.Value(ctx, key)
}

// TestSessionsOfAnUnreadLog: what a node has made before it could read the revocations resumes until it can, and no longer: a name that is
// forgotten then could be that of such a session, which has captured no count.
func TestSessionsOfAnUnreadLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, keys := &swappingStore{}, fleetKeys(t, 1)
		a := newNode(t, &store.Store, keys, oneWriter)
		store.fail(true, true)
		b := newNode(t, store, keys, oneWriter)
		s := b.fullAs(shop.info)
		if got, _ := b.resumeAs(shop.info, s); got != reprise.Resumed {
			t.Errorf("while no revocations could be read yet: %v", got)
		}
		b.flush()
		store.fail(false, false)
		time.Sleep(3 * time.Second)
		for _, n := range []*node{a, b} {
			if got, _ := n.resumeAs(shop.info, s); got != reprise.Revoked {
				t.Errorf("%v, of a session that may have been revoked by a name which is forgotten", got)
			}
		}
		after := b.fullAs(shop.info)
		if got, _ := b.resumeAs(shop.info, after); got != reprise.Resumed {
			t.Errorf("since they were read: %v", got)
		}
	})
}

// TestToldRevocation: a store that tells of it makes nodes heed a revocation at once, and read no more often for all that than they should.
func TestToldRevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, keys := &readCounter{tellingStore: &tellingStore{faultyStore: &faultyStore{}}}, fleetKeys(t, 1)
		a, b := newNode(t, store, keys, oneWriter), newNode(t, store, keys, oneWriter)
		s, other := a.full(false), a.full(false)
		a.flush()
		time.Sleep(300 * time.Millisecond)
		a.revoke(reprise.RevokeAll())
		synctest.Wait()
		resumes(t, s, reprise.Resumed, b) // it has not heard of it
		store.tell(reprise.NoticeSwapped)
		synctest.Wait()
		resumes(t, s, reprise.Revoked, b)
		resumes(t, other, reprise.Revoked, a) // not s, which b deletes meanwhile

		before := store.reads.Load()
		for range 1000 {
			store.tell(reprise.NoticeSwapped)
			time.Sleep(time.Millisecond)
		}
		if reads := store.reads.Load() - before; reads > 2*22 {
			t.Errorf("two nodes have read %d times in a second", reads)
		}
	})
}

// TestRevocationsOfManyNodes: none is lost when all revoke at once.
func TestRevocationsOfManyNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, keys := &memory.Store{}, fleetKeys(t, 1)
		var nodes []*node
		var sessions []*reprise.Session
		for range 8 {
			n := newNode(t, store, keys, oneWriter)
			nodes = append(nodes, n)
			for range 4 {
				sessions = append(sessions, n.full(false))
			}
			n.flush()
		}
		var work sync.WaitGroup
		for i, s := range sessions {
			work.Go(func() {
				if err := nodes[i%len(nodes)].Revoke(t.Context(), reprise.RevokeSession(s)); err != nil {
					t.Error(err)
				}
			})
		}
		work.Wait()
		time.Sleep(1100 * time.Millisecond)
		for _, n := range nodes {
			if got := n.StoreBinding.Stats().Revocations; got != len(sessions) {
				t.Errorf("a node knows %d revocations of %d", got, len(sessions))
			}
		}
	})
}

// TestTooManyRevocations: lineages that are older than the names which are still known count as revoked; the log does not grow.
func TestTooManyRevocations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory.Store{}
		n := newNode(t, store, fleetKeys(t, 1), oneWriter)
		old := n.full(false)
		time.Sleep(time.Millisecond)
		n.revoke(reprise.RevokeContext([]byte{0, 0}))
		middle := n.full(false)
		for i := range 3799 {
			time.Sleep(time.Millisecond)
			n.revoke(reprise.RevokeContext([]byte{1, byte(i), byte(i >> 8)}))
		}
		resumes(t, old, reprise.Resumed, n)
		n.revoke(reprise.RevokeContext([]byte{2, 2}))
		resumes(t, old, reprise.Revoked, n)
		resumes(t, middle, reprise.Resumed, n)
		if got := n.StoreBinding.Stats().Revocations; got != 3800 {
			t.Errorf("%d names", got)
		}
		_ = n.StoreBinding.Close(t.Context())
		time.Sleep(reprise.MaxLineage + 3*time.Hour)
		n = newNode(t, store, fleetKeys(t, 1), oneWriter)
		n.revoke(reprise.RevokeContext([]byte{3, 3}))
		if got := n.StoreBinding.Stats().Revocations; got != 1 {
			t.Errorf("%d names after a week", got)
		}
	})
}

func TestRevokeRefuses(t *testing.T) {
	n := newNode(t, &memory.Store{}, nil, oneWriter)
	for name, r := range map[string]reprise.Revocation{
		"the zero value": {}, "no server name": reprise.RevokeServerName("."), "no context": reprise.RevokeContext(nil),
		"no lineage": reprise.RevokeLineage(reprise.RecordTag{}),
	} {
		if err := n.Revoke(t.Context(), r); err == nil || !strings.Contains(err.Error(), "nothing to revoke") {
			t.Errorf("%s: %v", name, err)
		}
		if r.String() != "nothing" {
			t.Errorf("%s is %v", name, r)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Revoke(ctx, reprise.RevokeAll()); err == nil {
		t.Error("a context that is done is no error")
	}

	plain := newNode(t, &plainStore{}, nil, oneWriter)
	s := plain.full(false)
	if err := plain.Revoke(t.Context(), reprise.RevokeSession(s)); !errors.Is(err, reprise.ErrNoRevocations) {
		t.Errorf("a store without values: %v", err)
	}
	resumes(t, s, reprise.Unknown, plain)
	if err := reprise.RevokeIn(t.Context(), &plainStore{}, plain.Keys(), reprise.RevokeAll()); !errors.Is(err, reprise.ErrNoRevocations) {
		t.Errorf("a store without values: %v", err)
	}
	if err := reprise.RevokeIn(t.Context(), &memory.Store{}, nil, reprise.RevokeAll()); err == nil {
		t.Error("no keys are no error")
	}
}

// TestRevokeIn: a tool that has the store and the fleet key reaches every node. It knows a lineage by a record's header.
func TestRevokeIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, keys := &memory.Store{}, fleetKeys(t, 1)
		n := newNode(t, store, keys, oneWriter)
		s, other := n.full(false), n.full(false)
		n.flush()
		record, _, err := store.Get(t.Context(), keys.StoreKeys(s.ID())[0])
		if err != nil {
			t.Fatal(err)
		}
		header, err := reprise.ParseRecordHeader(record)
		if err != nil {
			t.Fatal(err)
		}
		_, child := n.resumeAs(anyInfo, s)
		if err := reprise.RevokeIn(t.Context(), store, keys, reprise.RevokeLineage(header.Lineage)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1001 * time.Millisecond)
		resumes(t, s, reprise.Revoked, n)
		resumes(t, child, reprise.Revoked, n)
		resumes(t, other, reprise.Resumed, n)
	})
}

// TestRotationKeepsRevocations: a new fleet key's log has what the log of the old one had.
func TestRotationKeepsRevocations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory.Store{}
		n := newNode(t, store, fleetKeys(t, 1), oneWriter)
		s := n.full(false)
		n.flush()
		_, child := n.resumeAs(anyInfo, s)
		n.flush()
		n.revoke(reprise.RevokeServerName("www.example"))
		if err := n.SetKeys(fleetKeys(t, 2, 1)); err != nil {
			t.Fatal(err)
		}
		fresh := n.full(false)
		time.Sleep(1100 * time.Millisecond)
		other := newNode(t, store, fleetKeys(t, 2), oneWriter)
		n.flush()
		resumes(t, fresh, reprise.Resumed, other, n)
		if got := other.StoreBinding.Stats().Revocations; got != 1 {
			t.Errorf("%d names under the new key", got)
		}
		resumes(t, child, reprise.Revoked, n)
	})
}

// TestSessionsOfTheApplication: sessions that are added have captured nothing. They resume, until they are revoked.
func TestSessionsOfTheApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, &memory.Store{}, nil, oneWriter)
		made := n.make()
		p := paramsOf(made)
		s := newSession(t, p)
		if err := n.Add(s); err != nil {
			t.Fatal(err)
		}
		resumes(t, s, reprise.Resumed, n)
		n.revoke(reprise.RevokeServerName("other.example"))
		resumes(t, s, reprise.Resumed, n)
		n.revoke(reprise.RevokeServerName("www.example"))
		resumes(t, s, reprise.Revoked, n)
	})
}

// TestRevocationDuringAHandshake: what is revoked while a full handshake goes on includes its lineage.
func TestRevocationDuringAHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, &memory.Store{}, nil, oneWriter)
		conn, err := n.Accept(t.Context(), anyInfo)
		if err != nil {
			t.Fatal(err)
		}
		n.revoke(reprise.RevokeAll())
		s, err := conn.NewSession(anyParams(), nil)
		if err != nil {
			t.Fatal(err)
		}
		conn.Complete(true)
		resumes(t, s, reprise.Revoked, n)
	})
}
