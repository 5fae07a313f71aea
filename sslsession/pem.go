package sslsession

import (
	"encoding/pem"
	"fmt"
)

// PEMType is the label of a session in PEM (PEM_STRING_SSL_SESSION).
const PEMType = "SSL SESSION PARAMETERS"

// ParsePEM decodes the first session in data that has the label [PEMType], and returns what follows it; text and blocks with other
// labels before it are passed over, as PEM_read_bio_SSL_SESSION(3) does. This is what openssl s_client -sess_out and
// openssl sess_id write.
//
// It is an error if there is no session, if it is encrypted, or if bytes follow it within its block.
func ParsePEM(data []byte) (x *SSLSession, rest []byte, err error) {
	block, rest := pem.Decode(data)
	for block != nil && block.Type != PEMType {
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return nil, nil, fmt.Errorf("%w: no PEM block %q", errMalformed, PEMType)
	}
	if len(block.Headers) > 0 {
		return nil, nil, fmt.Errorf("%w: PEM block with headers; an encrypted session can't be read", errMalformed)
	}
	x, behind, err := Parse(block.Bytes)
	if err != nil {
		return nil, nil, err
	}
	if len(behind) > 0 {
		return nil, nil, fmt.Errorf("%w: followed by %d bytes within its PEM block", errMalformed, len(behind))
	}
	return x, rest, nil
}

// MarshalPEM encodes the session as PEM_write_SSL_SESSION(3) does: the encoding of [SSLSession.Marshal] in one block.
func (x *SSLSession) MarshalPEM() ([]byte, error) {
	der, err := x.Marshal()
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: PEMType, Bytes: der}), nil
}
