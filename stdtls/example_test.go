package stdtls_test

import (
	"crypto/tls"
	"log"
	"net/http"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/stdtls"
)

// A web server whose clients resume from a cache in its memory.
func ExampleAttach() {
	certificate, err := tls.LoadX509KeyPair("cert.pem", "key.pem")
	if err != nil {
		log.Fatal(err)
	}
	cache, err := reprise.New(reprise.Options{})
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	if err := stdtls.Attach(config, cache); err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Addr: ":8443", TLSConfig: config}
	log.Fatal(server.ListenAndServeTLS("", ""))
}
