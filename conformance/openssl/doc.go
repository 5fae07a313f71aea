// Package openssl holds tests that play one list of scenarios with libssl and with Reprise as the server, and compare what
// happens, event by event and counter by counter. README.md tells how to read and extend it.
package openssl
