// Package conformance holds tests that need software of others: other TLS libraries, clients, servers.
//
// Those in this folder start the program, and connect to it with clients that nobody here wrote. The program is built, or
// it is the one that REPRISE_BIN names. A client that is missing skips its tests; with CI set it fails them. Each server
// has a free port, a folder and, where there is one, a Redis of its own, and ends with its test.
package conformance
