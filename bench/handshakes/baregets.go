package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/reprise-tls/reprise"
)

// A bareGetter makes one bare GET for each lookup of a cache, in the goroutine of the handshake, and answers from memory: the
// least that a resumption can cost that reads Redis.
type bareGetter struct {
	address  string
	conns    sync.Pool // of *redisConn
	sessions sync.Map  // of *reprise.Session, by ID
}

// bindBareGets puts a bareGetter around what is bound to a cache.
func bindBareGets(cache *reprise.Cache, redis string) {
	b := &bareGetter{address: strings.TrimPrefix(redis, "redis://")}
	announced := cache.NewCallback()
	cache.SetNewCallback(func(c *reprise.Cache, s *reprise.Session) bool {
		b.sessions.Store(s.ID(), s)
		return announced(c, s)
	})
	cache.SetGetCallback(b.get)
}

func (b *bareGetter) get(_ context.Context, id reprise.SessionID) (*reprise.Session, error) {
	conn, ok := b.conns.Get().(*redisConn)
	if !ok {
		var err error
		if conn, err = dialRedis(b.address); err != nil {
			return nil, err
		}
	}
	if err := conn.get(); err != nil {
		conn.Close()
		return nil, err
	}
	b.conns.Put(conn)
	s, _ := b.sessions.Load(id)
	session, _ := s.(*reprise.Session)
	return session, nil
}

// A redisConn is a connection that makes bare GETs of a record.
type redisConn struct {
	net.Conn
	answers *bufio.Reader
	answer  []byte
}

func dialRedis(address string) (*redisConn, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	c := &redisConn{Conn: conn, answers: bufio.NewReader(conn)}
	c.answer = make([]byte, len(fmt.Sprintf("$%d\r\n%s\r\n", len(benchRecord), benchRecord)))
	if _, err = fmt.Fprintf(conn, "SET bench %s\r\n", benchRecord); err == nil {
		_, err = c.answers.ReadString('\n')
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *redisConn) get() error {
	if _, err := io.WriteString(c.Conn, "*2\r\n$3\r\nGET\r\n$5\r\nbench\r\n"); err != nil {
		return err
	}
	_, err := io.ReadFull(c.answers, c.answer)
	return err
}

// getAgain gets a record as long as more returns true.
func getAgain(address string, more func(time.Duration) bool) error {
	conn, err := dialRedis(address)
	if err != nil {
		return err
	}
	defer conn.Close()
	for {
		begun := time.Now()
		if err := conn.get(); err != nil {
			return err
		}
		if !more(time.Since(begun)) {
			return nil
		}
	}
}
