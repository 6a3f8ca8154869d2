package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// mysqlBackend runs transactions in parallel on the pool that also reads.
type mysqlBackend struct {
	s    *Store
	pool *pool
}

// sessionSettings make every connection alike, whatever the server's defaults:
// a value that does not fit is an error, and a deadlock or a lock held by a
// dead node shows within ten seconds. READ COMMITTED takes no gap locks, which
// would make inserts of neighbouring rows wait for one another.
var sessionSettings = []string{
	"SET SESSION sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO'",
	"SET SESSION innodb_lock_wait_timeout=10",
	"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
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
	s.readers = newPool(s.name, d.connections, func(ctx context.Context) (*conn, error) {
		c, err := connectMySQL(ctx, connector)
		return c, s.explain(err, "")
	})
	s.backend = &mysqlBackend{s: s, pool: s.readers}
	c, err := s.readers.get(ctx)
	if err != nil {
		return err
	}
	s.readers.put(c)
	return nil
}

// quiet sends what the driver reports beside its errors to our log.
type quiet struct{ s *Store }

// Print implements mysql.Logger.
func (q quiet) Print(v ...any) { q.s.log.Debug("database driver", "database", q.s.name, "message", v) }

func connectMySQL(ctx context.Context, connector driver.Connector) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	dc, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	c := newConn(dc)
	for _, set := range sessionSettings {
		if err := c.execOnce(ctx, set); err != nil {
			c.broken = true
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
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
	c, err := b.pool.get(ctx)
	if err != nil {
		return nil, errs.Retryable(err) && ctx.Err() == nil, err
	}
	defer b.pool.put(c)
	if _, err := c.exec(ctx, "START TRANSACTION", nil); err != nil {
		return nil, c.broken, b.s.explain(err, "START TRANSACTION")
	}
	tx := &Tx{s: b.s, c: c}
	if err := b.s.call(tx, fn); err != nil {
		again := c.broken || deadlocked(err)
		if !c.broken {
			if _, rerr := c.exec(context.WithoutCancel(ctx), "ROLLBACK", nil); rerr != nil {
				c.broken = true // the server rolls back when the connection ends
			}
		}
		return nil, again, err
	}
	if c.broken {
		return nil, true, errs.New(errs.Unavailable, "database "+b.s.name, "the connection was lost")
	}
	if _, err := c.exec(context.WithoutCancel(ctx), "COMMIT", nil); err != nil {
		if deadlocked(err) { // Galera: certification failed, nothing was committed
			return nil, true, b.s.explain(err, "COMMIT")
		}
		c.broken = true
		return nil, false, errs.Wrap(errs.Unavailable, "database "+b.s.name, err, "the connection was lost during the commit, which may have happened")
	}
	return tx.hooks, false, nil
}

func (b *mysqlBackend) beginView(ctx context.Context, c *conn) error {
	if _, err := c.exec(ctx, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", nil); err != nil {
		return err
	}
	_, err := c.exec(ctx, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", nil)
	return err
}

// change takes a named lock, so that of several nodes that start together one
// changes the schema. MySQL commits each schema change by itself.
func (b *mysqlBackend) change(ctx context.Context, fn func(context.Context, *Tx) error) error {
	c, err := b.pool.get(ctx)
	if err != nil {
		return err
	}
	defer b.pool.put(c)
	var locked int64
	err = c.query(ctx, false, "SELECT GET_LOCK(CONCAT('kumo-schema-', DATABASE()), 50)", nil, func(r *Row) error {
		locked = r.Int(0)
		return nil
	})
	if err != nil {
		return b.s.explain(err, "GET_LOCK")
	}
	if locked != 1 {
		return errs.New(errs.Unavailable, "database "+b.s.name, "another node is changing the schema").WithAdvice("wait for it and start again")
	}
	err = b.s.call(&Tx{s: b.s, c: c}, func(tx *Tx) error { return fn(ctx, tx) })
	unlock := "SELECT RELEASE_LOCK(CONCAT('kumo-schema-', DATABASE()))"
	if uerr := c.query(context.WithoutCancel(ctx), false, unlock, nil, func(*Row) error { return nil }); uerr != nil {
		c.broken = true // the lock ends with the connection
	}
	return err
}

func (b *mysqlBackend) close() error { return nil }
