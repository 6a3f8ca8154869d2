package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// minFree is how much room a disk must have for a database that is written to:
// what is less goes within seconds of work.
const minFree = 16 << 20

// maxHealth is how long a database may take to answer.
const maxHealth = 5 * time.Second

// Health tells why the database cannot be written to, or read; nil when it can.
// It asks the system and the database each time, so that it says so as long as
// it is true and no longer.
func (s *Store) Health(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, maxHealth)
	defer cancel()
	return s.backend.health(ctx)
}

// health implements backend.
func (w *writer) health(context.Context) error {
	if err := w.usable(); err != nil {
		return err
	}
	return Roomy("database "+w.s.name, filepath.Dir(w.files.path))
}

// health implements backend.
func (b *mysqlBackend) health(ctx context.Context) error {
	_, err := Texts(ctx, b.s, "SELECT 1")
	return err
}

// Roomy refuses, in the name of an object, a folder whose disk is nearly full.
func Roomy(object, dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return errs.Wrap(errs.Unavailable, object, err, "its disk cannot be looked at")
	}
	if free := st.Bavail * uint64(st.Bsize); free < minFree {
		return errs.New(errs.Unavailable, object, "the disk of %s is full: %d kiB are free", dir, free>>10).WithAdvice("free space")
	}
	return nil
}

// openFiles are the files of a SQLite database that is open, as they were when
// it was opened. SQLite goes on with a file that was deleted or replaced, and
// everything it writes is lost with its last descriptor.
type openFiles struct {
	path string
	was  map[string]os.FileInfo
}

func filesOf(path string) (f openFiles, err error) {
	f = openFiles{path: path, was: map[string]os.FileInfo{}}
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		if f.was[name], err = os.Stat(name); err != nil {
			return f, err
		}
	}
	return f, nil
}

// check refuses when one of them is gone or another one.
func (f openFiles) check() error {
	for name, was := range f.was {
		now, err := os.Stat(name)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return errs.New(errs.Unavailable, "database "+f.path, "%s was deleted while it was in use, so nothing is written any more", filepath.Base(name)).
				WithAdvice("stop kumo and put the database back from a backup; `kumo flow ls` and queries show until then what it was")
		case err != nil:
			return errs.Wrap(errs.Unavailable, "database "+f.path, err, "it cannot be looked at")
		case !os.SameFile(was, now):
			return errs.New(errs.Unavailable, "database "+f.path, "%s was replaced while it was in use, so nothing is written any more", filepath.Base(name)).
				WithAdvice("start kumo anew if the new file is right")
		}
	}
	return nil
}

// usable tells why the writer must not commit.
func (w *writer) usable() error {
	if found := w.s.damaged.Load(); found != nil {
		return *found
	}
	return w.files.check()
}

// noteDamage keeps the first error that says that the file is damaged: what is
// written to it afterwards may make it worse.
func (s *Store) noteDamage(code int, err error) {
	switch code & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		if s.damaged.CompareAndSwap(nil, &err) {
			s.log.Error("nothing is written any more", "database", s.name, "error", err)
		}
	}
}
