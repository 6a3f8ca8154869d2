package hostd

import "golang.org/x/sys/unix"

// The kernel's answers that mean something to a caller.
const (
	errNoSpace  = unix.ENOSPC
	errQuota    = unix.EDQUOT
	errReadOnly = unix.EROFS
	errNotDir   = unix.ENOTDIR
	errLoop     = unix.ELOOP
)
