package backend

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
)

// NewHTTP returns a reverse proxy for the server at target. The backend sees the Host header as the client sent it, and
// X-Forwarded-For, X-Forwarded-Host and X-Forwarded-Proto of this connection alone: what the client says there is
// dropped. A client certificate is passed on in Client-Cert (RFC 9440, section 2). Of upgrades, that to a WebSocket is passed on.
func NewHTTP(target *url.URL, log *slog.Logger) http.Handler {
	return &httputil.ReverseProxy{
		Transport: newTransport(),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
			dropUnderscores(r.Out.Header)
			dropOtherUpgrades(r.Out.Header)
			r.SetXForwarded()
			setClientCert(r)
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if !errors.Is(err, context.Canceled) { // the client went away
				log.Warn("backend failed", "backend", target.Host, "error", err)
			}
			w.WriteHeader(http.StatusBadGateway)
		},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// newTransport returns a transport that goes to the backend itself, whatever proxies the environment names, keeps connections for as
// many requests as come at a time, and asks for no compression that the client has not asked for.
func newTransport() *http.Transport {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = maxIdleConns, maxIdleConns
	transport.DisableCompression = true
	return transport
}

// maxIdleConns is how many connections to the backend are kept that have nothing to do.
const maxIdleConns = 256

// dropUnderscores drops fields with an underscore in their names: a backend with the interface of CGI (RFC 3875, section 4.1.18) can't
// tell it from a hyphen, so that Client_Cert would be Client-Cert to it.
func dropUnderscores(h http.Header) {
	maps.DeleteFunc(h, func(name string, _ []string) bool { return strings.Contains(name, "_") })
}

// dropOtherUpgrades drops an upgrade to anything but a WebSocket. In HTTP/2 without TLS (h2c) the client would send requests whose fields nobody looks
// at.
func dropOtherUpgrades(h http.Header) {
	if !strings.EqualFold(h.Get("Upgrade"), "websocket") {
		h.Del("Upgrade")
		h.Del("Connection")
	}
}

func setClientCert(r *httputil.ProxyRequest) {
	r.Out.Header.Del("Client-Cert")
	r.Out.Header.Del("Client-Cert-Chain")
	if r.In.TLS == nil || len(r.In.TLS.VerifiedChains) == 0 {
		return
	}
	leaf := r.In.TLS.PeerCertificates[0].Raw
	r.Out.Header.Set("Client-Cert", ":"+base64.StdEncoding.EncodeToString(leaf)+":")
}
