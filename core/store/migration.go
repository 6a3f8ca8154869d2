package store

import (
	"context"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/resource"
)

// NextMigration returns the text of the migration that is missing between the
// embedded migrations and the declarations of types, "" when there is none. It
// works on a new SQLite file at path. What a declaration no longer has is not
// dropped: that is a migration written by hand.
func NextMigration(ctx context.Context, path string, types ...*resource.Type) (text string, err error) {
	s, err := Open(ctx, "sqlite:"+path, nil, nil, nil)
	if err != nil {
		return "", err
	}
	have, err := introspect(ctx, s)
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	return migration(s.dialect, have, types), err
}

// Schema describes the tables, columns and indexes of the database, one a
// line, sorted, without the table of migrations: two databases of one kind
// have the same schema when the texts are equal.
func (s *Store) Schema(ctx context.Context) (string, error) {
	have, err := introspect(ctx, s)
	delete(have, "schema_migrations")
	for name := range have {
		if len(name) >= 7 && name[:7] == "sqlite_" {
			delete(have, name)
		}
	}
	return have.String(), err
}

// OpenDeclared opens a database whose tables come from the declarations alone,
// without the migrations: what the migrations have to equal, and what tests
// with types of their own need, as those may be called like the core's.
func OpenDeclared(ctx context.Context, dsn string, secrets *Seal, log hclog.Logger, types ...*resource.Type) (*Store, error) {
	reg := resource.NewRegistry()
	if err := reg.Add(types...); err != nil {
		return nil, err
	}
	return open(ctx, dsn, secrets, reg, log, nil, types)
}
