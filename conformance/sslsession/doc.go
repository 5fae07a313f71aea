// Package sslsession holds the tests of package sslsession that need OpenSSL: its command, and libssl by way of testdata/peer.c.
package sslsession
