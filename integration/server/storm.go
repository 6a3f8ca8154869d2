package server

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// Storm tells how long a storm blows, usually or by the environment's
// KUMO_STORM_TIME ("10s"), and the seed of what its clients do, KUMO_STORM_SEED.
// The seed is logged: with it the same clients want the same again, though what
// meets what depends on the machine.
func Storm(t testing.TB, usual time.Duration) (length time.Duration, seed uint64) {
	t.Helper()
	length, seed = usual, 1
	var err error
	if text := os.Getenv("KUMO_STORM_TIME"); text != "" {
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("KUMO_STORM_TIME: %v", err)
		}
	}
	if text := os.Getenv("KUMO_STORM_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("KUMO_STORM_SEED: %v", err)
		}
	}
	t.Logf("a storm of %v with seed %d", length, seed)
	return length, seed
}
