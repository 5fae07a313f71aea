// Package quic has no code. QUIC servers, of quic-go and of any stack that is made on [crypto/tls.QUICConn], need no more than
// stdtls.Attach; this module holds the examples and the tests of it, so that nobody else has to require quic-go.
//
//	err := stdtls.Attach(config, cache)
//	listener, err := quic.ListenAddrEarly(":443", config, &quic.Config{Allow0RTT: true})
//
// For HTTP/3 the attached configuration is the TLSConfig of the http3.Server.
//
// # Early data
//
// A session of QUIC that allows early data (0-RTT) is for single use: whichever node meets it first takes it from the store and takes
// the early data; to all others the session is gone. So early data that somebody records and sends again are refused, on every
// node and after a restart, and the handshake goes on in full (RFC 8446, section 8.1; RFC 9001, section 9.2).
//
// Early data are allowed only where the store promises that a take is atomic and durable ([reprise.TakePromise]): pebble, Redis, and
// any [reprise.Incarnated] store. Elsewhere sessions resume without them, as often as one likes. Where the store does not answer, or
// does not know its own incarnation, they are refused at that moment. None of this fails a handshake.
//
// They are refused, too, on a node whose clock differs from that of Redis by more than 5 seconds, or, with a store that has no clock,
// with a session that was made more than 10 seconds in the future ([reprise.Cache.MayAcceptEarlyData]). The session resumes, and is
// used up.
//
// Refused early data reach no application. What was accepted reaches it before the client's Finished: it comes from the client that
// the session was made with, and once, but the same client can have sent the same request in another connection too.
//
// # What to know about quic-go
//
//   - Attach first, then give the configuration to quic-go or http3. Both clone it for each connection and call what
//     Attach has installed; what is set in the configuration later has no effect.
//   - A quic.Config has Allow0RTT off. http3.Server sets it only if its QUICConfig is nil.
//   - Allow0RTT off makes sessions that are not for single use, and keeps early data out on that node.
//   - quic-go keeps the transport parameters of the server in the session, http3 its settings, both in
//     tls.SessionState.Extra; the cache keeps these. A node that grants less than the session remembers, or has a version of quic-go with
//     another ticket revision, refuses early data and resumes the session. It is used up then.
//   - Clients are told that early data are allowed by Allow0RTT alone. With a store that does not promise enough, they send some
//     in vain; turn it off there.
//   - One session for each connection, so a client that makes several at once resumes with one of them.
//   - The store is asked when the ClientHello is there, for as long as reprise.Options.LookupTimeout at most. Packets with early data wait
//     in quic-go meanwhile; other connections do not.
//   - The session is taken before the client has shown that it knows its secret (see package stdtls): who sees the first packets of a
//     connection can make its resumption fail, if he is faster than they are. He can use nothing.
//   - QUIC and TCP are scopes apart, so one configuration can serve both.
//   - The client of http3 repeats no request whose early data were refused: it returns quic.Err0RTTRejected.
package quic
