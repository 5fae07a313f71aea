package main

import (
	"fmt"
	"io"
	"net"
)

// What a resumption by session ID sends and receives, in bytes. Servers without TLS read and write as much in as many calls, so that
// what the runtime of Go adds to the work of the kernel can be told from what an engine adds.
const (
	plainHello    = 200 // the client's first flight
	plainFlight   = 150 // the server's
	plainFinished = 51  // the client's second flight
	plainRecord   = 30  // a byte of data, or close_notify
)

// isPlain tells whether a server is one without TLS.
func (k kind) isPlain() bool { return k.bind == plainGo || k.bind == plainC }

// plainLengths are the lengths as the C programs are told them.
func plainLengths() []string {
	return []string{
		fmt.Sprintf("-DHELLO=%d", plainHello), fmt.Sprintf("-DFLIGHT=%d", plainFlight),
		fmt.Sprintf("-DFINISHED=%d", plainFinished), fmt.Sprintf("-DRECORD=%d", plainRecord),
	}
}

// exchangePlain does to the network what a resumption does. What fails, the client tells.
func exchangePlain(conn net.Conn) {
	var b [plainHello]byte
	io.ReadFull(conn, b[:])                          //nolint:errcheck // see above
	conn.Write(b[:plainFlight])                      //nolint:errcheck // see above
	io.ReadFull(conn, b[:plainFinished+plainRecord]) //nolint:errcheck // see above
	conn.Write(b[:plainRecord])                      //nolint:errcheck // see above
	conn.Write(b[:plainRecord])                      //nolint:errcheck // see above
}

// floorName is a server that is computed: libssl, with the runtime of Go around it.
const floorName = "libssl + TCP in Go - TCP in C"

// addFloor adds that server, if the others were measured.
func (c *caseResult) addFloor() {
	var tls, inGo, inC []float64
	for _, s := range c.Servers {
		switch s.Server {
		case libsslName:
			tls = s.rounds
		case plainGoName:
			inGo = s.rounds
		case plainCName:
			inC = s.rounds
		}
	}
	if tls == nil || inGo == nil || inC == nil {
		return
	}
	floor := serverResult{Server: floorName}
	for i := range tls {
		floor.rounds = append(floor.rounds, tls[i]+inGo[i]-inC[i])
	}
	floor.finish(&c.Servers[0])
	c.Servers = append(c.Servers, floor)
}
