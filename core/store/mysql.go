package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

// mysqlBackend runs transactions in parallel on the pool that also reads.
type mysqlBackend struct{ s *Store }

// sessionSettings make every connection alike, whatever the server's defaults:
// a value that does not fit is an error, and a deadlock or a lock held by a
// dead node shows within ten seconds. READ COMMITTED takes no gap locks, which
// would make inserts of neighbouring rows wait for one another. A list that is
// gathered in one value is not cut off. Row-ID filters, which MariaDB has since 10.4,
// lose rows of some queries that are sorted downwards beside a range of another index:
// a comment of its own turns them off, as other servers do not know the switch.
var sessionSettings = []string{
	"SET SESSION sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO'",
	"SET SESSION innodb_lock_wait_timeout=10 /*M!100401 , SESSION optimizer_switch='rowid_filter=off' */",
	"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
	"SET SESSION group_concat_max_len=1073741824",
}

func openMySQL(ctx context.Context, s *Store, d dsn) error {
	cfg := mysql.NewConfig()
	cfg.User = d.url.User.Username()
	cfg.Passwd, _ = d.url.User.Password()
	cfg.Net, cfg.Addr = "tcp", d.url.Host
	if d.url.Port() == "" {
		cfg.Addr = d.url.Host + ":3306"
	}
	if socket := d.url.Query().Get("socket"); socket != "" {
		cfg.Net, cfg.Addr = "unix", socket
	}
	cfg.DBName = strings.Trim(d.url.Path, "/")
	cfg.Collation = "utf8mb4_general_ci"
	cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout = 5*time.Second, 60*time.Second, 30*time.Second
	cfg.ClientFoundRows = true // rows affected = rows matched, as on SQLite
	cfg.RejectReadOnly = true  // after a failover, leave the old primary
	cfg.TLSConfig = d.tls
	cfg.Logger = mysql.Logger(quiet{s})
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return errs.Wrap(errs.Invalid, "database DSN", err, "%s", d.url.Redacted()).WithAdvice(dsnAdvice)
	}
	db := sqlx.NewDb(sql.OpenDB(alike{connector}), "mysql")
	s.pool = newPool(s.name, db, newStatements(db), d.connections)
	s.backend = &mysqlBackend{s: s}
	var knows int
	if err := db.GetContext(ctx, &knows, "SELECT COUNT(*) FROM information_schema.COLLATIONS WHERE ? LIKE CONCAT('%', COLLATION_NAME)", schemasql.CaseCollation); err != nil {
		return s.explain(err, "")
	}
	if s.older = knows == 0; s.older {
		s.log.Warn("this server does not know letters of later than Unicode 4, which compare with regard to case; MariaDB does from 10.10 on", "database", s.name)
	}
	return nil
}

// quiet sends what the driver reports beside its errors to our log.
type quiet struct{ s *Store }

// Print implements mysql.Logger.
func (q quiet) Print(v ...any) { q.s.log.Debug("database driver", "database", q.s.name, "message", v) }

// alike makes connections that have the session's settings.
type alike struct{ driver.Connector }

// Connect implements driver.Connector.
func (a alike) Connect(ctx context.Context) (driver.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	dc, err := a.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	for _, set := range sessionSettings {
		if _, err := dc.(driver.ExecerContext).ExecContext(ctx, set, nil); err != nil {
			return nil, errors.Join(err, dc.Close())
		}
	}
	return dc, nil
}

// Bounds of repeats after a deadlock: ten tries wait three seconds at most.
const (
	maxTries    = 10
	firstPause  = 5 * time.Millisecond
	longestWait = 500 * time.Millisecond
)

func (b *mysqlBackend) update(ctx context.Context, fn func(*Tx) error) error {
	pause := firstPause
	for try := 1; ; try++ {
		hooks, again, err := b.once(ctx, fn)
		if err == nil {
			for _, f := range hooks {
				f()
			}
			return nil
		}
		if !again || try == maxTries || ctx.Err() != nil {
			return err
		}
		b.s.log.Debug("transaction repeated", "database", b.s.name, "try", try, "error", err)
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return err
		}
		pause = min(2*pause, longestWait)
	}
}

// once runs one try; again says that nothing was committed and that a repeat
// may succeed.
func (b *mysqlBackend) once(ctx context.Context, fn func(*Tx) error) (hooks []func(), again bool, err error) {
	if err := b.s.pool.enter(ctx); err != nil {
		return nil, errs.Retryable(err) && ctx.Err() == nil, err
	}
	defer b.s.pool.leave()
	l, err := b.s.pool.begin(ctx, nil)
	if err != nil {
		err = b.s.explain(err, "START TRANSACTION")
		return nil, errs.Retryable(err), err
	}
	tx := &Tx{s: b.s, session: l, cause: CauseOf(ctx)}
	if err := b.s.call(ctx, tx, fn); err != nil {
		again := tx.lost || deadlocked(err)
		rerr := l.end() // that it failed matters only when fn may run again: the server rolls back by itself
		return nil, again || lost(rerr), err
	}
	if !tx.lost {
		begins(tx.touched)
		err = l.tx.Commit()
		b.s.ended(tx.touched)
	}
	l.broken = tx.lost || err != nil && !deadlocked(err)
	if rerr := l.end(); tx.lost {
		return nil, true, errs.Wrap(errs.Unavailable, "database "+b.s.name, rerr, "the connection was lost")
	}
	if err != nil && deadlocked(err) { // Galera: certification failed, nothing was committed
		return nil, true, b.s.explain(err, "COMMIT")
	}
	if err != nil {
		return nil, false, errs.Wrap(errs.Unavailable, "database "+b.s.name, err, "the connection was lost during the commit, which may have happened")
	}
	tx.committed()
	return tx.hooks, false, nil
}

// change takes a named lock, so that of several nodes that start together one
// changes the schema. MySQL commits each schema change by itself.
func (b *mysqlBackend) change(ctx context.Context, fn func(context.Context, *Tx) error) error {
	if err := b.s.pool.enter(ctx); err != nil {
		return err
	}
	defer b.s.pool.leave()
	conn, err := b.s.pool.db.Connx(ctx)
	if err != nil {
		return b.s.explain(err, "")
	}
	var locked int64
	if err := conn.GetContext(ctx, &locked, "SELECT COALESCE(GET_LOCK(CONCAT('kumo-schema-', DATABASE()), 50), 0)"); err != nil {
		drop(conn)
		return b.s.explain(err, "GET_LOCK")
	}
	if locked != 1 {
		drop(conn)
		return errs.New(errs.Unavailable, "database "+b.s.name, "another node is changing the schema").WithAdvice("wait for it and start again")
	}
	l, err := b.s.pool.beginOn(ctx, conn, nil)
	if err != nil {
		return b.s.explain(err, "START TRANSACTION")
	}
	l.broken = true // the lock ends with the connection
	err = b.s.call(ctx, &Tx{s: b.s, session: l}, func(tx *Tx) error { return fn(ctx, tx) })
	if err == nil {
		err = b.s.explain(l.tx.Commit(), "COMMIT")
	}
	_ = l.end() // closes the connection
	return err
}

func (b *mysqlBackend) close() error { return nil }
