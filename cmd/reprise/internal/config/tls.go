package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/certs"
	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
)

// TLS says which certificate the server has, and which ones its clients must have.
type TLS struct {
	Cert       []string `sep:"none" placeholder:"FILE" help:"Certificate chain in PEM, leaf first; repeatable, each with a --key. Chosen by server name, and read again when it changes."`
	Key        []string `sep:"none" placeholder:"FILE" help:"Private key in PEM; repeatable, in the order of --cert."`
	SelfSigned bool     `help:"Make a self-signed certificate for localhost and this host, and keep it in the state folder. For trying out."`
	ClientCA   []string `name:"client-ca" sep:"none" placeholder:"FILE" help:"Ask for client certificates of these CAs (PEM); repeatable. Needs --context."`
	ClientAuth string   `enum:"require,optional" default:"require" placeholder:"WHEN" help:"With --client-ca: require a client certificate, or optional. Default: ${default}."`

	// Pairs are the certificates of Cert and Key.
	Pairs []certs.Pair `kong:"-"`
	// ClientAuthType is the policy that ClientCA and ClientAuth mean.
	ClientAuthType tls.ClientAuthType `kong:"-"`
}

// dropEmpty drops paths that are empty, as those of empty variables in the environment are.
func (t *TLS) dropEmpty() {
	isEmpty := func(path string) bool { return path == "" }
	for _, paths := range []*[]string{&t.Cert, &t.Key, &t.ClientCA} {
		*paths = slices.DeleteFunc(*paths, isEmpty)
	}
}

func (t *TLS) check() error {
	switch {
	case t.SelfSigned && len(t.Cert)+len(t.Key) > 0:
		return hint.With(errors.New("--self-signed and --cert exclude each other"), "leave one of them out")
	case !t.SelfSigned && len(t.Cert)+len(t.Key) == 0:
		return hint.With(errors.New("no certificate"), "give --cert FILE and --key FILE, or --self-signed to try it out")
	case len(t.Cert) != len(t.Key):
		return hint.With(fmt.Errorf("%d times --cert and %d times --key", len(t.Cert), len(t.Key)),
			"each --cert needs its --key, in the same order")
	}
	t.Pairs = make([]certs.Pair, len(t.Cert))
	for i := range t.Cert {
		t.Pairs[i] = certs.Pair{Cert: t.Cert[i], Key: t.Key[i]}
	}
	t.ClientAuthType = t.clientAuthType()
	return t.checkFiles()
}

func (t *TLS) clientAuthType() tls.ClientAuthType {
	switch {
	case len(t.ClientCA) == 0:
		return tls.NoClientCert
	case t.ClientAuth == "optional":
		return tls.VerifyClientCertIfGiven
	default:
		return tls.RequireAndVerifyClientCert
	}
}

func (t *TLS) checkFiles() error {
	var errs []error
	if len(t.Pairs) > 0 {
		_, err := certs.Load(t.Pairs)
		errs = append(errs, err)
	}
	_, err := certs.LoadPool(t.ClientCA, "--client-ca")
	return hint.Join(append(errs, err)...)
}

// Files returns the files that are read again when they change.
func (t *TLS) Files() []string {
	var files []string
	files = append(files, t.Cert...)
	files = append(files, t.Key...)
	return append(files, t.ClientCA...)
}
