package serve

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// dataFolder makes the data folder, or sees to it that nobody else can look into
// the one there is: the database, plugins' data and secrets are in it. A folder
// that others share, such as /tmp, is refused and not changed.
func dataFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return errs.Wrap(errs.Invalid, "data folder "+dir, err, "cannot be made").WithAdvice("choose another one with --data-dir")
	}
	info, err := os.Stat(dir)
	if err != nil {
		return errs.Wrap(errs.Invalid, "data folder "+dir, err, "cannot be looked at").WithAdvice("choose another one with --data-dir")
	}
	mode := info.Mode()
	switch {
	case mode&os.ModeSticky != 0 || mode.Perm()&0o002 != 0:
		return errs.New(errs.Refused, "data folder "+dir, "everybody may write to it (mode %s)", mode).
			WithAdvice("choose a folder of its own with --data-dir")
	case mode.Perm()&0o077 == 0:
		return nil
	}
	if err := os.Chmod(dir, mode.Perm()&0o700); err != nil {
		return errs.Wrap(errs.Refused, "data folder "+dir, err, "others may look into it (mode %s)", mode).
			WithAdvice("make it accessible for its owner alone (chmod 700)")
	}
	return nil
}

// inUse is the file that says that a cloud's data is in the folder.
const inUse = "in-use"

// unusedFolder refuses an empty database beside the data of a cloud: the
// database was lost, or another one was meant, and what the cloud has on its
// hosts would be forgotten without a word.
func unusedFolder(dir string, empty bool) error {
	mark := filepath.Join(dir, inUse)
	_, err := os.Stat(mark)
	switch {
	case !empty || errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return errs.Wrap(errs.Internal, "data folder "+dir, err, "cannot be looked at")
	}
	return errs.New(errs.Refused, "data folder "+dir, "it has the data of a cloud, but the database is empty").
		WithAdvice("put the database back from a backup, or name the right one with --db; to begin anew remove %s", mark)
}

// markFolder notes that the folder has the data of a cloud; a repeat does nothing.
func markFolder(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, inUse), os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return errs.Wrap(errs.Internal, "data folder "+dir, err, "cannot be written to")
	}
	return nil
}
