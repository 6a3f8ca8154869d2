package dataplane

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// maxListings bounds how often a listing is begun.
const maxListings = 50

// whole lists until the kernel says that nothing was changed while it did: it
// hands a list out in pieces, and tells when the pieces do not fit together
// (NLM_F_DUMP_INTR, netlink(7)). On a busy host others change devices and
// addresses all the time.
func whole[T any](list func() ([]T, error)) (all []T, err error) {
	for range maxListings {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
	return nil, err
}
