// Package conformance holds tests that need software of others: other TLS libraries, clients, servers.
package conformance
