package redisstore_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/internal/redistest"
	redisstore "github.com/reprise-tls/reprise/store/redis"
)

// The user of Redis that README.md tells how to make.
const (
	user         = "reprise"
	userPassword = "se/cret"
)

// optional are the rights of the user that it may be without.
var optional = []string{"+scan", "+pttl", "+unlink"}

// rules returns the rules of README.md for the user: of servers, and of sentinels.
func rules(t *testing.T) (ofServers, ofSentinels []string) {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var found [][]string
	for line := range strings.Lines(string(readme)) {
		if rule, ok := strings.CutPrefix(strings.TrimSpace(line), "ACL SETUSER "+user+" "); ok {
			found = append(found, strings.Fields(strings.Replace(rule, "PASSWORD", userPassword, 1)))
		}
	}
	if len(found) != 2 {
		t.Fatalf("README.md has %d rules for the user, want 2", len(found))
	}
	return found[0], found[1]
}

// setUser changes the user at servers, by the rule.
func setUser(servers []*redistest.Server, rule ...string) {
	for _, s := range servers {
		s.Command(slices.Concat([]string{"ACL", "SETUSER", user}, rule)...)
	}
}

// testEnough checks that the user, who is set up at the servers, has rights enough, also without those that are optional.
func testEnough(t *testing.T, servers []*redistest.Server, url string) {
	t.Helper()
	setUser(servers, "-scan", "-pttl", "-unlink")
	s := open(t, url, secure(t))
	key := reprise.StoreKey{1}
	if err := s.Put(t.Context(), key, []byte("record"), time.Hour); err != nil {
		t.Errorf("Put: %v", err)
	}
	if _, _, ok, err := s.TakeIncarnated(t.Context(), key); !ok || err != nil {
		t.Errorf("Take: %v, %v", ok, err)
	}
	setUser(servers, optional...)
	for name, call := range calls(s) {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// testNeeded checks that the user needs each right of the rule but the optional ones, and those that are named as needless: without it,
// Open says so.
func testNeeded(t *testing.T, servers []*redistest.Server, url string, rule []string, needless ...string) {
	t.Helper()
	for _, right := range rule {
		if right[0] != '+' || slices.Contains(optional, right) || slices.Contains(needless, right) {
			continue
		}
		without, at := "-"+right[1:], servers[:1] // one is enough to be missed
		if isAnyAsked(right) {
			at = servers
		}
		setUser(at, without)
		for _, server := range at {
			_, _ = server.TryCommand("SCRIPT", "FLUSH") // sentinels have none
		}
		s, err := redisstore.Open(url, secure(t))
		if err == nil {
			s.Close()
		}
		t.Logf("%s: %v", without, err)
		command, _, _ := strings.Cut(right[1:], "|")
		if text := strings.ToLower(fmt.Sprint(err)); !strings.Contains(text, "noperm") || !strings.Contains(text, command) {
			t.Errorf("Open without the right %s: %v", right, err)
		}
		setUser(at, right)
	}
}

// isAnyAsked reports whether the right is to ask which servers there are, which any of them can tell.
func isAnyAsked(right string) bool {
	return strings.HasPrefix(right, "+cluster|") || strings.HasPrefix(right, "+sentinel|")
}

func TestPasswordAndRights(t *testing.T) {
	t.Parallel()
	server := redistest.Config{Password: "pass/word"}.Start(t)
	rule, _ := rules(t)
	setUser([]*redistest.Server{server}, rule...)
	admin := open(t, server.URL(), redisstore.Options{})
	s := open(t, server.URLAs(user, userPassword)+"/3", redisstore.Options{})
	key := reprise.StoreKey{1}
	if err := s.Put(t.Context(), key, []byte("record"), time.Hour); err != nil {
		t.Errorf("Put: %v", err)
	}
	if _, ok, err := admin.Get(t.Context(), key); ok || err != nil {
		t.Errorf("the record of database 3 is in database 0: %v, %v", ok, err)
	}
	testEnough(t, []*redistest.Server{server}, server.URLAs(user, userPassword)+"/3")
	testNeeded(t, []*redistest.Server{server}, server.URLAs(user, userPassword)+"/3", rule, "+cluster|slots", "+cluster|shards", "+cluster|info")

	for _, test := range []struct{ url, prefix, want string }{
		{server.URLAs("", "wrong"), "", "WRONGPASS"},
		{"redis://" + server.Addr, "", "NOAUTH"},
		{server.URLAs(user, userPassword), "other:", "NOPERM"},
	} {
		s, err := redisstore.Open(test.url, redisstore.Options{Prefix: test.prefix})
		if err == nil {
			s.Close()
		}
		if !strings.Contains(fmt.Sprint(err), test.want) || strings.Contains(fmt.Sprint(err), "cret") {
			t.Errorf("Open %s: %v, want %s", test.url, err, test.want)
		}
	}
}

// TestErrorsShowNoArguments: a Redis that does not know a command repeats what it was sent.
func TestErrorsShowNoArguments(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, `rename-command GET ""`)
	s := open(t, server.URL(), redisstore.Options{})
	key := reprise.StoreKey{1}
	_, _, err := s.Get(t.Context(), key)
	if text := fmt.Sprint(err); !strings.Contains(text, "unknown command 'GET'") || strings.Contains(text, nameOf(key)) {
		t.Errorf("Get: %v", err)
	}
	const noHello, noAuth = `rename-command HELLO ""`, `rename-command AUTH ""`
	for _, settings := range [][]string{{noHello}, {noHello, noAuth}} {
		_, err := redisstore.Open(redistest.Start(t, settings...).URLAs("", userPassword), redisstore.Options{})
		if err == nil || strings.Contains(err.Error(), userPassword) {
			t.Errorf("%s: Open: %v", settings, err)
		}
	}
}
