package reprise

// A Reason says how the offer of a session ended: [Resumed], [NotOffered], or why it was declined.
// A decline is a full handshake, never an error of the connection, with the one exception told at
// [ExtendedMasterSecret].
type Reason uint8

const (
	// NotOffered: the client offered no session. The zero value.
	NotOffered Reason = iota
	// Resumed: the engine has resumed the session.
	Resumed
	// Unknown: neither the internal cache nor the external cache has a session of that ID.
	Unknown
	// Expired: the session is past its timeout, or its lineage past its end, or it was made more than an hour in the
	// future, by a clock that was put back since or is ahead.
	Expired
	// Version: the session belongs to another protocol version than the one negotiated.
	Version
	// CipherSuite: the session's cipher suite is not offered, not enabled, or (TLS 1.3) of another hash.
	CipherSuite
	// ExtendedMasterSecret: session and ClientHello differ in the extended master secret. A session with it and a
	// ClientHello without must end the connection (RFC 7627, section 5.3); all else is a full handshake.
	ExtendedMasterSecret
	// ServerName: the session was made for another server name (RFC 6066, section 3).
	ServerName
	// OtherScope: the session was made in another scope: session ID context, transport, client-certificate
	// policy or client CAs.
	OtherScope
	// ClientCertificate: the client certificate of the session is not, or no longer, good enough here.
	ClientCertificate
	// Revoked: the session's lineage was revoked.
	Revoked
	// Used: the session was for single use, and was used. Where all sessions are ([Options].SingleUse), this is also said of an ID
	// of the fleet's own keys that nobody has any more: what was used leaves no trace, and little else goes before its time.
	Used
	// StoreTimeout: the external cache did not answer before the deadline.
	StoreTimeout
	// StoreError: the external cache failed, or what was revoked could not be read from it, and the session has a client
	// certificate.
	StoreError
	// Refused: the cache had a session to resume and the engine did not.
	Refused

	numReasons = int(iota)
)

var reasonNames = [numReasons]string{
	NotOffered:           "not-offered",
	Resumed:              "resumed",
	Unknown:              "unknown",
	Expired:              "expired",
	Version:              "version",
	CipherSuite:          "cipher-suite",
	ExtendedMasterSecret: "extended-master-secret",
	ServerName:           "server-name",
	OtherScope:           "scope",
	ClientCertificate:    "client-certificate",
	Revoked:              "revoked",
	Used:                 "used",
	StoreTimeout:         "store-timeout",
	StoreError:           "store-error",
	Refused:              "refused",
}

// String returns the reason's name as it stands in logs, metrics and JSON, such as "server-name".
func (r Reason) String() string {
	if int(r) < numReasons {
		return reasonNames[r]
	}
	return "invalid"
}

// MarshalText implements [encoding.TextMarshaler] with [Reason.String].
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Reasons returns every Reason, in the order of their values.
func Reasons() []Reason {
	all := make([]Reason, numReasons)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}

// A Removal says why the remove callback is called.
type Removal uint8

const (
	// RemovedExplicitly: the application called [Cache.Remove].
	RemovedExplicitly Removal = iota
	// RemovedExpired: the session was past its time when it was looked up or flushed.
	RemovedExpired
	// RemovedEvicted: the cache was full and this session the first to expire.
	RemovedEvicted
	// RemovedFlushed: [Cache.Flush] removed the session though it was still alive.
	RemovedFlushed
	// RemovedUnclean: the session's connection ended uncleanly (see [Unclean]).
	RemovedUnclean
	// RemovedFatalAlert: a fatal alert was sent or received on the session's connection.
	RemovedFatalAlert
	// RemovedUsed: the session was for single use and was taken.
	RemovedUsed
	// RemovedReplaced: another session was added under the same ID.
	RemovedReplaced
	// RemovedRevoked: the session's lineage was revoked.
	RemovedRevoked
	// RemovedClosed: the cache was closed.
	RemovedClosed
	// RemovedElsewhere: another node removed the session and said so.
	RemovedElsewhere

	numRemovals = int(iota)
)

var removalNames = [numRemovals]string{
	RemovedExplicitly: "explicit",
	RemovedExpired:    "expired",
	RemovedEvicted:    "evicted",
	RemovedFlushed:    "flushed",
	RemovedUnclean:    "unclean end",
	RemovedFatalAlert: "fatal alert",
	RemovedUsed:       "used",
	RemovedReplaced:   "replaced",
	RemovedRevoked:    "revoked",
	RemovedClosed:     "closed",
	RemovedElsewhere:  "removed elsewhere",
}

// String returns the removal's name, such as "fatal alert".
func (r Removal) String() string {
	if int(r) < numRemovals {
		return removalNames[r]
	}
	return "invalid"
}

// Final reports whether the session must be gone everywhere, from the external cache too: it was used, revoked,
// removed explicitly, or its connection ended uncleanly or in a fatal alert. The other removals concern this
// cache alone: a session evicted here, or one that a closing process lets go, lives on for the fleet.
func (r Removal) Final() bool {
	switch r {
	case RemovedUsed, RemovedRevoked, RemovedExplicitly, RemovedFatalAlert, RemovedUnclean:
		return true
	default:
		return false
	}
}
