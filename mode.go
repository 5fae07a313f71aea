package reprise

// Mode is the set of bits of SSL_CTX_set_session_cache_mode(3), with the same names and values.
type Mode uint32

const (
	// ModeOff: no session is stored and the new callback is not called. The get callback still is, and what it
	// returns resumes.
	ModeOff Mode = 0
	// ModeClient: sessions of client connections are cached.
	ModeClient Mode = 0x0001
	// ModeServer: sessions of server connections are cached. The default.
	ModeServer Mode = 0x0002
	// ModeBoth is ModeClient | ModeServer.
	ModeBoth Mode = ModeClient | ModeServer
	// ModeNoAutoClear: expired sessions are not flushed every 255 connections.
	ModeNoAutoClear Mode = 0x0080
	// ModeNoInternalLookup: sessions are not looked for in the internal cache; every lookup goes to the get callback.
	ModeNoInternalLookup Mode = 0x0100
	// ModeNoInternalStore: neither new sessions nor those of the get callback are kept in the internal cache.
	ModeNoInternalStore Mode = 0x0200
	// ModeNoInternal is ModeNoInternalLookup | ModeNoInternalStore: only the callbacks.
	ModeNoInternal Mode = ModeNoInternalLookup | ModeNoInternalStore
	// ModeUpdateTime: a session in the internal cache that is resumed counts its timeout from that moment. It
	// still ends with its lineage. A record in an external cache keeps the expiry it was stored with. It needs a binding that tells how the
	// handshake went (package listen): whoever has seen a session ID could keep its session alive else.
	ModeUpdateTime Mode = 0x0400
)
