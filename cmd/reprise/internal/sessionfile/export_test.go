package sessionfile

import "bytes"

// PrintBytes is what [Print.Run] prints of a file with this content.
func PrintBytes(content []byte, secrets, asJSON bool) (string, error) {
	f, err := decode(content, cannotOpen)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	d := new(Input).describe(f, secrets)
	if asJSON {
		err = d.printJSON(&out)
	} else {
		err = d.printTable(&out)
	}
	return out.String(), err
}

// ConvertBytes is what [Convert.Run] makes of a file with this content.
func ConvertBytes(content []byte, to Form) ([]byte, error) {
	f, err := decode(content, cannotOpen)
	if err != nil {
		return nil, err
	}
	return f.convert(to)
}
