package stdtls

import "testing"

// SetConvertible pretends, for the rest of the test, that the encoding of crypto/tls is known or not.
func SetConvertible(t *testing.T, known bool) {
	old := isConvertible
	isConvertible = func() bool { return known }
	t.Cleanup(func() { isConvertible = old })
}
