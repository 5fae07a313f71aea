package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// benchRecord is as long as the record of a session.
var benchRecord = strings.Repeat("x", 300)

// roundTrip makes bare GETs of a record, so many at a time, each worker on a connection of its own, and returns the median.
func roundTrip(redis string, calls, concurrency int) (time.Duration, error) {
	address := strings.TrimPrefix(redis, "redis://")
	var next atomic.Int64
	var workers sync.WaitGroup
	times := make([]time.Duration, calls)
	errs := make(chan error, concurrency)
	for range concurrency {
		workers.Go(func() {
			errs <- getAgain(address, func(took time.Duration) (more bool) {
				i := int(next.Add(1)) - 1
				if i < calls {
					times[i] = took
				}
				return i < calls
			})
		})
	}
	workers.Wait()
	for range concurrency {
		if err := <-errs; err != nil {
			return 0, err
		}
	}
	slices.Sort(times)
	return times[calls/2], nil
}

// getAgain gets a record as long as more returns true.
func getAgain(address string, more func(time.Duration) bool) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	if _, err := fmt.Fprintf(conn, "SET bench %s\r\n", benchRecord); err != nil {
		return err
	}
	if _, err := answers.ReadString('\n'); err != nil {
		return err
	}
	answer := make([]byte, len(fmt.Sprintf("$%d\r\n%s\r\n", len(benchRecord), benchRecord)))
	for {
		begun := time.Now()
		if _, err := io.WriteString(conn, "*2\r\n$3\r\nGET\r\n$5\r\nbench\r\n"); err != nil {
			return err
		}
		if _, err := io.ReadFull(answers, answer); err != nil {
			return err
		}
		if !more(time.Since(begun)) {
			return nil
		}
	}
}
