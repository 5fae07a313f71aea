package serve

import (
	"crypto/tls"
	"net/http"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/answer"
	"github.com/reprise-tls/reprise/listen"
)

// report says how the connection of a request was made.
func (s *server) report(r *http.Request) answer.Report {
	info, _ := listen.FromContext(r.Context())
	report := answer.Report{
		Resumed:   info.Resumed,
		Mechanism: info.Mechanism,
		Reason:    info.Reason.String(),
		Engine:    info.Engine,
		Node:      s.settings.Operation.Node,
	}
	if r.TLS != nil {
		report.TLSVersion = tls.VersionName(r.TLS.Version)
		report.CipherSuite = tls.CipherSuiteName(r.TLS.CipherSuite)
		report.ServerName = r.TLS.ServerName
	}
	s.reportSession(&report, info)
	return report
}

func (s *server) reportSession(report *answer.Report, info listen.Info) {
	if info.Session == nil {
		return
	}
	shown := info.Session
	if info.ResumedSession != nil {
		shown = info.ResumedSession
	}
	lineage := info.Session.Lineage()
	report.Session = s.nameOf(shown)
	report.SessionAge = seconds(shown.Created())
	report.LineageAge = seconds(lineage.Start)
	report.Generation = lineage.Generation
	if info.ResumedSession == nil || info.ResumedSession.ID() != info.Session.ID() {
		report.NewSession = s.nameOf(info.Session)
	}
}

// nameOf returns the name that a session is shown by, empty for none.
func (s *server) nameOf(session *reprise.Session) string {
	if session == nil {
		return ""
	}
	return s.cache.Handle(session.ID())
}

// seconds returns how long ago t was.
func seconds(t time.Time) int64 { return max(0, int64(time.Since(t)/time.Second)) }
