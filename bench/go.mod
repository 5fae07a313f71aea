module github.com/reprise-tls/reprise/bench

go 1.26.0

require github.com/reprise-tls/reprise v0.0.0

require golang.org/x/crypto v0.58.0 // indirect

replace github.com/reprise-tls/reprise => ../
