// Package sslsession reads and writes sessions in the form of OpenSSL, SSL_SESSION in DER and PEM, and converts them to and
// from [reprise.Session].
//
// It is for sharing sessions with other software (Apache, stunnel, h2o and whatever else calls i2d_SSL_SESSION(3)), for tools,
// and for tests against OpenSSL. What Reprise keeps for itself it seals in another form: see [reprise.BindStore].
//
//	d2i_SSL_SESSION, i2d_SSL_SESSION             Parse, Marshal
//	PEM_read_SSL_SESSION, PEM_write_SSL_SESSION  ParsePEM, MarshalPEM
//
// # What is read and written
//
// Every element that OpenSSL 3 writes, up to [20], the peer's raw public key of 3.2. What OpenSSL writes is read, and
// written again byte for byte. Where OpenSSL accepts more than it writes, so does Parse, and Marshal writes what
// OpenSSL would write after reading the same: [0] key_arg is dropped, and so is a zero that OpenSSL leaves out; an absent
// [4] or [19] is written, as empty and as 0. There is one exception: an absent time or timeout stays absent, where
// OpenSSL fills in the time of reading and 3 seconds.
//
// Parse is stricter than OpenSSL with what no software is known to write. It refuses lengths in BER that are not DER,
// indefinite ones among them; strings in pieces; an INTEGER without bytes; numbers that OpenSSL would cut to size; zero
// bytes in names, where OpenSSL would cut them. It is laxer in one respect: cipher suite, peer certificate and public key
// need not be known to any library; they stay numbers and bytes.
//
// Bytes are hostile: Parse neither panics nor uses more memory than a small multiple of the input's length.
//
// # What is carried
//
// From which method of a [reprise.Session] each element comes in [FromSession], and what [ToSession] makes of it:
//
//	tag   field              reprise.Session         to reprise.Session
//	-     Version            Version                 TLS 1.2 and 1.3; others are an error
//	-     CipherSuite        CipherSuite             as it is
//	-     SessionID          ID                      1 to 32 bytes
//	-     Secret             Secret                  of the length that version and suite demand
//	[0]   -                  -                       ignored
//	[1]   Time               Created, rounded down   absent: Foreign.Now
//	[2]   Timeout            Expiry - Created        absent: 3 seconds; 7 days at most
//	[3]   PeerCertificate    PeerCertificates[0]     as it is, not parsed
//	[4]   SessionIDContext   Context                 of other software: must be Foreign.Context
//	[5]   VerifyResult       -                       lost; FromSession writes 1 (unspecified) beside [3]
//	[6]   ServerName         ServerName              in lower case, without final dot
//	[7]   PSKIdentityHint    -                       error
//	[8]   PSKIdentity        -                       error
//	[9]   TicketLifetimeHint -                       lost
//	[10]  Ticket             -                       error: a client's session
//	[11]  Compression        -                       error unless 0
//	[12]  SRPUsername        -                       error
//	[13]  Flags              ExtendedMasterSecret    the flag counts in TLS 1.2 only
//	[14]  TicketAgeAdd       TicketAgeAdd            as it is
//	[15]  MaxEarlyData       MaxEarlyData            not 0: the session is for single use
//	[16]  ALPN               ALPN                    as it is
//	[17]  MaxFragmentLength  -                       error if 1 to 4
//	[18]  TicketAppData      see below               see below
//	[19]  KeyExchangeGroup   Group                   0 if above 65535
//	[20]  PeerPublicKey      -                       error
//
// What has no element of its own lies in [18], behind the prefix "reprise" and a revision: Scope, Lineage, SingleUse,
// ApplicationData, the client's chain without its leaf, and times in milliseconds. Not carried at all is
// [reprise.Session.Opaque]: such sessions are refused.
//
// Application data of other software, without the prefix, becomes the one element of ApplicationData.
//
// The times of [1] and [2] are OpenSSL's own, and prevail: those in [18] add the milliseconds as long as they agree. When
// a libssl server resumes a TLS 1.3 session, it copies [18] into the sessions that it makes. They therefore stay in their
// scope and lineage, and end with it, once they come back.
//
// # Sharing sessions with other servers
//
// An SSL_SESSION in the clear is the session: who reads it can resume it, and who writes it can invent one, with any client
// certificate, in any scope. Share a store of these only among servers that trust each other and the store alike, and keep
// sessions with client certificates or early data out of it.
//
// OpenSSL checks fewer things than Reprise when it resumes: neither the server name, nor the client certificate again,
// nor whether a session for single use was used before; only what its application put into the session ID context. So give
// the servers that share sessions one context for each virtual host. OpenSSL notes the server name in the
// session only if its application has acknowledged it; if yours doesn't, set ServerName before [ToSession], because
// Reprise declines a session with another name than the client asks for, none included.
package sslsession
