package listen

import (
	"net"

	"github.com/reprise-tls/reprise"
)

// EndingOf returns how a connection ended that was closed.
func EndingOf(conn net.Conn) reprise.Ending { return below(conn).(*rawConn).ending() }
