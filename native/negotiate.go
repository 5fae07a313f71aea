package native

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/cpu"

	"github.com/reprise-tls/reprise/native/internal/alert"
	"github.com/reprise-tls/reprise/native/internal/schedule"
	"github.com/reprise-tls/reprise/native/internal/wire"
)

// A Negotiation is what a ClientHello and a configuration lead to in a full handshake.
type Negotiation struct {
	config      *tls.Config
	suite       *schedule.Suite
	group       tls.CurveID
	certificate *tls.Certificate
	scheme      tls.SignatureScheme
	alpn        string

	hello *wire.ClientHello // nil if the engine is still to read it
	raw   []byte            // the message
}

// Protocol returns the protocol that ALPN chooses, empty if there is none.
func (n *Negotiation) Protocol() string { return n.alpn }

// Negotiate chooses for a client of TLS 1.2 what crypto/tls would. config is the one finally chosen for it, and info what
// crypto/tls tells of its ClientHello. It has no effect but to call config's GetCertificate. An error means that this
// engine can't serve the client, or, which it can't tell apart, that nobody can.
func Negotiate(info *tls.ClientHelloInfo, config *tls.Config) (*Negotiation, error) {
	if err := checkConfig(config); err != nil {
		return nil, alert.InternalError.Wrap(err)
	}
	if err := checkVersion(info, config); err != nil {
		return nil, err
	}
	n := &Negotiation{config: config}
	var err error
	if n.alpn, err = chooseProtocol(info.SupportedProtos, config.NextProtos); err != nil {
		return nil, err
	}
	if n.certificate, err = chooseCertificate(config, info); err != nil {
		return nil, err
	}
	// RFC 8422, section 5.1.2
	if len(info.SupportedPoints) > 0 && !slices.Contains(info.SupportedPoints, uncompressed) {
		return nil, alert.IllegalParameter.Errorf("native: client takes no uncompressed points")
	}
	// RFC 8422, section 5.1: a client that names no group that we have can't use ECDHE, which is all we have.
	if n.group = chooseGroup(info.SupportedCurves, config); n.group == 0 {
		return nil, alert.HandshakeFailure.Errorf("native: no common group; client offers %v", info.SupportedCurves)
	}
	signsECDSA, err := isECDSA(n.certificate)
	if err != nil {
		return nil, err
	}
	if err := checkCurve(n.certificate, info.SupportedCurves); err != nil {
		return nil, err
	}
	if n.suite = chooseSuite(info.CipherSuites, config, signsECDSA); n.suite == nil {
		return nil, alert.HandshakeFailure.Errorf("native: no common cipher suite; client offers %04x", info.CipherSuites)
	}
	if slices.Contains(info.CipherSuites, wire.FallbackSCSV) && maxVersion(config) > tls.VersionTLS12 {
		// RFC 7507, section 3
		return nil, alert.InappropriateFallback.Errorf("native: client fell back from a version that both support")
	}
	if n.scheme, err = chooseScheme(n.certificate, info.SignatureSchemes); err != nil {
		return nil, err
	}
	return n, nil
}

// uncompressed is the point format that everybody speaks.
const uncompressed = 0

// ErrVersionTLS13 is the error of a handshake with a client that offers TLS 1.3 to a configuration that allows it: that is for
// crypto/tls to do, and answering with TLS 1.2 would look to the client as if somebody had tampered.
var ErrVersionTLS13 = errors.New("native: client and server have TLS 1.3 in common, which this engine does not do")

// checkVersion returns an error unless TLS 1.2 is the highest version that both support (RFC 8446, section 4.2.1).
func checkVersion(info *tls.ClientHelloInfo, config *tls.Config) error {
	switch {
	case slices.Contains(info.SupportedVersions, tls.VersionTLS13) && maxVersion(config) >= tls.VersionTLS13:
		return alert.ProtocolVersion.Wrap(ErrVersionTLS13)
	case !slices.Contains(info.SupportedVersions, tls.VersionTLS12):
		return alert.ProtocolVersion.Errorf("native: client does not offer TLS 1.2")
	}
	return nil
}

func maxVersion(config *tls.Config) uint16 {
	if config.MaxVersion == 0 {
		return tls.VersionTLS13
	}
	return config.MaxVersion
}

// chooseProtocol chooses by ALPN, in the server's order (RFC 7301, section 3.2). Like crypto/tls it serves clients of
// HTTP/1.1 without a protocol where only h2 is configured.
func chooseProtocol(offered, configured []string) (string, error) {
	if len(offered) == 0 || len(configured) == 0 {
		return "", nil
	}
	for _, protocol := range configured {
		if slices.Contains(offered, protocol) {
			return protocol, nil
		}
	}
	if slices.Contains(configured, "h2") && slices.Contains(offered, "http/1.1") {
		return "", nil
	}
	return "", alert.NoApplicationProtocol.Errorf("native: client offers the protocols %q only", offered)
}

// chooseGroup chooses one of ours in the client's order.
func chooseGroup(offered []tls.CurveID, config *tls.Config) tls.CurveID {
	for _, group := range offered {
		if slices.Contains(groups, group) && (len(config.CurvePreferences) == 0 || slices.Contains(config.CurvePreferences, group)) {
			return group
		}
	}
	return 0
}

// groups are those that crypto/tls has for TLS 1.2.
var groups = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}

// chooseCertificate chooses as tls.Config says: by GetCertificate, by name, by what the client supports.
func chooseCertificate(config *tls.Config, info *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if config.GetCertificate != nil && (len(config.Certificates) == 0 || info.ServerName != "") {
		certificate, err := config.GetCertificate(info)
		if err != nil {
			return nil, alert.InternalError.Wrap(fmt.Errorf("native: GetCertificate: %w", err))
		}
		if certificate != nil {
			return certificate, nil
		}
	}
	switch len(config.Certificates) {
	case 0:
		return nil, alert.UnrecognizedName.Errorf("native: no certificate is configured")
	case 1:
		return &config.Certificates[0], nil
	}
	if certificate := certificateByName(config, info.ServerName); certificate != nil {
		return certificate, nil
	}
	supported := restricted(info, config)
	for i := range config.Certificates {
		if supported.SupportsCertificate(&config.Certificates[i]) == nil {
			return &config.Certificates[i], nil
		}
	}
	return &config.Certificates[0], nil
}

// certificateByName looks into NameToCertificate, which is deprecated and still honoured.
func certificateByName(config *tls.Config, serverName string) *tls.Certificate {
	byName := config.NameToCertificate //nolint:staticcheck // SA1019: see above
	name := strings.ToLower(serverName)
	if certificate := byName[name]; certificate != nil {
		return certificate
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		return byName["*."+parent]
	}
	return nil
}

// isECDSA tells whether a certificate goes with the suites that sign with ECDSA or Ed25519 (RFC 8422, section 2), or
// with RSA.
func isECDSA(certificate *tls.Certificate) (bool, error) {
	signer, err := signerOf(certificate)
	if err != nil {
		return false, err
	}
	switch public := signer.Public().(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true, nil
	case *rsa.PublicKey:
		return false, nil
	default:
		return false, alert.InternalError.Errorf("native: certificate with a key of type %T", public)
	}
}

// checkCurve returns an error if the client does not support the curve of the certificate's key: it "MUST respect the client's choice
// of elliptic curves" (RFC 8422, section 5.3). Other keys have none.
func checkCurve(certificate *tls.Certificate, supported []tls.CurveID) error {
	signer, err := signerOf(certificate)
	if err != nil {
		return err
	}
	key, ok := signer.Public().(*ecdsa.PublicKey)
	if ok && !slices.Contains(supported, curves[key.Curve]) {
		return alert.HandshakeFailure.Errorf("native: client does not support the certificate's curve %s", key.Params().Name)
	}
	return nil
}

var curves = map[elliptic.Curve]tls.CurveID{
	elliptic.P256(): tls.CurveP256, elliptic.P384(): tls.CurveP384, elliptic.P521(): tls.CurveP521,
}

func signerOf(certificate *tls.Certificate) (crypto.Signer, error) {
	signer, ok := certificate.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, alert.InternalError.Errorf("native: private key of type %T is no crypto.Signer", certificate.PrivateKey)
	}
	return signer, nil
}

// chooseSuite chooses in the server's order, which is crypto/tls's: AES-GCM first if both sides have hardware for it, the
// client being taken at its first AEAD suite.
func chooseSuite(offered []uint16, config *tls.Config, signsECDSA bool) *schedule.Suite {
	order := suitesChaChaFirst
	if hasAESGCMHardware && prefersAESGCM(offered) {
		order = suitesAESFirst
	}
	for _, id := range order {
		if s := schedule.SuiteByID(id); s.ECDSA == signsECDSA && slices.Contains(offered, id) && enabled(config, id) {
			return s
		}
	}
	return nil
}

func enabled(config *tls.Config, suite uint16) bool {
	return config.CipherSuites == nil || slices.Contains(config.CipherSuites, suite)
}

var (
	suitesAESFirst = []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
	suitesChaChaFirst = []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	}
)

var hasAESGCMHardware = cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ && cpu.X86.HasSSE41 && cpu.X86.HasSSSE3 ||
	cpu.ARM64.HasAES && cpu.ARM64.HasPMULL || cpu.S390X.HasAES && cpu.S390X.HasAESCTR && cpu.S390X.HasGHASH

// prefersAESGCM tells whether the first of the client's suites that crypto/tls knows is one of AES-GCM.
func prefersAESGCM(offered []uint16) bool {
	for _, id := range offered {
		if s := schedule.SuiteByID(id); s != nil {
			return s.ExplicitNonce
		}
		if knownSuites[id] {
			return id == tls.TLS_AES_128_GCM_SHA256 || id == tls.TLS_AES_256_GCM_SHA384
		}
	}
	return false
}

var knownSuites = func() map[uint16]bool {
	known := make(map[uint16]bool)
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		known[s.ID] = true
	}
	return known
}()

// chooseScheme chooses the signature scheme in the client's order (RFC 5246, section 7.4.1.4.1).
func chooseScheme(certificate *tls.Certificate, offered []tls.SignatureScheme) (tls.SignatureScheme, error) {
	signer, err := signerOf(certificate)
	if err != nil {
		return 0, err
	}
	public := signer.Public()
	for _, scheme := range offered {
		if slices.Contains(schemes, scheme) && kindOf(scheme).fits(public) &&
			(certificate.SupportedSignatureAlgorithms == nil || slices.Contains(certificate.SupportedSignatureAlgorithms, scheme)) {
			return scheme, nil
		}
	}
	if len(offered) == 0 { // which would mean SHA-1
		return 0, alert.HandshakeFailure.Wrap(errors.New("native: client sends no signature_algorithms"))
	}
	return 0, alert.HandshakeFailure.Errorf("native: client takes none of the signatures that the certificate's key can make")
}
