package store

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/go-sql-driver/mysql"
	sqlite "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// explain gives an error of a driver its class, the database's name and
// advice. Errors that have a class already stay as they are.
func (s *Store) explain(err error, query string) error {
	var known *errs.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	object := "database " + s.name
	var lite *sqlite.Error
	var my *mysql.MySQLError
	var netErr net.Error
	switch {
	case errors.As(err, &lite):
		err = explainSQLite(lite, object, query)
		s.noteDamage(lite.Code(), err)
		return err
	case errors.As(err, &my):
		return explainMySQL(my, object, query)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return errs.Wrap(errs.ClassOf(err), object, err, "%.60s", query)
	case lost(err), errors.As(err, &netErr):
		return errs.Wrap(errs.Unavailable, object, err, "the connection is lost").WithAdvice("check the database server and the network")
	}
	if s.pool != nil {
		select {
		case <-s.pool.closed:
			return errClosed(s.name) // while the statement was on its way
		default:
		}
	}
	return errs.Wrap(errs.Internal, object, err, "%.120s", query)
}

func explainSQLite(err *sqlite.Error, object, query string) error {
	switch err.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		_, columns, _ := strings.Cut(err.Error(), "failed: ")
		columns, _, _ = strings.Cut(columns, " (")
		return errs.Wrap(errs.Exists, "row", err, "another row has the same %s", columns)
	}
	switch err.Code() & 0xff {
	case sqlite3.SQLITE_NOTADB:
		return errs.Wrap(errs.Internal, object, err, "the file is not an SQLite database, or its first page is damaged").
			WithAdvice("check the path; if it is right, restore the file from a backup; kumo has not changed it")
	case sqlite3.SQLITE_CORRUPT:
		return errs.Wrap(errs.Internal, object, err, "the file is damaged").
			WithAdvice("stop kumo, keep a copy, and restore a backup or save what is readable with: sqlite3 FILE .recover")
	case sqlite3.SQLITE_FULL:
		return errs.Wrap(errs.Unavailable, object, err, "the disk is full").WithAdvice("free space; nothing was written")
	case sqlite3.SQLITE_IOERR:
		return errs.Wrap(errs.Unavailable, object, err, "the disk failed").WithAdvice("check the disk and the system's log")
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return errs.Wrap(errs.Unavailable, object, err, "another program holds a lock on the file").
			WithAdvice("end the program that has the file open")
	case sqlite3.SQLITE_CANTOPEN:
		return errs.Wrap(errs.Internal, object, err, "the file cannot be opened").
			WithAdvice("make sure that the folder exists and is writable")
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return errs.Wrap(errs.Internal, object, err, "the file is not writable").WithAdvice("check its owner and mode")
	case sqlite3.SQLITE_INTERRUPT:
		return errs.Wrap(errs.Cancelled, object, err, "%.60s", query)
	}
	return errs.Wrap(errs.Internal, object, err, "%.120s", query)
}

// noTransaction reports that there was nothing to roll back: SQLite ends the
// transaction by itself when the disk is full or fails.
func noTransaction(err error) bool {
	return strings.Contains(err.Error(), "no transaction is active")
}

// alreadyThere reports that a table, column or index exists already, or that a
// table has its new name, an index is gone. On SQLite a migration that was
// interrupted has changed nothing.
func alreadyThere(err error, stmt string) bool {
	var my *mysql.MySQLError
	if errors.As(err, &my) {
		renames, drops := strings.Contains(stmt, " RENAME TO "), strings.Contains(stmt, " DROP INDEX ")
		return my.Number == 1050 || my.Number == 1060 || my.Number == 1061 || renames && my.Number == 1146 || drops && my.Number == 1091
	}
	var lite *sqlite.Error
	return errors.As(err, &lite) && (strings.Contains(lite.Error(), "already exists") || strings.Contains(lite.Error(), "duplicate column name"))
}

func explainMySQL(err *mysql.MySQLError, object, query string) error {
	switch err.Number {
	case 1062:
		return errs.Wrap(errs.Exists, "row", err, "another row has the same unique values")
	case 1406, 1264, 1366:
		return errs.Wrap(errs.Invalid, "row", err, "a value does not fit its column")
	case 1213, 1205:
		return errs.Wrap(errs.Unavailable, object, err, "the transaction met others and was rolled back")
	case 1044, 1045, 1142:
		return errs.Wrap(errs.Internal, object, err, "the database user may not do this").WithAdvice("check user, password and grants")
	case 1049:
		return errs.Wrap(errs.Internal, object, err, "the database does not exist").WithAdvice("CREATE DATABASE it and grant the user all rights on it")
	case 1040, 1203, 1053, 1290, 1836, 1927, 1047:
		return errs.Wrap(errs.Unavailable, object, err, "the server refuses work now")
	}
	return errs.Wrap(errs.Internal, object, err, "%.120s", query)
}

// deadlocked reports an error after which MySQL asks to repeat the transaction.
func deadlocked(err error) bool {
	var my *mysql.MySQLError
	return errors.As(err, &my) && (my.Number == 1213 || my.Number == 1205 || my.Number == 1020)
}
