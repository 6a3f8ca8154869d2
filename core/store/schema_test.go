package store

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

func shelf(t *testing.T, more ...resource.Field) *resource.Type {
	t.Helper()
	typ, err := resource.Declare(resource.Type{Name: "Shelf", Path: "/shelves", Owned: true, Fields: append([]resource.Field{
		{Name: "zoneUuid", Null: true, Index: true}, {Name: "notes", Kind: resource.Text}, {Name: "width", Kind: resource.Int},
		{Name: "weight", Kind: resource.Double, Null: true}, {Name: "lit", Kind: resource.Bool, Default: "true"}, {Name: "seen", Kind: resource.TimeKind},
		{Name: "serial", Size: 64, Null: true, Unique: true},
	}, more...), Indexes: []resource.Index{{Columns: []string{"zoneUuid", "width"}}}})
	if err != nil {
		t.Fatal(err)
	}
	return typ
}

func dsns(t *testing.T) map[string]func() string {
	return map[string]func() string{
		"sqlite":  func() string { return "sqlite:" + filepath.Join(t.TempDir(), "k.db") },
		"mariadb": func() string { return mariadb.Start(t) },
	}
}

// TestMigrationsEqualDeclarations makes two migrations as the generator would
// and proves that they give what a new declaration gives.
func TestMigrationsEqualDeclarations(t *testing.T) {
	ctx := context.Background()
	old := shelf(t)
	now := shelf(t, resource.Field{Name: "colour", Size: 20, Index: true, Default: "it's red"}, resource.Field{Name: "memo", Kind: resource.Text}, resource.Field{Name: "hostUuid"})
	one := schemasql.Migration{Version: 1, Name: "schema", Text: migration(schemasql.SQLite, schema{}, []*resource.Type{old})}
	for name, dsn := range dsns(t) {
		t.Run(name, func(t *testing.T) {
			at := dsn()
			s, err := open(ctx, at, nil, resource.NewRegistry(), nil, []schemasql.Migration{one}, nil)
			if err != nil {
				t.Fatal(err)
			}
			values := map[string]any{"uuid": "u1", "name": "first"}
			if err := s.Update(ctx, func(tx *Tx) error { return InsertValues(ctx, tx, old, values) }); err != nil {
				t.Fatal(err)
			}
			have, err := introspect(ctx, s)
			if err != nil {
				t.Fatal(err)
			}
			two := schemasql.Migration{Version: 2, Name: "change", Text: migration(s.Dialect(), have, []*resource.Type{now})}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			for range 2 { // a second start changes nothing
				if s, err = open(ctx, at, nil, resource.NewRegistry(), nil, []schemasql.Migration{one, two}, nil); err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				row, err := GetValues(ctx, s, now, "u1")
				if err != nil || row["colour"] != "it's red" || row["memo"] != "" || row["lit"] != true {
					t.Errorf("the old row is now %v, %v", row, err)
				}
				migrated, err := s.Schema(ctx)
				if err != nil {
					t.Fatal(err)
				}
				fresh, err := OpenDeclared(ctx, dsn(), nil, nil, now)
				if err != nil {
					t.Fatal(err)
				}
				declared, err := fresh.Schema(ctx)
				if err != nil || declared == "" {
					t.Fatal(err)
				}
				if migrated != declared {
					t.Errorf("migrated:\n%s\ndeclared:\n%s", migrated, declared)
				}
				if err := fresh.Close(); err != nil {
					t.Error(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestMigrationRunsAgain interrupts a migration on MySQL, where each statement
// commits by itself, and starts again.
func TestMigrationRunsAgain(t *testing.T) {
	ctx := context.Background()
	text := migration(schemasql.SQLite, schema{}, []*resource.Type{shelf(t)})
	good := schemasql.Migration{Version: 1, Name: "schema", Text: text + "ALTER TABLE `Shelf` ADD COLUMN `extra` {{.Int}} NOT NULL DEFAULT 0;\n{{.Index \"Shelf\" \"extra\"}};\n"}
	bad := good
	bad.Text += "THIS IS NO SQL;\n"
	for name, dsn := range dsns(t) {
		t.Run(name, func(t *testing.T) {
			at := dsn()
			_, err := open(ctx, at, nil, resource.NewRegistry(), nil, []schemasql.Migration{bad}, nil)
			if err == nil || !strings.Contains(err.Error(), "migration 1 schema failed") {
				t.Fatalf("a wrong migration: %v", err)
			}
			s, err := open(ctx, at, nil, resource.NewRegistry(), nil, []schemasql.Migration{good}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestUnknownSchemaIsRefused(t *testing.T) {
	ctx := context.Background()
	m := func(version int, text string) schemasql.Migration {
		return schemasql.Migration{Version: version, Name: "m", Text: text}
	}
	one, two := m(1, "CREATE TABLE `A` (`uuid` {{.UUID}} NOT NULL PRIMARY KEY{{.End \"A\"}}"), m(2, "DELETE FROM `A`;\n")
	for name, dsn := range dsns(t) {
		t.Run(name, func(t *testing.T) {
			at := dsn()
			s, err := open(ctx, at, nil, resource.NewRegistry(), nil, []schemasql.Migration{one, two}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			for want, all := range map[string][]schemasql.Migration{
				"migration 2 m, this program knows 1": {one},
				"1 m was applied with another text":   {m(1, "-- other\n"), two},
			} {
				_, err := open(ctx, at, nil, resource.NewRegistry(), nil, all, nil)
				if errs.ClassOf(err) != errs.Refused || !strings.Contains(err.Error(), want) {
					t.Errorf("want %q, got %v", want, err)
				}
			}
		})
	}
}

func TestFilesThatCannotBeServed(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(path("text.db"), []byte(strings.Repeat("this is no database ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := path("damaged.db")
	s, err := OpenDeclared(ctx, "sqlite:"+damaged, nil, nil, shelf(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDeclared(ctx, "sqlite:"+damaged, nil, nil); errs.ClassOf(err) != errs.Refused || !strings.Contains(err.Error(), damaged) {
		t.Errorf("a second process: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	overwrite(t, damaged, 100, 3996)
	locked := path("locked.db")
	db, err := sql.Open("sqlite", locked)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, q := range []string{"PRAGMA journal_mode=WAL", "CREATE TABLE x(y)", "BEGIN EXCLUSIVE"} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ path, text string }{
		{path("text.db"), "not an SQLite database"},
		{damaged, "damaged"},
		{locked, "another program holds a lock"},
		{path("no/such/folder.db"), "lock file cannot be opened"},
	} {
		_, err := OpenDeclared(ctx, "sqlite:"+c.path, nil, nil, shelf(t))
		if err == nil || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: %v", c.path, err)
		}
	}
}

func overwrite(t *testing.T, path string, at int64, n int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(strings.Repeat("\xa5", n)), at); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestDSN(t *testing.T) {
	for _, c := range []struct{ dsn, want string }{
		{"", "scheme"},
		{"postgres://x", "scheme \"postgres\" is unknown"},
		{"sqlite:", "needs the path"},
		{"sqlite::memory:", "needs the path"},
		{"sqlite:/x?cache=1", "option \"cache\" is unknown"},
		{"sqlite:/x?synchronous=OFF", "FULL or NORMAL"},
		{"mysql://host/db", "is missing"},
		{"mysql://u:geheim@host", "is missing"},
		{"mysql://u:geheim@host/db?connections=1", "2..1000"},
		{"mysql://u:geheim@ho st/db", "cannot be parsed"},
	} {
		_, err := parseDSN(c.dsn)
		if errs.ClassOf(err) != errs.Invalid || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%q: %v", c.dsn, err)
		}
	}
	d, err := parseDSN("sqlite:///var/lib/kumo.db?synchronous=normal&readers=2")
	if err != nil || d.path != "/var/lib/kumo.db" || d.synchronous != "NORMAL" || d.connections != 2 {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestServerThatIsNotThere(t *testing.T) {
	_, err := Open(context.Background(), "mysql://u:geheim@127.0.0.1:1/db", nil, nil, nil)
	if errs.ClassOf(err) != errs.Unavailable || strings.Contains(err.Error(), "geheim") {
		t.Errorf("%v", err)
	}
}
