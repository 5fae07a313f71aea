package redisstore_test

import (
	"context"
	"crypto/tls"
	"log"
	"net/http"
	"os"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/stdtls"
	redisstore "github.com/reprise-tls/reprise/store/redis"
)

// One of several web servers whose clients resume on each of them. All have the same fleet key.
func Example() {
	keys, err := reprise.LoadFleetKeys("fleet.key")
	if err != nil {
		log.Fatal(err)
	}
	cache, err := reprise.New(reprise.Options{Keys: keys})
	if err != nil {
		log.Fatal(err)
	}
	// Such as rediss://reprise:password@redis.example:6379/0
	store, err := redisstore.Open(os.Getenv("REDIS_URL"), redisstore.Options{})
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
