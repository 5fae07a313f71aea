module github.com/reprise-tls/reprise/conformance

go 1.26.0

require (
	github.com/reprise-tls/reprise v0.0.0
	google.golang.org/grpc v1.85.0
)

require (
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260817212433-ac3dfec99bb1 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/reprise-tls/reprise => ..

// It has packages that have become a module of their own. Dependencies of the embedded store name it, and it would be
// found twice in the workspace.
exclude google.golang.org/genproto v0.0.0-20230410155749-daa745c078e1
