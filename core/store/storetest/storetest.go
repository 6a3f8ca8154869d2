// Package storetest opens databases for tests. It must be imported by tests
// only.
package storetest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
)

// Open returns a store on a new SQLite file that has the tables of types and no
// others; without types, those of the migrations. It is closed when the test
// ends.
func Open(t testing.TB, types ...*resource.Type) *store.Store {
	t.Helper()
	return OpenDSN(t, "sqlite:"+filepath.Join(t.TempDir(), "kumo.db"), types...)
}

// OpenDSN is Open for a DSN.
func OpenDSN(t testing.TB, dsn string, types ...*resource.Type) *store.Store {
	t.Helper()
	var s *store.Store
	var err error
	if len(types) > 0 {
		s, err = store.OpenDeclared(context.Background(), dsn, Seal(t), Logger(t), types...)
	} else {
		s, err = store.Open(context.Background(), dsn, Seal(t), nil, Logger(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the database: %v", err)
		}
	})
	return s
}

// Seal is the seal of the databases of tests, which open each other's files.
func Seal(t testing.TB) *store.Seal {
	s, err := store.NewSeal(make([]byte, store.SealKeySize))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var update = flag.Bool("update-migrations", false, "write the next migration")

// Migrations proves that the migrations embedded in sql/ make exactly the
// schema that types declare, on SQLite and on the MySQL-like server of mysql, a
// function that returns the DSN of a new empty database. With the flag -update-migrations
// it first writes the missing migration to dir, the folder sql/migrations.
func Migrations(t *testing.T, dir string, mysql func(testing.TB) string, types ...*resource.Type) {
	t.Helper()
	ctx := context.Background()
	text, err := store.NextMigration(ctx, filepath.Join(t.TempDir(), "next.db"), types...)
	if err != nil {
		t.Fatal(err)
	}
	if text != "" && *update {
		t.Fatalf("wrote %s; run the test again", writeMigration(t, dir, text))
	}
	if text != "" {
		t.Fatalf("a migration is missing; run this test with -update-migrations to write it:\n%s", text)
	}
	file := func(testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), resource.NewUUID()+".db") }
	for name, dsn := range map[string]func(testing.TB) string{"sqlite": file, "mysql": mysql} {
		t.Run(name, func(t *testing.T) {
			migrated := schemaOf(t, OpenDSN(t, dsn(t)))
			s, err := store.OpenDeclared(ctx, dsn(t), Seal(t), Logger(t), types...)
			if err != nil {
				t.Fatal(err)
			}
			declared := schemaOf(t, s)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			for line := range strings.Lines(migrated) {
				if !strings.Contains(declared, line) {
					t.Errorf("only in the migrations: %s", line)
				}
			}
			for line := range strings.Lines(declared) {
				if !strings.Contains(migrated, line) {
					t.Errorf("only in the declarations: %s", line)
				}
			}
		})
	}
}

func schemaOf(t *testing.T, s *store.Store) string {
	text, err := s.Schema(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// writeMigration writes the next file of dir and returns its name.
func writeMigration(t *testing.T, dir, text string) string {
	have, err := filepath.Glob(filepath.Join(dir, "*.sql"))
	if err != nil {
		t.Fatal(err)
	}
	name := "schema"
	if len(have) > 0 {
		name = "change"
	}
	file := filepath.Join(dir, fmt.Sprintf("%04d_%s.sql", len(have)+1, name))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// Logger returns a logger that writes to the test's log.
func Logger(t testing.TB) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Output: lines{t}, Level: hclog.Debug, DisableTime: true})
}

type lines struct{ t testing.TB }

// Write implements io.Writer.
func (l lines) Write(p []byte) (int, error) {
	l.t.Helper()
	l.t.Logf("%s", p)
	return len(p), nil
}
