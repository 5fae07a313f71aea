package sslsession

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/reprise-tls/reprise"
)

// The ticket application data [18] of a session that [FromSession] has converted: what an SSL_SESSION has no field for. In the language
// of RFC 8446, section 3, with times in milliseconds:
//
//	opaque Certificate<1..2^24-1>;
//	opaque ApplicationData<0..2^16-1>;
//
//	struct {
//	    uint16 type;
//	    opaque data<0..2^16-1>;
//	} Extension;
//
//	struct {
//	    opaque prefix[7] = "reprise";
//	    uint8 revision = 1;
//	    opaque session[8];             /* SHA-256 of the session ID, cut */
//	    uint64 created;                /* since the Unix epoch */
//	    uint64 timeout;
//	    uint8 flags;                   /* 1: single use */
//	    opaque scope[32];
//	    opaque lineage_id[16];
//	    uint64 lineage_start;
//	    uint64 lineage_end;
//	    uint32 lineage_generation;
//	    Certificate intermediates<0..2^24-1>;      /* the client's chain without its leaf, which is in [3] */
//	    ApplicationData application_data<0..2^24-1>;
//	    Extension extensions<0..2^16-1>;
//	} AppData;
//
// The format grows by extensions, in ascending order of type. A reader that does not know a type below 0x8000 passes over
// it; one that does not know a type from 0x8000 on must treat the session as malformed. Anything else needs a new revision.
//
// When OpenSSL resumes a TLS 1.3 session, it copies the application data into the new sessions that it makes: data that was made
// for another session is that of an ancestor. And an application may change a session's times. So created and timeout hold
// only in the session that they were made for, and while they agree with [1] and [2], which are OpenSSL's own.
type appData struct {
	session          [8]byte
	created, timeout milliseconds
	singleUse        bool
	scope            reprise.Scope
	lineage          reprise.Lineage
	intermediates    [][]byte
	applicationData  [][]byte
}

const (
	appDataPrefix   = "reprise"
	appDataRevision = 1

	appDataSingleUse = 1
)

// milliseconds is a point in time since the Unix epoch, or a duration.
type milliseconds uint64

// maxMilliseconds is about the year 287,000; sums of times up to it do not overflow.
const maxMilliseconds = 1 << 53

func toMilliseconds(t time.Time) milliseconds { return milliseconds(t.UnixMilli()) }

func (m milliseconds) time() time.Time { return time.UnixMilli(int64(m)) }

func (m milliseconds) duration() time.Duration { return time.Duration(m) * time.Millisecond }

// seconds rounds down.
func (m milliseconds) seconds() int64 { return int64(m / 1000) }

// sessionDigest returns what names the session of an ID in application data.
func sessionDigest(id []byte) [8]byte {
	digest := sha256.Sum256(id)
	return [8]byte(digest[:8])
}

// isOf tells whether the data was made for x.
func (a *appData) isOf(x *SSLSession) bool { return a.session == sessionDigest(x.SessionID) }

// isTimeOf tells whether created is what [1] of x was made of.
func (a *appData) isTimeOf(x *SSLSession) bool { return a.isOf(x) && a.created.seconds() == x.Time }

// isTimeoutOf tells whether timeout, with created and the end of the lineage, is what [2] of x was made of.
func (a *appData) isTimeoutOf(x *SSLSession) bool {
	expiry := min(a.created+a.timeout, toMilliseconds(a.lineage.End))
	return a.isTimeOf(x) && expiry.seconds()-x.Time == x.Timeout
}

// hasPrefix tells whether data was made by [appData.marshal], of whatever revision.
func hasPrefix(data []byte) bool { return bytes.HasPrefix(data, []byte(appDataPrefix)) }

func (a *appData) marshal() ([]byte, error) {
	var w cryptobyte.Builder
	w.AddBytes([]byte(appDataPrefix))
	w.AddUint8(appDataRevision)
	w.AddBytes(a.session[:])
	w.AddUint64(uint64(a.created))
	w.AddUint64(uint64(a.timeout))
	if a.singleUse {
		w.AddUint8(appDataSingleUse)
	} else {
		w.AddUint8(0)
	}
	w.AddBytes(a.scope[:])
	w.AddBytes(a.lineage.ID[:])
	w.AddUint64(uint64(a.lineage.Start.UnixMilli()))
	w.AddUint64(uint64(a.lineage.End.UnixMilli()))
	w.AddUint32(a.lineage.Generation)
	w.AddUint24LengthPrefixed(func(w *cryptobyte.Builder) {
		for _, certificate := range a.intermediates {
			w.AddUint24LengthPrefixed(func(w *cryptobyte.Builder) { w.AddBytes(certificate) })
		}
	})
	w.AddUint24LengthPrefixed(func(w *cryptobyte.Builder) {
		for _, data := range a.applicationData {
			w.AddUint16LengthPrefixed(func(w *cryptobyte.Builder) { w.AddBytes(data) })
		}
	})
	w.AddUint16(0) // no extensions
	return w.Bytes()
}

// parseAppData is the reverse of marshal. The result shares memory with data, which has the prefix.
func parseAppData(data []byte) (*appData, error) {
	r := cryptobyte.String(data[len(appDataPrefix):])
	var revision, flags uint8
	if !r.ReadUint8(&revision) || revision != appDataRevision {
		return nil, fmt.Errorf("revision %d, only %d is known", revision, appDataRevision)
	}
	a := new(appData)
	var start, end milliseconds
	var intermediates, applicationData, extensions cryptobyte.String
	if !r.CopyBytes(a.session[:]) ||
		!readMilliseconds(&r, &a.created) ||
		!readMilliseconds(&r, &a.timeout) ||
		!r.ReadUint8(&flags) ||
		!r.CopyBytes(a.scope[:]) ||
		!r.CopyBytes(a.lineage.ID[:]) ||
		!readMilliseconds(&r, &start) ||
		!readMilliseconds(&r, &end) ||
		!r.ReadUint32(&a.lineage.Generation) ||
		!r.ReadUint24LengthPrefixed(&intermediates) ||
		!r.ReadUint24LengthPrefixed(&applicationData) ||
		!r.ReadUint16LengthPrefixed(&extensions) ||
		!r.Empty() {
		return nil, errors.New("truncated, too long, or with a time that can't be")
	}
	a.singleUse = flags&appDataSingleUse != 0
	a.lineage.Start, a.lineage.End = start.time(), end.time()
	switch {
	case flags&^appDataSingleUse != 0:
		return nil, fmt.Errorf("flags %#02x", flags)
	case a.lineage.ID == [16]byte{} || end < start:
		return nil, errors.New("lineage")
	case !readVectors(intermediates, (*cryptobyte.String).ReadUint24LengthPrefixed, &a.intermediates):
		return nil, errors.New("client chain")
	case !readVectors(applicationData, (*cryptobyte.String).ReadUint16LengthPrefixed, &a.applicationData):
		return nil, errors.New("application data")
	}
	return a, checkExtensions(extensions)
}

func readMilliseconds(r *cryptobyte.String, m *milliseconds) bool {
	return r.ReadUint64((*uint64)(m)) && *m <= maxMilliseconds
}

func readVectors(r cryptobyte.String, read func(r, out *cryptobyte.String) bool, out *[][]byte) bool {
	for !r.Empty() {
		var v cryptobyte.String
		if !read(&r, &v) {
			return false
		}
		*out = append(*out, v)
	}
	return true
}

// checkExtensions passes over extensions; none is known yet.
func checkExtensions(r cryptobyte.String) error {
	for previous := -1; !r.Empty(); {
		var kind uint16
		var data cryptobyte.String
		if !r.ReadUint16(&kind) || !r.ReadUint16LengthPrefixed(&data) || int(kind) <= previous {
			return errors.New("extensions")
		}
		if kind >= 0x8000 {
			return fmt.Errorf("unknown extension %#04x, made by a newer version", kind)
		}
		previous = int(kind)
	}
	return nil
}
