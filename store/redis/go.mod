module github.com/reprise-tls/reprise/store/redis

go 1.26.0

require (
	github.com/redis/rueidis v1.0.79
	github.com/reprise-tls/reprise v0.0.0
)

require (
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/reprise-tls/reprise => ../..
