package store

import (
	"context"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

const migrationsTable = "CREATE TABLE IF NOT EXISTS `schema_migrations` (`version` BIGINT NOT NULL PRIMARY KEY, `name` VARCHAR(255) NOT NULL, " +
	"`checksum` VARCHAR(64) NOT NULL, `appliedAt` BIGINT NOT NULL)"

// applied is what the database says of one migration.
type applied struct {
	version        int
	name, checksum string
}

// migrate brings the schema to the newest of the migrations.
func (s *Store) migrate(ctx context.Context, all []schemasql.Migration) error {
	return s.backend.change(ctx, func(ctx context.Context, tx *Tx) error {
		for _, table := range []string{migrationsTable, sealTable} {
			if err := s.ddl(ctx, tx, table); err != nil {
				return err
			}
		}
		done, err := s.appliedMigrations(ctx, tx)
		if err != nil {
			return err
		}
		if err := s.compare(done, all); err != nil {
			return err
		}
		for _, m := range all[len(done):] {
			if err := s.apply(ctx, tx, m); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) appliedMigrations(ctx context.Context, tx *Tx) (done []applied, err error) {
	err = tx.Each(ctx, "SELECT `version`, `name`, `checksum` FROM `schema_migrations` ORDER BY `version`", nil, func(r *Row) error {
		done = append(done, applied{int(r.Int(0)), r.Text(1), r.Text(2)})
		return nil
	})
	return done, err
}

// compare refuses a schema that this program does not know.
func (s *Store) compare(done []applied, all []schemasql.Migration) error {
	object := "database " + s.name
	for i, have := range done {
		switch {
		case i >= len(all):
			return errs.New(errs.Refused, object, "its schema has migration %d %s, this program knows %d", have.version, have.name, len(all)).
				WithAdvice("use the newer version of kumo that made it; nothing was changed")
		case have.version != all[i].Version:
			return errs.New(errs.Refused, object, "migration %d is missing in it, but %d was applied", all[i].Version, have.version).
				WithAdvice("restore a backup; nothing was changed")
		case have.checksum != all[i].Checksum():
			return errs.New(errs.Refused, object, "migration %d %s was applied with another text", have.version, have.name).
				WithAdvice("use the version of kumo that made it; nothing was changed")
		}
	}
	return nil
}

func (s *Store) apply(ctx context.Context, tx *Tx, m schemasql.Migration) error {
	stmts, err := m.Statements(s.dialect)
	if err != nil {
		return errs.Wrap(errs.Internal, "migrations", err, "")
	}
	for _, stmt := range stmts {
		if err := s.ddl(ctx, tx, stmt); err != nil {
			return errs.Wrap(errs.ClassOf(err), "database "+s.name, err, "migration %d %s failed", m.Version, m.Name)
		}
	}
	if f := byCode[m.Name]; f != nil {
		if err := f(s, ctx, tx); err != nil {
			return errs.Wrap(errs.ClassOf(err), "database "+s.name, err, "migration %d %s failed", m.Version, m.Name)
		}
	}
	_, err = tx.exec(ctx, "INSERT INTO `schema_migrations` (`version`, `name`, `checksum`, `appliedAt`) VALUES (?, ?, ?, ?)",
		[]value{int64(m.Version), m.Name, m.Checksum(), resource.Now().UnixMilli()})
	if err == nil {
		s.log.Info("migrated", "database", s.name, "version", m.Version, "name", m.Name)
	}
	return err
}

// ddl runs one statement that changes the schema or old rows. What exists
// already is skipped, as after an interrupted migration on MySQL.
func (s *Store) ddl(ctx context.Context, tx *Tx, stmt string) error {
	stmt = s.dialectOf(stmt)
	ctx, err := tx.enter(ctx)
	if err == nil {
		err = tx.write()
	}
	if err == nil {
		_, err = tx.session.ExecContext(ctx, stmt)
	}
	if alreadyThere(err, stmt) {
		return nil
	}
	return tx.note(err, stmt)
}
