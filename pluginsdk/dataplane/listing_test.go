package dataplane

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"
)

// TestWhole proves that a list which is not whole is asked for again, but not for
// ever, and that other errors are told at once.
func TestWhole(t *testing.T) {
	other := errors.New("no such device")
	for name, c := range map[string]struct {
		interrupted int
		then, want  error
		calls, n    int
	}{
		"at once":      {calls: 1, n: 2},
		"changed":      {interrupted: 3, calls: 4, n: 2},
		"other error":  {then: other, want: other, calls: 1, n: 2},
		"changed ever": {interrupted: 1000, want: netlink.ErrDumpInterrupted, calls: maxListings},
	} {
		calls := 0
		got, err := whole(func() ([]int, error) {
			if calls++; calls <= c.interrupted {
				return []int{1}, netlink.ErrDumpInterrupted
			}
			return []int{1, 2}, c.then
		})
		if !errors.Is(err, c.want) || calls != c.calls || len(got) != c.n {
			t.Errorf("%s: %v, %v after %d calls", name, got, err, calls)
		}
	}
}
