package native

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"

	"github.com/reprise-tls/reprise/native/internal/alert"
)

// maxRSABits is the length of the longest RSA key in a client's chain: who verifies its signatures spends time by the square
// of it, for a client that has proved nothing.
const maxRSABits = 8192

// verifyClient verifies a client's chain as far as the policy asks for it.
func verifyClient(config *tls.Config, chain [][]byte) (certificates []*x509.Certificate, verified [][]*x509.Certificate, err error) {
	for _, der := range chain {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, nil, alert.DecodeError.Errorf("native: client certificate: %w", err)
		}
		if key, ok := certificate.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxRSABits {
			return nil, nil, alert.BadCertificate.Errorf("native: client certificate with an RSA key of %d bits", key.N.BitLen())
		}
		certificates = append(certificates, certificate)
	}
	if len(certificates) > 0 && !canSign(certificates[0].PublicKey) {
		return nil, nil, alert.UnsupportedCertificate.Errorf("native: client certificate with a key of type %T", certificates[0].PublicKey)
	}
	policy := config.ClientAuth
	if len(chain) == 0 && (policy == tls.RequireAnyClientCert || policy == tls.RequireAndVerifyClientCert) {
		// RFC 5246, section 7.4.6
		return nil, nil, alert.HandshakeFailure.Errorf("native: client has no certificate")
	}
	if len(chain) > 0 && policy >= tls.VerifyClientCertIfGiven {
		if verified, err = verifyChain(config, certificates); err != nil {
			return nil, nil, err
		}
	}
	if f := config.VerifyPeerCertificate; f != nil {
		if err := f(chain, verified); err != nil {
			return nil, nil, alert.BadCertificate.Errorf("native: VerifyPeerCertificate: %w", err)
		}
	}
	return certificates, verified, nil
}

func verifyChain(config *tls.Config, certificates []*x509.Certificate) ([][]*x509.Certificate, error) {
	now := time.Now
	if config.Time != nil {
		now = config.Time
	}
	intermediates := x509.NewCertPool()
	for _, certificate := range certificates[1:] {
		intermediates.AddCert(certificate)
	}
	chains, err := certificates[0].Verify(x509.VerifyOptions{
		Roots:         config.ClientCAs,
		Intermediates: intermediates,
		CurrentTime:   now(),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		err = &tls.CertificateVerificationError{UnverifiedCertificates: certificates, Err: err}
		return nil, alertFor(err).Errorf("native: %w", err)
	}
	return chains, nil
}

// alertFor returns the alert for a chain that does not verify (RFC 5246, section 7.2.2).
func alertFor(err error) alert.Alert {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &unknown):
		return alert.UnknownCA
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return alert.CertificateExpired
	default:
		return alert.BadCertificate
	}
}
