package native_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/reprise-tls/reprise/native/internal/record"
	"github.com/reprise-tls/reprise/native/internal/schedule"
)

// A replayed handshake is a recorded one, message by message, of which another turn can be tried.
type replayed struct {
	scenario scenario
	before   []flight // connections of the same server
	clear    [][]byte // records of a message each, up to the ChangeCipherSpec
	keys     schedule.Keys
	suite    *schedule.Suite
}

// replay prepares a connection of a scenario.
func replay(t *testing.T, s scenario, connection int) *replayed {
	t.Helper()
	flights := s.load(t)
	r := &replayed{scenario: s, before: flights[:connection]}
	for _, part := range records(t, flights[connection].Client) {
		if part[0] == changeCipherSpec {
			r.clear = append(r.clear, part)
			break
		}
		for messages := part[5:]; len(messages) > 0; {
			n := 4 + (int(messages[1])<<16 | int(messages[2])<<8 | int(messages[3]))
			r.clear = append(r.clear, plainRecord(handshakeRecord, messages[:n]...))
			messages = messages[n:]
		}
	}
	log, output, _ := r.serve(t, r.clear)
	_, secret, _ := strings.Cut(log[strings.LastIndexByte(strings.TrimSpace(log), '\n')+1:], " ")
	_, secret, _ = strings.Cut(strings.TrimSpace(secret), " ")
	master, err := hex.DecodeString(secret)
	if err != nil {
		t.Fatal(err)
	}
	const random = 5 + 4 + 2
	sessionID := random + 32
	suite := sessionID + 1 + int(output[sessionID])
	r.suite = schedule.SuiteByID(uint16(output[suite])<<8 | uint16(output[suite+1]))
	r.keys, _ = schedule.ConnectionKeys(r.suite, schedule.NewPRF(r.suite, master), r.clear[0][random:][:32], output[random:][:32])
	return r
}

// serve lets a new server read some records.
func (r *replayed) serve(t *testing.T, input [][]byte) (keyLog string, output []byte, err error) {
	t.Helper()
	var log bytes.Buffer
	server := r.scenario.server(t)
	server.config.KeyLogWriter = &log
	for _, before := range r.before {
		if _, err := server.serve(&scripted{input: before.Client}); err != nil {
			t.Fatal(err)
		}
	}
	conn := &captured{scripted: scripted{input: bytes.Join(input, nil)}}
	_, err = server.serve(conn)
	return log.String(), conn.output, err
}

// TestEveryMessageInEveryState: whatever is not awaited ends the handshake as an unexpected_message, in each of its states.
func TestEveryMessageInEveryState(t *testing.T) {
	named := func(name string) scenario {
		return scenarios[slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })]
	}
	for _, test := range []struct {
		scenario   string
		connection int
		awaited    []int // kinds of messages, up to the Finished
	}{
		{"client-certificate", 0, []int{1, 11, 16, 15, -1, 20}},
		{"session-id", 0, []int{1, 16, -1, 20}},
		{"session-id", 1, []int{1, -1, 20}},
		{"ticket", 1, []int{1, -1, 20}},
	} {
		r := replay(t, named(test.scenario), test.connection)
		if len(r.clear) != len(test.awaited)-1 {
			t.Fatalf("%s: %d messages before the Finished, want %d", test.scenario, len(r.clear), len(test.awaited)-1)
		}
		for n, awaited := range test.awaited {
			for kind := -2; kind < 32; kind++ { // -1: ChangeCipherSpec, -2: application data
				if kind == awaited {
					continue
				}
				recordType, content := record.Handshake, []byte{byte(kind), 0, 0, 0}
				switch kind {
				case -1:
					recordType, content = record.ChangeCipherSpec, []byte{1}
				case -2:
					recordType, content = record.ApplicationData, []byte("data")
				}
				var w record.Writer
				if n == len(r.clear) {
					w.Protect(r.suite, r.keys)
				}
				odd, err := w.Append(nil, recordType, content)
				if err != nil {
					t.Fatal(err)
				}
				what := fmt.Sprintf("%s, connection %d, message %d in place of %d", test.scenario, test.connection, kind, awaited)
				_, output, err := r.serve(t, append(slices.Clone(r.clear[:n]), odd))
				if err == nil || !strings.Contains(err.Error(), "alert: unexpected message") {
					t.Errorf("%s: %v, want the alert unexpected message", what, err)
				}
				sent := records(t, output)
				isAlert := func(r []byte) bool { return r[0] == alertRecord }
				if at := slices.IndexFunc(sent, isAlert); at < 0 || at != len(sent)-1 {
					t.Errorf("%s: the alert is record %d of %d", what, at, len(sent))
				}
			}
		}
	}
}
