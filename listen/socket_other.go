//go:build !linux

package listen

const canInherit = false

func inherit(int) error { return nil }
