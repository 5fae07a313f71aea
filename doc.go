// Package reprise is a session cache for TLS servers, done as OpenSSL describes it in SSL_CTX_sess_set_get_cb(3): an
// internal cache of sessions, and three callbacks that keep an external cache in step with it.
//
// A TLS server that resumes a session skips the certificates and signatures of a full handshake. For that, somebody
// has to remember the session. crypto/tls puts it into an encrypted ticket, which the client brings back: nothing is stored, and
// nothing can be taken back, used once only, or kept small. With a [Cache] the server remembers, and the client holds
// 32 bytes. With an external cache behind it, a client that has met one server of a fleet resumes on every
// other, and after a restart.
//
// # Using it
//
// A program rarely drives a Cache itself. Package stdtls binds one to a [crypto/tls.Config], and package listen to a
// [net.Listener], which also tells the cache how connections end:
//
//	cache, err := reprise.New(reprise.Options{Keys: keys})
//	binding, err := reprise.BindStore(cache, store, reprise.StoreOptions{})
//	err = stdtls.Attach(config, cache)
//
// # The callbacks
//
// The new callback is called for every session that a handshake has made. The get callback is called with an ID that is not in the
// internal cache. The remove callback is called when a session leaves it: each residence ends in exactly one such
// call, with its reason. They are those of OpenSSL, apart from the reason and what docs/openssl.md tells. No callback runs under a
// lock; each may call the cache.
//
// [BindStore] sets all of them for a [Store]: a small interface of opaque records, which the packages below store/
// implement for an embedded engine, for Redis, and in memory. What a store gets is sealed: it learns neither IDs nor secrets, and
// a dump of it, with all traffic recorded, resumes and decrypts nothing without the fleet key.
//
// # Defaults
//
// 20480 sessions, 2 hours, [ModeServer], many uses for each session, 50 ms for all lookups of a handshake. A store
// never fails a handshake: what it does not answer in time is a full handshake, and counted.
//
// # Sharing a cache
//
// Several servers, or several configurations of one, may share a Cache, and several processes a Store. A session
// resumes only in the scope that made it: see [Scope]. Two services that share a store and a fleet key, and must not accept
// each other's sessions, need different session ID contexts. Where client certificates are asked for, a context is
// required: without it, a client that authenticated to one service would be authenticated to the other.
//
// # Trust
//
// A session carries the identity of the client's certificate, so it is held to what a full handshake would ask for. The chain is
// verified again at each resumption, against the roots and the time of the connection at hand. A session never outlives the
// full handshake it descends from by more than 7 days, however often it is renewed, nor the certificates that
// were verified there.
//
// IDs travel in clear. Who sees one can offer the session, not resume it. So nothing that a peer does removes a session
// until it has proved that it knows the secret, with one exception: crypto/tls asks for a session before it knows, and
// a session for single use must be taken then.
package reprise
