package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

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
	if err := private(d.path); err != nil {
		return errors.Join(err, lock.Close())
	}
	db, conn, err := openWriter(ctx, d)
	if err != nil {
		return errors.Join(s.explain(err, ""), lock.Close())
	}
	readers, err := openFile(d, "deferred", "query_only(1)", "cache_size(-2048)", "temp_store(MEMORY)",
		"mmap_size("+strconv.Itoa(mapped)+")")
	if err != nil {
		return errors.Join(s.explain(err, ""), conn.Close(), db.Close(), lock.Close())
	}
	files, err := filesOf(d.path)
	if err != nil {
		return errors.Join(s.explain(err, ""), readers.Close(), conn.Close(), db.Close(), lock.Close())
	}
	s.pool = newPool(d.path, readers, nil, d.connections)
	s.backend = startWriter(s, db, newDirect(conn), lock, files)
	return nil
}

// mapped bounds how much of the file readers map, in bytes: what is beyond is
// read. A reader's page cache is small, and a fifth of a read by key was the copy
// of pages into it; the operating system holds them anyway, once for all readers.
// The writer maps nothing, as it changes its pages.
const mapped = 256 << 20

// private makes the file so that nobody else can read it, whatever the umask:
// it holds secrets and hashes of passwords. The log and the index of the log
// get the modes of the file when SQLite makes them; those that exist are mended.
// A log whose database is gone or empty is left alone: it may be all there is.
func private(path string) error {
	wal, err := os.Stat(path + "-wal")
	orphan := err == nil && wal.Size() > 0
	if info, err := os.Stat(path); orphan && (errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0) {
		return errs.New(errs.Refused, "database "+path, "it is empty, but its log %s-wal has %d bytes", path, wal.Size()).
			WithAdvice("put the database back from a backup; nothing was changed")
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return errs.Wrap(errs.Invalid, "database "+path, err, "it cannot be opened")
	}
	err = f.Close()
	for _, name := range []string{path, path + "-wal", path + "-shm", path + ".lock"} {
		info, serr := os.Stat(name)
		if errors.Is(serr, os.ErrNotExist) {
			continue
		}
		if serr == nil && info.Mode().Perm()&0o077 != 0 {
			serr = os.Chmod(name, info.Mode().Perm()&0o700)
		}
		err = errors.Join(err, serr)
	}
	if err != nil {
		return errs.Wrap(errs.Invalid, "database "+path, err, "others could read it, which cannot be changed").
			WithAdvice("make its files readable for their owner alone")
	}
	return nil
}

// openFile makes a pool of connections that are alike, whose transactions begin
// in a mode. One that writes begins "immediate": SQLite waits for a lock of
// another connection at the begin, but not at the first write of a transaction
// that has read. A reader takes that lock for a moment when it finds the log's
// header changing.
func openFile(d dsn, mode string, pragmas ...string) (*sqlx.DB, error) {
	u := url.URL{Scheme: "file", Path: d.path}
	u.RawQuery = url.Values{"_txlock": {mode}, "_pragma": append([]string{"busy_timeout(5000)"}, pragmas...)}.Encode()
	return sqlx.Open("sqlite", u.String())
}

// openWriter pins the connection that writes; its pool has another one for
// checkpoints. It reads the schema and asks for a write lock, so that a file
// that is no database, is damaged or is written by somebody else is found now.
func openWriter(ctx context.Context, d dsn) (*sqlx.DB, *sqlx.Conn, error) {
	db, err := openFile(d, "immediate", "journal_mode(WAL)", "synchronous("+d.synchronous+")", "wal_autocheckpoint(0)",
		"journal_size_limit(67108864)", "cache_size(-16384)", "temp_store(MEMORY)")
	if err != nil {
		return nil, nil, err
	}
	db.SetMaxOpenConns(2)
	conn, err := db.Connx(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	if err := probe(ctx, conn); err != nil {
		return nil, nil, errors.Join(err, conn.Close(), db.Close())
	}
	return db, conn, nil
}

func probe(ctx context.Context, conn *sqlx.Conn) error {
	var tables int
	if err := conn.GetContext(ctx, &tables, "SELECT count(*) FROM sqlite_master"); err != nil {
		return err
	}
	for _, query := range []string{"BEGIN IMMEDIATE", "COMMIT"} {
		if _, err := conn.ExecContext(ctx, query); err != nil {
			return err
		}
	}
	return nil
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
		owner, _ := io.ReadAll(io.LimitReader(f, 512)) // only for the message
		closeErr := f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errs.Wrap(errs.Refused, "database "+path, closeErr, "process %s holds it", strings.TrimSpace(string(owner))).
				WithAdvice("end that process, or use another file")
		}
		return nil, errs.Wrap(errs.Internal, "database "+path, err, "its lock file cannot be locked")
	}
	if err := writeOwner(f); err != nil {
		return nil, errors.Join(fmt.Errorf("database %s: write its lock file: %w", path, err), f.Close())
	}
	return f, nil
}

// writeOwner writes for people who holds the lock: "PID of HOST, since TIME".
func writeOwner(f *os.File) error {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = fmt.Fprintf(io.NewOffsetWriter(f, 0), "%d on node %s, since %s\n", os.Getpid(), host, time.Now().UTC().Format(time.RFC3339))
	return err
}
