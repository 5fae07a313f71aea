package tlsstate

var (
	Specimens = specimens
	Survives  = survives
)
