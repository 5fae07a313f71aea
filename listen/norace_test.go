//go:build !race

package listen_test

const raceEnabled = false
