package sslsession_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/reprise-tls/reprise"
	"github.com/reprise-tls/reprise/listen"
	"github.com/reprise-tls/reprise/sslsession"
)

// A diskCache is an external cache in a folder: a file for each session, as i2d_SSL_SESSION writes it, named by its
// session ID in hexadecimal. Files of mode 0600 in a folder of mode 0700 are all that protects the secrets in them.
type diskCache struct{ folder string }

func (d diskCache) file(id reprise.SessionID) string {
	return filepath.Join(d.folder, hex.EncodeToString(id.Bytes()))
}

// add is new_session_cb.
func (d diskCache) add(_ *reprise.Cache, s *reprise.Session) (keep bool) {
	if err := d.write(s); err != nil {
		log.Print("session not stored: ", err)
	}
	return true // there is no reference to keep or to give back; the session may also stay in the internal cache
}

func (d diskCache) write(s *reprise.Session) error {
	x, err := sslsession.FromSession(s)
	if err != nil {
		return err
	}
	der, err := x.Marshal() // i2d_SSL_SESSION
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(d.folder, "new-") // other processes see the whole file or none
	if err != nil {
		return err
	}
	_, err = f.Write(der)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), d.file(s.ID()))
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// remove is remove_session_cb. A session that another process may still resume stays on the disk.
func (d diskCache) remove(_ *reprise.Cache, s *reprise.Session, why reprise.Removal, _ bool) {
	if why.Final() || why == reprise.RemovedExpired {
		_ = os.Remove(d.file(s.ID())) // it may never have been there
	}
}

// get is get_session_cb. The ID is what the client sent: 1 to 32 bytes, which become hex digits and no path.
func (d diskCache) get(_ context.Context, id reprise.SessionID) (*reprise.Session, error) {
	der, err := os.ReadFile(d.file(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	x, _, err := sslsession.Parse(der) // d2i_SSL_SESSION
	if err != nil {
		return nil, err
	}
	// The zero Foreign takes the sessions of this program alone. To resume those of C servers too, name the scope of ours:
	//
	//	sslsession.Foreign{
	//		Scope:   reprise.ScopeOf(reprise.ConnectionInfo{Context: []byte("shop"), ServerName: "localhost"}),
	//		Context: []byte("shop"),
	//	}
	s, err := sslsession.ToSession(x, sslsession.Foreign{})
	if err == nil && time.Now().After(s.Expiry()) {
		_ = os.Remove(d.file(id)) // it will be declined, and no remove call follows: it was never in the internal cache
	}
	return s, err
}

// serve is main of the C server: what SSL_CTX_new, SSL_CTX_sess_set_new_cb and its companions, and the loop around accept are
// there. It answers each client with how its connection was made.
func serve(folder string, certificate tls.Certificate) (addr string, stop func()) {
	cache, err := reprise.New(reprise.Options{Context: []byte("shop")}) // SSL_CTX_set_session_id_context
	if err != nil {
		log.Fatal(err)
	}
	external := diskCache{folder}
	cache.SetMode(reprise.ModeServer | reprise.ModeNoInternal) // the processes share what is on the disk, and nothing else
	cache.SetTimeout(time.Hour)
	cache.SetNewCallback(external.add)
	cache.SetRemoveCallback(external.remove)
	cache.SetGetCallback(external.get)

	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	listener, err := listen.New(inner, config, cache, listen.Options{})
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		for {
			conn, err := listener.Accept() // accept, SSL_new, SSL_accept
			if err != nil {
				return
			}
			info, _ := listen.InfoOf(conn) // SSL_session_reused
			fmt.Fprintf(conn, "resumed: %v (%v)", info.Resumed, info.Reason)
			_ = conn.Close() // SSL_shutdown, SSL_free: without close_notify the session would be removed
		}
	}()
	return listener.Addr().String(), func() {
		_ = listener.Close()
		_ = cache.Close() // SSL_CTX_free; the files stay
	}
}

// visit connects to the server and returns what it answers.
func visit(addr string, config *tls.Config) string {
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	answer, err := io.ReadAll(conn)
	if err != nil {
		return err.Error()
	}
	return string(answer)
}

// The classic server in C with an external cache on the disk: its three callbacks write, read and delete a file for each
// session. What one process has written, another one resumes, and so does any program that calls d2i_SSL_SESSION.
func Example_externalCacheOnDisk() {
	folder, err := os.MkdirTemp("", "sessions-") // mode 0700
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	certificate := selfSigned()
	client := &tls.Config{
		ServerName:         "localhost",
		InsecureSkipVerify: true, // it is self-signed
		ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}

	addr, stop := serve(folder, certificate)
	fmt.Println("first process, ", visit(addr, client))
	fmt.Println("first process, ", visit(addr, client))
	stop()

	addr, stop = serve(folder, certificate)
	defer stop()
	fmt.Println("second process,", visit(addr, client))

	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		log.Fatal(err)
	}
	for _, file := range files {
		_ = os.Remove(file)
	}
	fmt.Println(len(files), "files deleted") // in TLS 1.3 each connection makes a session of its own
	fmt.Println("second process,", visit(addr, client))
	// Output:
	// first process,  resumed: false (not-offered)
	// first process,  resumed: true (resumed)
	// second process, resumed: true (resumed)
	// 3 files deleted
	// second process, resumed: false (unknown)
}

// selfSigned makes a certificate, where a server would load one.
func selfSigned() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
