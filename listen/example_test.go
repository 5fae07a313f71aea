package listen_test

import (
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/listen"
)

// A web server that tells each client how its connection was made.
func Example() {
	certificate, err := tls.LoadX509KeyPair("cert.pem", "key.pem")
	if err != nil {
		log.Fatal(err)
	}
	cache, err := reprise.New(reprise.Options{})
	if err != nil {
		log.Fatal(err)
	}
	inner, err := net.Listen("tcp", ":8443")
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{certificate},
		NextProtos:   []string{"h2", "http/1.1"},
	}
	ln, err := listen.New(inner, config, cache, listen.Options{})
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{
		ConnContext: listen.ConnContext,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			info, _ := listen.FromContext(r.Context())
			fmt.Fprintf(w, "resumed: %v (%v)\n", info.Resumed, info.Reason)
		}),
	}
	log.Fatal(server.Serve(ln))
}
