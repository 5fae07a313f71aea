package backend

import (
	"crypto/tls"
	"net"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// writeProxyHeader begins the connection to the backend with a header of the PROXY protocol, version 2: the client's
// address, and what is known of its TLS connection.
func writeProxyHeader(server, client net.Conn) error {
	header := proxyproto.HeaderProxyFromAddrs(2, client.RemoteAddr(), client.LocalAddr())
	if state := connectionState(client); state != nil {
		tlvs, err := tlsTLVs(state)
		if err != nil {
			return err
		}
		if err := header.SetTLVs(tlvs); err != nil {
			return err
		}
	}
	_, err := header.WriteTo(server)
	return err
}

// tlsTLVs describes a TLS connection as section 2.2 of the PROXY protocol says.
func tlsTLVs(state *tls.ConnectionState) ([]proxyproto.TLV, error) {
	var tlvs []proxyproto.TLV
	if state.ServerName != "" {
		tlvs = append(tlvs, proxyproto.TLV{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte(state.ServerName)})
	}
	if state.NegotiatedProtocol != "" {
		tlvs = append(tlvs, proxyproto.TLV{Type: proxyproto.PP2_TYPE_ALPN, Value: []byte(state.NegotiatedProtocol)})
	}
	ssl := tlvparse.PP2SSL{
		Client: tlvparse.PP2_BITFIELD_CLIENT_SSL,
		Verify: 1,
		TLV: []proxyproto.TLV{
			{Type: proxyproto.PP2_SUBTYPE_SSL_VERSION, Value: []byte(tls.VersionName(state.Version))},
			{Type: proxyproto.PP2_SUBTYPE_SSL_CIPHER, Value: []byte(tls.CipherSuiteName(state.CipherSuite))},
		},
	}
	if len(state.VerifiedChains) > 0 {
		ssl.Verify = 0
		ssl.Client |= tlvparse.PP2_BITFIELD_CLIENT_CERT_SESS
		if !state.DidResume {
			ssl.Client |= tlvparse.PP2_BITFIELD_CLIENT_CERT_CONN
		}
		name := state.PeerCertificates[0].Subject.CommonName
		ssl.TLV = append(ssl.TLV, proxyproto.TLV{Type: proxyproto.PP2_SUBTYPE_SSL_CN, Value: []byte(name)})
	}
	tlv, err := ssl.Marshal()
	return append(tlvs, tlv), err
}
