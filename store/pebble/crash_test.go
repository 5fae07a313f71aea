package pebblestore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	pebblestore "github.com/reprise-tls/reprise/store/pebble"
)

// childVariable makes a process that runs this test binary do something else: "open" or "work".
const childVariable = "PEBBLESTORE_TEST_CHILD"

func TestMain(m *testing.M) {
	dir := os.Args[len(os.Args)-1]
	switch os.Getenv(childVariable) {
	case "open":
		_, err := pebblestore.Open(dir, pebblestore.Options{})
		fmt.Println(err)
	case "work":
		if err := work(dir); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
	default:
		os.Exit(m.Run())
	}
}

func child(t *testing.T, what, dir string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, dir)
	cmd.Env = append(os.Environ(), childVariable+"="+what)
	cmd.Stderr = os.Stderr
	return cmd
}

func runChild(t *testing.T, what, dir string) string {
	t.Helper()
	out, err := child(t, what, dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// work puts one record after the other, takes every third one and deletes every fifth one, and says so after each call.
func work(dir string) error {
	s, err := pebblestore.Open(dir, pebblestore.Options{})
	if err != nil {
		return err
	}
	ctx := context.Background()
	for i := 0; ; i++ {
		if err := s.Put(ctx, keyOf(i), record(i), time.Hour); err != nil {
			return err
		}
		fmt.Println("put", i, time.Now().UnixMilli())
		if i%3 == 0 {
			if _, ok, err := s.Take(ctx, keyOf(i)); !ok || err != nil {
				return errors.Join(err, fmt.Errorf("record %d: %v", i, ok))
			}
			fmt.Println("gone", i, time.Now().UnixMilli())
		}
		if i%5 == 0 {
			if err := s.Delete(ctx, keyOf(i)); err != nil {
				return err
			}
			fmt.Println("gone", i, time.Now().UnixMilli())
		}
		time.Sleep(time.Duration(i%7) * 100 * time.Microsecond)
	}
}

// TestKill kills a process that works on a store, and checks what became of all that the process knew to be done.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := child(t, "work", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := make(chan time.Time, 1)
	time.AfterFunc(2500*time.Millisecond, func() {
		end <- time.Now()
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
	})
	puts, gone := make(map[int]time.Time), make(map[int]bool)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var what string
		var i int
		var at int64
		if _, err := fmt.Sscan(lines.Text(), &what, &i, &at); err != nil {
			t.Fatalf("the process says %q", lines.Text())
		}
		if what == "put" {
			puts[i] = time.UnixMilli(at)
		} else {
			gone[i] = true
		}
	}
	if err := cmd.Wait(); !strings.Contains(fmt.Sprint(err), "killed") {
		t.Fatalf("the process ended by itself: %v", err)
	}

	killed := <-end
	s := open(t, dir)
	old := 0
	for i, at := range puts {
		switch {
		case gone[i]:
			wantAbsent(t, s, keyOf(i))
		case at.Before(killed.Add(-time.Second)) && i%3 != 0 && i%5 != 0:
			wantThere(t, s, keyOf(i), record(i))
			old++
		}
	}
	if old == 0 || len(gone) == 0 {
		t.Errorf("nothing to check: %d old puts, %d removals", old, len(gone))
	}
	t.Logf("%d puts, %d of them more than a second old; %d removals", len(puts), old, len(gone))
}
