package redisstore_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/redistest"
	redisstore "github.com/reprise-tls/reprise/store/redis"
)

// TestSentinel is a failover that two of three sentinels decide. One of the replicas does not get to follow the new primary, which keeps the one of them that
// leads busy for long.
func TestSentinel(t *testing.T) {
	t.Parallel()
	g := redistest.Config{Spares: 2}.StartSentinels(t)
	g.Spares[1].Command("CONFIG", "SET", "masteruser", "nobody", "masterauth", "wrong")
	s := open(t, g.URL(), redisstore.Options{})
	key := reprise.StoreKey{1}
	life := takes(t, s, key)
	await(t, "the life of the primary", func() bool { return s.Incarnation(key) == life })
	g.Sentinels[2].Kill()
	g.Primary.Kill()
	g.Replica.AwaitPromoted()
	worksAgain(t, s, key, life)
}

// TestSentinelCutOff: the sentinels and one node lose sight of the primary and of another node, which goes on seeing that primary. The replica
// takes its place, and what is removed there must not resume at the node that can't know; nor may what that removes be lost.
func TestSentinelCutOff(t *testing.T) {
	t.Parallel()
	g := redistest.Config{Password: "of-the-operator"}.StartSentinels(t)
	ofServers, ofSentinels := rules(t)
	setUser([]*redistest.Server{g.Primary, g.Replica}, ofServers...)
	setUser(g.Sentinels, ofSentinels...)
	keys := reprise.RandomFleetKeys()
	a := newNode(t, g.URLAs(user, userPassword, "", "of-the-operator"), keys)
	b := newNode(t, g.URLAs(user, userPassword, user, userPassword), keys)
	a.follows(true)
	b.follows(true)
	life := a.store.Incarnation(reprise.StoreKey{})
	removedByA, removedByB := a.full(), a.full()
	b.resumes(removedByA, reprise.Resumed) // and has it in its internal cache
	a.resumes(removedByB, reprise.Resumed)
	time.Sleep(100 * time.Millisecond) // the replica has them

	operator := asOperator(t, g.Primary)
	setUser(g.Sentinels, "off")
	for _, s := range g.Sentinels {
		s.Command("CLIENT", "KILL", "USER", user)
	}
	run(t, operator, "ACL", "SETUSER", "default", "off")
	run(t, operator, "CLIENT", "KILL", "USER", "default") // the sentinels and the replica
	g.Replica.AwaitPromoted()
	await(t, "a to follow the new primary", func() bool { return a.store.Incarnation(reprise.StoreKey{}) != life })
	a.follows(true)
	if role := run(t, operator, "INFO", "replication"); !strings.Contains(role, "role:master") {
		t.Errorf("the primary that is cut off says %q; the test is of one that does not know better", role)
	}
	a.Remove(removedByA)
	b.Remove(removedByB)
	if err := a.binding.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for begun := time.Now(); time.Since(begun) < 3*time.Second; time.Sleep(10 * time.Millisecond) {
		if b.resume(removedByA) == reprise.Resumed || b.resume(removedByB) == reprise.Resumed {
			wrong++
		}
	}
	if wrong > 0 {
		t.Errorf("what was removed resumed %d times", wrong)
	}
	b.follows(false)
	setUser(g.Sentinels, "on")
	b.follows(true)
	b.recovers(removedByA, reprise.Unknown)
	a.loses(removedByB)
	session := b.full()
	a.resumes(session, reprise.Resumed)
}

// TestSentinelsAway: nothing is resumed while more than half of the sentinels are away, since they may have made another server the primary.
func TestSentinelsAway(t *testing.T) {
	t.Parallel()
	g := redistest.StartSentinels(t)
	n := newNode(t, g.URL(), reprise.RandomFleetKeys())
	n.follows(true)
	session := n.full()
	g.Sentinels[0].Kill()
	for begun := time.Now(); time.Since(begun) < 3*time.Second; time.Sleep(10 * time.Millisecond) {
		n.resumes(session, reprise.Resumed)
	}
	g.Sentinels[1].Signal(syscall.SIGSTOP)
	n.follows(false)
	n.resumes(session, reprise.StoreError)
	begun := time.Now()
	g.Sentinels[1].Signal(syscall.SIGCONT)
	n.follows(true)
	n.recovers(session, reprise.Resumed)
	if waited := time.Since(begun); waited > 2*time.Second {
		t.Errorf("the session resumed again after %v", waited)
	}
}

// TestSentinelThatAnswersWrongly: what is in the right form and has too little in it is no report, and harms nothing else.
func TestSentinelThatAnswersWrongly(t *testing.T) {
	t.Parallel()
	const hello = "%1\r\n$5\r\nproto\r\n:3\r\n"
	const (
		id            = "$2\r\nid\r\n"
		configuration = "%1\r\n$12\r\nconfig-epoch\r\n$1\r\n1\r\n"
		primary       = "*2\r\n$9\r\n127.0.0.1\r\n$1\r\n1\r\n"
	)
	for _, answers := range []string{
		id + "%0\r\n" + primary + "*0\r\n",
		id + "*1\r\n$2\r\nip\r\n" + primary + "*0\r\n",
		id + configuration + "*1\r\n$9\r\n127.0.0.1\r\n" + "*0\r\n",
		id + configuration + "*2\r\n$0\r\n\r\n$0\r\n\r\n" + "*0\r\n",
		id + configuration + "*-1\r\n*0\r\n",
		id + configuration + primary + "*1\r\n:1\r\n",
		id + configuration + primary + "*-1\r\n",
		"*0\r\n" + configuration + primary + "*0\r\n",
		":1\r\n:1\r\n:1\r\n:1\r\n",
	} {
		address := startFake(t, func(commands string) string {
			switch {
			case strings.Contains(commands, "HELLO"):
				return hello
			case strings.Contains(commands, "MYID"):
				return answers
			default:
				return "-ERR unknown\r\n"
			}
		})
		s, err := redisstore.Open("redis+sentinel://"+address+"/main", redisstore.Options{})
		if err == nil {
			s.Close()
		}
		t.Logf("%q: %v", answers, err)
		if err == nil || !strings.Contains(err.Error(), "sentinel "+address) || strings.Contains(err.Error(), "deadline") {
			t.Errorf("%q: Open: %v", answers, err)
		}
	}
}

// TestNewPrimaryThatRefuses: errors say why the server that the sentinels name is not used.
func TestNewPrimaryThatRefuses(t *testing.T) {
	t.Parallel()
	g := redistest.Config{Password: "of-the-operator"}.StartSentinels(t)
	rule, _ := rules(t)
	setUser([]*redistest.Server{g.Primary}, rule...)
	s := open(t, g.URLAs(user, userPassword, "", "of-the-operator"), redisstore.Options{})
	g.Primary.Kill()
	g.Replica.AwaitPromoted()
	await(t, "an error that says why", func() bool {
		_, _, err := s.Get(t.Context(), reprise.StoreKey{1})
		text := fmt.Sprint(err)
		return strings.Contains(text, "another primary") && strings.Contains(text, g.Replica.Addr) && strings.Contains(text, "WRONGPASS")
	})
	setUser([]*redistest.Server{g.Replica}, rule...)
	begun := time.Now()
	await(t, "a get", func() bool {
		_, _, err := s.Get(t.Context(), reprise.StoreKey{1})
		return err == nil
	})
	if waited := time.Since(begun); waited > 2*time.Second {
		t.Errorf("the store worked again after %v", waited)
	}
}

// TestLearnedSentinels: those that the URL does not name are asked on when it names none that is there, and after all have been away.
func TestLearnedSentinels(t *testing.T) {
	t.Parallel()
	g := redistest.StartSentinels(t)
	n := newNode(t, g.URLOf(g.Sentinels[0]), reprise.RandomFleetKeys())
	n.follows(true)
	session := n.full()
	g.Sentinels[0].Kill()
	for _, s := range g.Sentinels[1:] {
		s.Signal(syscall.SIGSTOP)
	}
	n.follows(false)
	time.Sleep(3 * time.Second)
	for _, s := range g.Sentinels[1:] {
		s.Signal(syscall.SIGCONT)
	}
	n.recovers(session, reprise.Resumed)
}

// asOperator connects as a user who may do everything, apart from the user default.
func asOperator(t *testing.T, s *redistest.Server) rueidis.Client {
	t.Helper()
	s.Command("ACL", "SETUSER", "operator", "on", ">of-the-test", "~*", "&*", "+@all")
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{s.Addr}, Username: "operator", Password: "of-the-test", DisableCache: true, ForceSingleClient: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func run(t *testing.T, client rueidis.Client, command ...string) string {
	t.Helper()
	answer, err := client.Do(t.Context(), client.B().Arbitrary(command...).Build()).ToMessage()
	if err != nil {
		t.Fatalf("%s: %v", command[0], err)
	}
	return answer.String()
}
