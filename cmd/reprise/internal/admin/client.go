package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/sessions"
)

// A Client asks a running server for its sessions. It is a [sessions.Source].
type Client struct {
	addr Address
	http http.Client
}

// NewClient returns a client for the server at an address. It does not connect yet.
func NewClient(addr Address) *Client {
	dialer := &net.Dialer{}
	return &Client{addr: addr, http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, addr.Network, addr.Addr)
		},
	}}}
}

var _ sessions.Source = (*Client)(nil)

// All implements [sessions.Source].
func (c *Client) All(ctx context.Context, prefix string) iter.Seq2[sessions.Entry, error] {
	return func(yield func(sessions.Entry, error) bool) {
		var ended error
		err := c.do(ctx, http.MethodGet, "/sessions?prefix="+url.QueryEscape(prefix), func(body io.Reader) error {
			return decodeArray(body, func(e element) (more bool) {
				if e.Entry == nil {
					ended = errors.New(e.Error)
					return false
				}
				return yield(*e.Entry, nil)
			})
		})
		if err == nil {
			err = ended
		}
		if err != nil {
			yield(sessions.Entry{}, err)
		}
	}
}

// decodeArray calls f for each element of a JSON array, until it returns false.
func decodeArray(body io.Reader, f func(element) (more bool)) error {
	decoder := json.NewDecoder(body)
	if _, err := decoder.Token(); err != nil { // [
		return err
	}
	for decoder.More() {
		var e element
		if err := decoder.Decode(&e); err != nil {
			return err
		}
		if !f(e) {
			return nil
		}
	}
	_, err := decoder.Token() // ]
	return err
}

// Remove implements [sessions.Source].
func (c *Client) Remove(ctx context.Context, digits string) (entry sessions.Entry, err error) {
	if err := sessions.CheckDigits(digits); err != nil {
		return entry, err
	}
	err = c.do(ctx, http.MethodDelete, "/sessions/"+digits, decodeInto(&entry))
	return entry, err
}

// Flush implements [sessions.Source].
func (c *Client) Flush(ctx context.Context, expiredOnly bool) (flushed sessions.Flushed, err error) {
	path := "/sessions/flush"
	if expiredOnly {
		path += "?expired=1"
	}
	err = c.do(ctx, http.MethodPost, path, decodeInto(&flushed))
	return flushed, err
}

// Revoke implements [sessions.Source].
func (c *Client) Revoke(ctx context.Context, s sessions.Selector) (revoked sessions.Revoked, err error) {
	if err := s.Check(); err != nil {
		return revoked, err
	}
	body, err := json.Marshal(s)
	if err != nil {
		return revoked, err
	}
	err = c.send(ctx, http.MethodPost, "/sessions/revoke", bytes.NewReader(body), decodeInto(&revoked))
	return revoked, err
}

func decodeInto(v any) func(io.Reader) error {
	return func(body io.Reader) error { return json.NewDecoder(body).Decode(v) }
}

func (c *Client) do(ctx context.Context, method, path string, read func(body io.Reader) error) error {
	return c.send(ctx, method, path, nil, read)
}

func (c *Client) send(ctx context.Context, method, path string, body io.Reader, read func(body io.Reader) error) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, body)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return c.unreachable(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return readError(response)
	}
	if err := read(response.Body); err != nil {
		return fmt.Errorf("answer of the server at %s: %w", c.addr, err)
	}
	return nil
}

func (c *Client) unreachable(err error) error {
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err
	}
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return hint.With(fmt.Errorf("no server answers at %s", c.addr),
			"give the --state-dir or --admin of the running server; for a store that no server has open give --store")
	case errors.Is(err, os.ErrPermission):
		return hint.With(err, "the socket is for the user that runs the server; use sudo, or that user")
	}
	return err
}

func readError(response *http.Response) error {
	var f failure
	if err := json.NewDecoder(response.Body).Decode(&f); err != nil || f.Error == "" {
		return fmt.Errorf("the server answered %s; is it the admin address?", response.Status)
	}
	switch {
	case response.StatusCode == http.StatusNotFound:
		return sessions.ErrNotFound
	case len(f.Candidates) > 0:
		return &sessions.AmbiguousError{Candidates: f.Candidates, More: f.More}
	}
	return errors.New(f.Error)
}
