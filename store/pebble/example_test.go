package pebblestore_test

import (
	"context"
	"crypto/tls"
	"log"
	"log/slog"
	"net/http"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/stdtls"
	pebblestore "github.com/reprise-tls/reprise/store/pebble"
)

// A web server whose clients resume after it was killed and started again. The fleet key lies beside the store, not in
// it.
func Example() {
	keys, err := reprise.LoadFleetKeys("state/fleet.key") // made by reprise.CreateFleetKeyFile
	if err != nil {
		log.Fatal(err)
	}
	cache, err := reprise.New(reprise.Options{Keys: keys})
	if err != nil {
		log.Fatal(err)
	}
	store, err := pebblestore.Open("state/sessions", pebblestore.Options{Logger: slog.Default()})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	binding, err := reprise.BindStore(cache, store, reprise.StoreOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer binding.Close(context.Background()) // before the store: it writes what still waits

	certificate, err := tls.LoadX509KeyPair("site.pem", "site.key")
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	if err := stdtls.Attach(config, cache); err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Addr: ":443", TLSConfig: config}
	log.Print(server.ListenAndServeTLS("", ""))
}
