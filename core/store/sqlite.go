package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"

	sqlite "modernc.org/sqlite"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// sqliteConn marks connections of the SQLite driver.
type sqliteConn struct{ driver.Conn }

// PrepareContext implements driver.ConnPrepareContext.
func (c sqliteConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	return c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
}

// sqliteDriver is our own, so that nothing registered by others affects it.
var sqliteDriver = &sqlite.Driver{}

// openSQLite takes the lock file, opens the writer and prepares the readers.
//
// synchronous=FULL (the default) makes every commit durable: what the API has
// confirmed survives a power loss, which matters because hosts go on running
// what the database would have forgotten. One fsync is shared by all commits
// that wait together. NORMAL may lose the last commits at a power loss, never
// at a kill, and is never inconsistent.
func openSQLite(ctx context.Context, s *Store, d dsn) error {
	lock, err := lockFile(d.path)
	if err != nil {
		return err
	}
	w, err := openSQLiteConn(ctx, d, "PRAGMA journal_mode=WAL", "PRAGMA synchronous="+d.synchronous,
		"PRAGMA wal_autocheckpoint=0", "PRAGMA journal_size_limit=67108864", "PRAGMA cache_size=-16384", "PRAGMA temp_store=MEMORY")
	if err == nil {
		err = probe(ctx, w)
	}
	if err != nil {
		return errors.Join(s.explain(err, ""), lock.Close())
	}
	w.steadfast = true
	s.readers = newPool(d.path, d.connections, func(ctx context.Context) (*conn, error) {
		c, err := openSQLiteConn(ctx, d, "PRAGMA query_only=1", "PRAGMA cache_size=-8192", "PRAGMA temp_store=MEMORY")
		return c, s.explain(err, "")
	})
	s.backend = startWriter(s, w, lock, d)
	return nil
}

func openSQLiteConn(ctx context.Context, d dsn, pragmas ...string) (*conn, error) {
	u := url.URL{Scheme: "file", Path: d.path}
	dc, err := sqliteDriver.Open(u.String())
	if err != nil {
		return nil, err
	}
	c := newConn(sqliteConn{dc})
	for _, p := range append([]string{"PRAGMA busy_timeout=5000"}, pragmas...) {
		if err := c.execOnce(ctx, p); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

// probe reads the schema and asks for a write lock, so that a file that is no
// database, is damaged or is written by somebody else is found at the start.
func probe(ctx context.Context, c *conn) error {
	if err := c.query(ctx, true, "SELECT count(*) FROM sqlite_master", nil, func(*Row) error { return nil }); err != nil {
		return err
	}
	if err := c.execOnce(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	return c.execOnce(ctx, "COMMIT")
}

// lockFile makes sure that one process serves the file. The lock ends with
// the process, however it ends.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "database "+path, err, "its lock file cannot be opened").
			WithAdvice("make sure that the folder exists and is writable")
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		owner, _ := io.ReadAll(io.LimitReader(f, 20)) // only for the message
		closeErr := f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errs.Wrap(errs.Refused, "database "+path, closeErr, "process %s serves it already", strings.TrimSpace(string(owner))).
				WithAdvice("end that process, or use another file")
		}
		return nil, errs.Wrap(errs.Internal, "database "+path, err, "its lock file cannot be locked")
	}
	if err := writePID(f); err != nil {
		return nil, errors.Join(fmt.Errorf("database %s: write its lock file: %w", path, err), f.Close())
	}
	return f, nil
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}
