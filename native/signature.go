package native

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.SHA256
	_ "crypto/sha512" // for crypto.SHA384 and SHA512
	"crypto/tls"
	"crypto/x509"
	"slices"

	"github.com/reprise-tls/reprise/native/internal/alert"
)

// schemes are the signature schemes that this engine makes and accepts, in the order in which it asks for them. SHA-1 is
// not among them (RFC 9155).
var schemes = []tls.SignatureScheme{
	tls.PSSWithSHA256, tls.ECDSAWithP256AndSHA256, tls.Ed25519, tls.PSSWithSHA384, tls.PSSWithSHA512,
	tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512, tls.ECDSAWithP384AndSHA384, tls.ECDSAWithP521AndSHA512,
}

// A signatureKind is how a scheme signs, and with which hash.
type signatureKind struct {
	hash      crypto.Hash // 0: of the message itself
	pss       bool
	algorithm x509.PublicKeyAlgorithm
	minLength int // of an RSA key, in bytes: the padding needs so much
}

// kindOf describes a scheme of TLS 1.2, in which ECDSA schemes do not fix the curve (RFC 8422, section 5.4).
func kindOf(scheme tls.SignatureScheme) signatureKind {
	switch scheme {
	case tls.PSSWithSHA256:
		return signatureKind{crypto.SHA256, true, x509.RSA, 2*32 + 2}
	case tls.PSSWithSHA384:
		return signatureKind{crypto.SHA384, true, x509.RSA, 2*48 + 2}
	case tls.PSSWithSHA512:
		return signatureKind{crypto.SHA512, true, x509.RSA, 2*64 + 2}
	case tls.PKCS1WithSHA256:
		return signatureKind{crypto.SHA256, false, x509.RSA, 19 + 32 + 11}
	case tls.PKCS1WithSHA384:
		return signatureKind{crypto.SHA384, false, x509.RSA, 19 + 48 + 11}
	case tls.PKCS1WithSHA512:
		return signatureKind{crypto.SHA512, false, x509.RSA, 19 + 64 + 11}
	case tls.ECDSAWithP256AndSHA256:
		return signatureKind{crypto.SHA256, false, x509.ECDSA, 0}
	case tls.ECDSAWithP384AndSHA384:
		return signatureKind{crypto.SHA384, false, x509.ECDSA, 0}
	case tls.ECDSAWithP521AndSHA512:
		return signatureKind{crypto.SHA512, false, x509.ECDSA, 0}
	case tls.Ed25519:
		return signatureKind{0, false, x509.Ed25519, 0}
	default:
		return signatureKind{}
	}
}

// fits tells whether a key can sign so.
func (k signatureKind) fits(public crypto.PublicKey) bool {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return k.algorithm == x509.RSA && key.Size() >= k.minLength
	case *ecdsa.PublicKey:
		return k.algorithm == x509.ECDSA
	case ed25519.PublicKey:
		return k.algorithm == x509.Ed25519
	default:
		return false
	}
}

// canSign tells whether there is a scheme for a key.
func canSign(public crypto.PublicKey) bool {
	return slices.ContainsFunc(schemes, func(s tls.SignatureScheme) bool { return kindOf(s).fits(public) })
}

// sign signs a message.
func sign(certificate *tls.Certificate, scheme tls.SignatureScheme, message []byte) ([]byte, error) {
	signer, err := signerOf(certificate)
	if err != nil {
		return nil, err
	}
	kind := kindOf(scheme)
	options := crypto.SignerOpts(kind.hash)
	if kind.pss {
		options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: kind.hash}
	}
	signature, err := crypto.SignMessage(signer, rand.Reader, message, options)
	if err != nil {
		return nil, alert.InternalError.Errorf("native: signing with the certificate's key: %w", err)
	}
	return signature, nil
}

// verifySignature verifies a peer's signature.
func verifySignature(public crypto.PublicKey, scheme tls.SignatureScheme, message, signature []byte) error {
	kind := kindOf(scheme)
	if !slices.Contains(schemes, scheme) || !kind.fits(public) {
		return alert.IllegalParameter.Errorf("native: signature of scheme %v by a key of type %T", scheme, public)
	}
	digest := message
	if kind.hash != 0 {
		h := kind.hash.New()
		h.Write(message)
		digest = h.Sum(nil)
	}
	if !validSignature(public, kind, digest, signature) {
		return alert.DecryptError.Errorf("native: invalid signature")
	}
	return nil
}

func validSignature(public crypto.PublicKey, kind signatureKind, digest, signature []byte) bool {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(key, digest, signature)
	case ed25519.PublicKey:
		return ed25519.Verify(key, digest, signature)
	case *rsa.PublicKey:
		if kind.pss {
			return rsa.VerifyPSS(key, kind.hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(key, kind.hash, digest, signature) == nil
	default:
		return false
	}
}
