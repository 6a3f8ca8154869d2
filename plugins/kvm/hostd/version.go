package hostd

import "encoding/hex"

// Version is what an agent with this version and SHA-256 sum tells: the KVM
// plugin computes it from the program it would install, and replaces an agent
// that tells another.
func Version(version string, sum []byte) string { return version + "+" + hex.EncodeToString(sum[:8]) }
