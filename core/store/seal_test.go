package store_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

type safe struct {
	resource.Base
	Code  string `db:"code" kumo:"text,secret"`
	Spare string `db:"spare" kumo:"text,null,secret"`
	Place string `db:"place" kumo:"size=64"`
}

var safes = resource.Define[safe](resource.Type{Name: "Safe", Path: "/safes", FQN: "org.example.SafeInventory"})

// secret and another are texts that must not be found in a database.
const secret, another = "päss-wörd-4711", "spare-key-0815"

// eachDatabase runs a test with DSNs of a new database.
func eachDatabase(t *testing.T, test func(t *testing.T, dsn string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, "sqlite:"+filepath.Join(t.TempDir(), "safe.db")) })
	t.Run("mariadb", func(t *testing.T) { test(t, mariadb.Start(t)) })
}

func openSafe(t *testing.T, dsn string, key *store.Seal) (*store.Store, error) {
	t.Helper()
	return store.OpenDeclared(ctx, dsn, key, nil, safes.Type)
}

func mustOpen(t *testing.T, dsn string, key *store.Seal) *store.Store {
	t.Helper()
	s, err := openSafe(t, dsn, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustClose(t *testing.T, s *store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// stored returns what the database itself has in a column.
func stored(t *testing.T, s *store.Store, column, uuid string) (text string) {
	t.Helper()
	err := s.Each(ctx, "SELECT `"+column+"` FROM `Safe` WHERE `uuid` = ?", []any{uuid}, func(r *store.Row) error {
		text = r.Text(0)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestSeal proves that each way of writing seals a secret, that each way of
// reading opens it, and that nothing else is sealed.
func TestSeal(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := mustOpen(t, dsn, storetest.Seal(t))
		row := &safe{Base: resource.Base{UUID: resource.NewUUID(), Name: "first"}, Code: secret, Place: "cellar"}
		other := &safe{Base: resource.Base{UUID: resource.NewUUID(), Name: "second"}, Code: secret, Spare: another}
		third := resource.NewUUID()
		update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, safes, row, other) })
		update(t, s, func(tx *store.Tx) error {
			return store.InsertValues(ctx, tx, safes.Type, map[string]any{"uuid": third, "name": "third", "code": secret})
		})
		update(t, s, func(tx *store.Tx) error {
			row.Spare = another
			return store.Save(ctx, tx, safes, row, "spare")
		})
		update(t, s, func(tx *store.Tx) error {
			return store.Set(ctx, tx, safes.Type, third, map[string]any{"spare": another})
		})
		for _, uuid := range []string{row.UUID, other.UUID, third} {
			got, err := store.Get(ctx, s, safes, uuid)
			if err != nil || got.Code != secret || got.Spare != another {
				t.Errorf("%s holds %q and %q, %v", got.Name, got.Code, got.Spare, err)
			}
			values, err := store.GetValues(ctx, s, safes.Type, uuid)
			if err != nil || values["code"] != secret || values["spare"] != another {
				t.Errorf("%s has the values %q and %q, %v", got.Name, values["code"], values["spare"], err)
			}
			for _, column := range []string{"code", "spare"} {
				text := stored(t, s, column, uuid)
				if !strings.HasPrefix(text, "kumo-sealed:") || strings.Contains(text, secret) {
					t.Errorf("%s is stored as %q", column, text)
				}
			}
		}
		if a, b := stored(t, s, "code", row.UUID), stored(t, s, "code", other.UUID); a == b {
			t.Error("the same secret is stored alike, so that one sees that it is")
		}
		if text := stored(t, s, "place", row.UUID); text != "cellar" {
			t.Errorf("a place is stored as %q", text)
		}
		err := s.View(ctx, func(tx *store.Tx) error {
			found, err := store.Find(ctx, store.Cached(tx), safes, "`name` = ?", "second")
			if err == nil && (len(found) != 1 || found[0].Code != secret) {
				t.Errorf("found %+v", found)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		mustClose(t, s)
		searchFiles(t, dsn)
	})
}

// searchFiles looks for the secrets in the files of a SQLite database.
func searchFiles(t *testing.T, dsn string) {
	t.Helper()
	path, ok := strings.CutPrefix(dsn, "sqlite:")
	if !ok {
		return
	}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) == 0 {
		t.Fatalf("files %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte(secret)) || bytes.Contains(text, []byte(another)) {
			t.Errorf("%s has a secret", filepath.Base(file))
		}
	}
}

// TestSealOldRows proves that what was written without a key is sealed by the
// first start with one, once.
func TestSealOldRows(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := mustOpen(t, dsn, nil)
		row := &safe{Base: resource.Base{UUID: resource.NewUUID(), Name: "old"}, Code: secret}
		update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, safes, row) })
		if text := stored(t, s, "code", row.UUID); text != secret {
			t.Fatalf("without a key it is stored as %q", text)
		}
		mustClose(t, s)
		var first string
		for range 2 {
			s = mustOpen(t, dsn, storetest.Seal(t))
			text := stored(t, s, "code", row.UUID)
			if !strings.HasPrefix(text, "kumo-sealed:") || first != "" && text != first {
				t.Errorf("stored as %q, before as %q", text, first)
			}
			first = text
			if got, err := store.Get(ctx, s, safes, row.UUID); err != nil || got.Code != secret || got.Spare != "" {
				t.Errorf("it holds %+v, %v", got, err)
			}
			mustClose(t, s)
		}
	})
}

// TestSealKeys proves that a database is not opened with another key, or
// without, and that a sealed text opens in its column only.
func TestSealKeys(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := mustOpen(t, dsn, storetest.Seal(t))
		row := &safe{Base: resource.Base{UUID: resource.NewUUID(), Name: "moved"}, Code: secret}
		update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, safes, row) })
		sealed := stored(t, s, "code", row.UUID)
		if text, err := store.Secret(s, safes.Type, "code", sealed); err != nil || text != secret {
			t.Errorf("opened by hand it is %q, %v", text, err)
		}
		if text, err := store.Secret(s, safes.Type, "spare", sealed); err == nil {
			t.Errorf("in another column it is %q", text)
		}
		mustClose(t, s)
		wrong, err := store.NewSeal(bytes.Repeat([]byte{7}, store.SealKeySize))
		if err != nil {
			t.Fatal(err)
		}
		for name, key := range map[string]*store.Seal{"another key": wrong, "no key": nil} {
			if _, err := openSafe(t, dsn, key); errs.ClassOf(err) != errs.Refused {
				t.Errorf("opened with %s: %v", name, err)
			}
		}
		mustClose(t, mustOpen(t, dsn, storetest.Seal(t)))
	})
	if _, err := store.NewSeal(make([]byte, 16)); errs.ClassOf(err) != errs.Invalid {
		t.Errorf("a short key: %v", err)
	}
}

// TestSealStatements proves that statements written by hand seal too, or are
// refused when the secret has no argument of its own.
func TestSealStatements(t *testing.T) {
	s, err := openSafe(t, "sqlite:"+filepath.Join(t.TempDir(), "safe.db"), storetest.Seal(t))
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, s)
	row := &safe{Base: resource.Base{UUID: resource.NewUUID(), Name: "by hand"}, Code: "before"}
	update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, safes, row) })
	update(t, s, func(tx *store.Tx) error {
		n, err := tx.Exec(ctx, "UPDATE `Safe` SET `place` = UPPER(?), `code` = ?, `spare` = ? WHERE `name` = ?", "attic", secret, nil, "by hand")
		if err == nil && n != 1 {
			t.Errorf("%d rows", n)
		}
		return err
	})
	got, err := store.Get(ctx, s, safes, row.UUID)
	if err != nil || got.Code != secret || got.Place != "ATTIC" || got.Spare != "" {
		t.Errorf("it holds %+v, %v", got, err)
	}
	for _, query := range []string{
		"UPDATE `Safe` SET `code` = 'plain'",
		"UPDATE `Safe` SET `code` = CONCAT(`code`, ?)",
		"INSERT INTO `Safe` (`uuid`, `name`, `code`) VALUES (?, 'x', 'plain')",
	} {
		err := s.Update(context.Background(), func(tx *store.Tx) error {
			_, err := tx.Exec(ctx, query, "one")
			return err
		})
		if errs.ClassOf(err) != errs.Internal {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// A plugin's secret that an older version stored in a string has room when it is
// sealed, as long as a secret may be, and is sealed with the first start.
func TestSealOldColumns(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		declare := func(kind resource.Kind, secret bool, size int) *resource.Type {
			typ, err := resource.Declare(resource.Type{Name: "Vault", Path: "/vaults", FQN: "org.example.VaultInventory", Fields: []resource.Field{
				{Name: "password", Kind: kind, Null: true, Secret: secret}, {Name: "place", Size: size}}})
			if err != nil {
				t.Fatal(err)
			}
			return typ
		}
		open := func(typ *resource.Type) *store.Store {
			s, err := store.OpenDeclared(ctx, dsn, storetest.Seal(t), nil, typ)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		longest := strings.Repeat("雲", 255)
		old := open(declare(resource.String, false, 64))
		id := resource.NewUUID()
		update(t, old, func(tx *store.Tx) error {
			return store.InsertValues(ctx, tx, declare(resource.String, false, 64), map[string]any{"uuid": id, "name": "old", "password": longest, "place": "cellar"})
		})
		mustClose(t, old)
		now := declare(resource.Text, true, 255)
		var schemas []string
		for range 2 {
			s := open(now)
			row, err := store.GetValues(ctx, s, now, id)
			if err != nil || row["password"] != longest || row["place"] != "cellar" {
				t.Errorf("it holds %v, %v", row, err)
			}
			if err := s.Each(ctx, "SELECT `password` FROM `Vault` WHERE `uuid` = ?", []any{id}, func(r *store.Row) error {
				if text := r.Text(0); !strings.HasPrefix(text, "kumo-sealed:") {
					t.Errorf("it is stored as %.40q", text)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			update(t, s, func(tx *store.Tx) error {
				return store.Set(ctx, tx, now, id, map[string]any{"password": strings.Repeat("雲", 65536)})
			})
			if row, err := store.GetValues(ctx, s, now, id); err != nil || row["password"] != strings.Repeat("雲", 65536) {
				t.Errorf("the longest is lost: %v", err)
			}
			update(t, s, func(tx *store.Tx) error {
				if err := store.Set(ctx, tx, now, id, map[string]any{"password": longest}); err != nil {
					return err
				}
				return store.InsertValues(ctx, tx, now, map[string]any{"uuid": resource.NewUUID(), "name": "new", "place": strings.Repeat("雲", 255)})
			})
			text, err := s.Schema(ctx)
			if err != nil {
				t.Fatal(err)
			}
			schemas = append(schemas, text)
			mustClose(t, s)
		}
		if schemas[0] != schemas[1] {
			t.Errorf("a second start changes the schema:\n%s\n%s", schemas[0], schemas[1])
		}
	})
}
