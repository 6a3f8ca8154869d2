package hostd

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
)

// systemFolders are never a storage's root, and nothing below those in
// systemTrees is.
var (
	systemFolders = []string{"/", "/home", "/mnt", "/media", "/opt", "/root", "/srv", "/tmp", "/var", "/var/lib", "/var/log", "/var/tmp", "/var/cache"}
	systemTrees   = []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin", "/sys", "/usr", "/var/run", "/var/lib/dpkg", "/var/lib/libvirt/qemu"}
	// guestFolders are libvirt's, with files of guests that go with their guest.
	guestFolders = []string{"/var/lib/libvirt/qemu/nvram"}
)

// checkFolder refuses a folder that cannot be a storage's: relative, not clean,
// or the system's (errs.Invalid). Symbolic links in the part that exists are
// followed first, so that a link to /etc is /etc.
func checkFolder(path string) error {
	if err := checkPath(path); err != nil {
		return err
	}
	real, err := realPath(path)
	if err != nil {
		return err
	}
	for _, p := range []string{path, real} {
		if slices.Contains(systemFolders, p) || slices.ContainsFunc(systemTrees, func(tree string) bool { return within(p, tree) }) {
			return errs.New(errs.Invalid, "folder "+path, "it is one of the system's folders").
				WithAdvice("give a folder of its own, such as /kumo_storage")
		}
	}
	return nil
}

// checkBelow refuses a path that is not below root, or that a symbolic link
// leads out of root (errs.Invalid). The path itself need not exist.
func checkBelow(path, root string) error {
	if err := checkFolder(root); err != nil {
		return err
	}
	return checkInside(path, root)
}

// checkRemovable is checkBelow for what is only removed, for which root may be a
// folder of guests' files too.
func checkRemovable(path, root string) error {
	if slices.Contains(guestFolders, root) {
		return checkInside(path, root)
	}
	return checkBelow(path, root)
}

func checkInside(path, root string) error {
	if err := checkPath(path); err != nil {
		return err
	}
	if path == root || !within(path, root) {
		return errs.New(errs.Invalid, "path "+path, "it is not below %s", root)
	}
	realRoot, err := realPath(root)
	if err != nil {
		return err
	}
	real, err := realPath(path)
	if err != nil {
		return err
	}
	if !within(real, realRoot) {
		return errs.New(errs.Invalid, "path "+path, "a symbolic link leads out of %s, to %s", root, real)
	}
	return nil
}

func checkPath(path string) error {
	if err := kinds.Exact("path", path); err != nil {
		return errs.Wrap(errs.Invalid, "path", err, "")
	}
	return nil
}

func within(path, tree string) bool {
	return path == tree || tree == "/" || strings.HasPrefix(path, tree+"/")
}

// realPath follows the links of the part of path that exists.
func realPath(path string) (string, error) {
	rest := ""
	for {
		real, err := filepath.EvalSymlinks(path)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", pathError(path, err, "cannot be followed")
		}
		if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return "", errs.New(errs.Invalid, "path "+path, "it is a symbolic link to nothing")
		}
		rest = filepath.Join(filepath.Base(path), rest)
		path = filepath.Dir(path)
	}
}

// pathError classes what the kernel says about a path.
func pathError(path string, err error, format string, args ...any) error {
	class := errs.Internal
	switch {
	case errors.Is(err, fs.ErrNotExist):
		class = errs.NotFound
	case errors.Is(err, errNoSpace), errors.Is(err, errQuota):
		class = errs.Exhausted
	case errors.Is(err, fs.ErrPermission), errors.Is(err, errReadOnly):
		class = errs.Refused
	case errors.Is(err, errNotDir), errors.Is(err, errLoop):
		class = errs.Invalid
	}
	return errs.Wrap(class, "path "+path, err, format, args...)
}
