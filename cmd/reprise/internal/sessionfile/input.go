package sessionfile

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/config"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/stores"
)

// Input says which session.
type Input struct {
	File string `arg:"" optional:"" help:"File with the session; - is standard input. Not with --store."`

	FleetKey    string `placeholder:"FILE" help:"Fleet key file: opens a record, and tells the session's name."`
	ID          string `name:"id" env:"-" placeholder:"HEX" help:"Session ID, or the ticket that it was sent as: opens a record."`
	IDFrom      string `name:"id-from" env:"-" placeholder:"FILE" help:"Take the ID from this session, in PEM or DER: one that a client has."`
	Store       string `env:"-" placeholder:"URL" help:"Get the record from this store: file:DIR, if no server has it open, redis:// or rediss://."`
	StorePrefix string `placeholder:"TEXT" help:"What the keys in redis begin with. Default: reprise:."`
	StoreCA     string `name:"store-ca" placeholder:"FILE" help:"CA certificates (PEM) that a rediss:// server is verified against. Default: those of the system."`
	UnsafeStore bool   `help:"Allow a redis store beyond loopback without TLS and password."`

	keys *reprise.FleetKeys // nil without --fleet-key
	id   reprise.SessionID  // zero if not given
}

// maxInput is how many bytes are read at most: a record in hexadecimal with room for what stands around it.
const maxInput = 1 << 20

// read returns the session.
func (i *Input) read() (*found, error) {
	if err := i.check(); err != nil {
		return nil, err
	}
	if i.Store != "" {
		return i.readStore(context.Background())
	}
	data, err := readFile(i.File)
	if err != nil {
		return nil, err
	}
	defer clear(data)
	f, err := decode(data, i.open)
	return f, hint.With(wrap(i.File, err), "'reprise session --help' tells which forms there are")
}

func wrap(name string, err error) error {
	if err == nil {
		return nil
	}
	if name == "-" {
		name = "standard input"
	}
	return fmt.Errorf("%s: %w", name, err)
}

// check reads the fleet key and the ID, and tells what is missing.
func (i *Input) check() error {
	switch {
	case i.File == "" && i.Store == "":
		return hint.With(errors.New("no session given"), "give a FILE, - for standard input, or --store URL with --fleet-key and --id")
	case i.File != "" && i.Store != "":
		return hint.With(errors.New("FILE and --store exclude each other"), "leave one of them out")
	case i.ID != "" && i.IDFrom != "":
		return hint.With(errors.New("--id and --id-from exclude each other"), "leave one of them out")
	case i.File == "-" && i.IDFrom == "-":
		return hint.With(errors.New("session and ID can't both come from standard input"), "put one of them into a file")
	}
	if i.FleetKey != "" {
		var err error
		if i.keys, err = reprise.LoadFleetKeys(i.FleetKey); err != nil {
			return config.FleetKeyError(i.FleetKey, err)
		}
	}
	return i.readID()
}

func (i *Input) readID() error {
	var raw []byte
	var err error
	switch {
	case i.ID != "":
		raw, err = hex.DecodeString(strings.Map(dropSeparators, i.ID))
		err = hint.With(wrapID("--id", err), "it is up to 64 hex digits, as 'reprise session print --secrets' and 'openssl sess_id -text' show it")
	case i.IDFrom != "":
		raw, err = idFrom(i.IDFrom)
	}
	if err == nil {
		i.id, err = reprise.MakeSessionID(raw)
		err = hint.With(err, "IDs of ours have 32 bytes; a longer ticket is one of another server, and is not in a store")
	}
	return err
}

func wrapID(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: not hexadecimal", name) // what it is may be secret
}

// dropSeparators drops what tools put between hex digits.
func dropSeparators(r rune) rune {
	if strings.ContainsRune(": \t\r\n", r) {
		return -1
	}
	return r
}

// idFrom returns the session ID that a session in a file is offered by: its ticket, if it has one, as clients' sessions do.
func idFrom(name string) ([]byte, error) {
	data, err := readFile(name)
	if err != nil {
		return nil, err
	}
	defer clear(data)
	f, err := decode(data, cannotOpen)
	if err == nil && f.ssl == nil {
		err = fmt.Errorf("in the form %s", f.form)
	}
	if err != nil {
		return nil, hint.With(wrap(name, err), "--id-from is for a session in PEM or DER, such as 'openssl s_client -sess_out FILE' writes")
	}
	if len(f.ssl.Ticket) > 0 {
		return f.ssl.Ticket, nil
	}
	if len(f.ssl.SessionID) == 0 {
		return nil, hint.With(wrap(name, errors.New("the session has neither a ticket nor an ID")),
			"in TLS 1.3 the ticket comes after the handshake: let the client read something before it ends")
	}
	return f.ssl.SessionID, nil
}

// readFile reads a file, or standard input, of bounded size.
func readFile(name string) ([]byte, error) {
	var in io.Reader = os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, hint.With(err, "name a file with a session that this user can read, or - for standard input")
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	switch {
	case err != nil:
		return nil, hint.With(wrap(name, err), "name a file with a session")
	case len(data) > maxInput:
		return nil, hint.With(wrap(name, fmt.Errorf("more than %d bytes", maxInput)), "no session is that long; name a file with one session")
	case len(bytes.TrimSpace(data)) == 0:
		return nil, hint.With(wrap(name, errors.New("empty")), "the command that was to write it may have failed; redis-cli prints nothing for a key that is not there")
	}
	return data, nil
}

// storeTimeout is how long a store may take.
const storeTimeout = 10 * time.Second

// readStore gets the record from the store.
func (i *Input) readStore(ctx context.Context) (*found, error) {
	if i.keys == nil || i.id.IsZero() {
		return nil, hint.With(errors.New("--store without --fleet-key and --id or --id-from"),
			"a store knows a session by a key that is made of both; 'reprise sessions list --store URL' lists what it has")
	}
	url, err := stores.Parse(i.Store, i.UnsafeStore)
	if err != nil {
		return nil, err
	}
	if err := stores.Exists(url); err != nil {
		return nil, err
	}
	store, err := stores.Open(url, stores.Options{Prefix: i.StorePrefix, CA: i.StoreCA, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	defer func() { _ = stores.Close(store) }() // it was only read
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	for _, key := range i.keys.StoreKeys(i.id) {
		record, ok, err := store.Get(ctx, key)
		if err != nil {
			return nil, hint.With(err, "see that the store's server runs and can be reached")
		}
		if ok {
			return decodeBinary(record, i.open)
		}
	}
	return nil, i.notStored()
}

func (i *Input) notStored() error {
	if !i.keys.Made(i.id) {
		return hint.With(errors.New("the session ID was made under another fleet key, or by another program"),
			"'reprise key show-id FILE' and /_status show the keys' names; give the --fleet-key of the servers that use the store")
	}
	return hint.With(errors.New("the store has no session of that ID"),
		"it has expired, was used or removed, or is in another store; one that is for single use is gone once it was resumed")
}

// errNoID is why a record was not opened.
var errNoID = errors.New("give --fleet-key and --id or --id-from to open it")

// open opens a record.
func (i *Input) open(record []byte) (*reprise.Session, error) {
	if i.keys == nil || i.id.IsZero() {
		return nil, errNoID
	}
	s, err := i.keys.OpenRecord(i.id, record)
	if err != nil && !i.keys.Made(i.id) {
		err = errors.New("the session ID was made under another fleet key, or by another program")
	}
	return s, err
}

func cannotOpen([]byte) (*reprise.Session, error) { return nil, errNoID }
