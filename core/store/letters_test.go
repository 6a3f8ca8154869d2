package store

import (
	"context"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

// TestLettersOfMySQL compares what MySQL compares letters by with what SQLite
// does, for every character.
func TestLettersOfMySQL(t *testing.T) {
	s, err := OpenDeclared(context.Background(), mariadb.Start(t), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	const step = 1 << 16
	differ := 0
	for from := 1; from <= utf8.MaxRune; from += step {
		query := "SELECT seq, CONVERT(" + s.Folded("CONVERT(CHAR(seq USING utf32) USING utf8mb4)") + " USING utf8mb4) FROM seq_1_to_1114111 WHERE seq BETWEEN ? AND ?"
		err := s.Each(context.Background(), query, []any{from, from + step - 1}, func(r *Row) error {
			if c := rune(r.Int(0)); utf8.ValidRune(c) && schemasql.Fold(string(c)) != r.Text(1) {
				if differ++; differ < 20 {
					t.Errorf("%U %c: %q here, %q there", c, c, schemasql.Fold(string(c)), r.Text(1))
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestLetters proves that names are found, ordered and unique by their letters,
// and that an index finds them.
func TestLetters(t *testing.T) {
	ctx := context.Background()
	place, err := resource.Declare(resource.Type{Name: "Place", Path: "/places", Fields: []resource.Field{{Name: "name", Unique: true}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, dsn := range dsns(t) {
		t.Run(name, func(t *testing.T) {
			s, err := OpenDeclared(ctx, dsn(), nil, nil, place)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			add := func(name string) error {
				return s.Update(ctx, func(tx *Tx) error {
					return InsertValues(ctx, tx, place, map[string]any{"uuid": resource.NewUUID(), "name": name})
				})
			}
			for _, name := range []string{"Ñandú", "Nandu", "nandú", "Σίσυφος", "Ქართული", "😀", "😎", "name", "name "} {
				if err := add(name); err != nil {
					t.Errorf("%q: %v", name, err)
				}
			}
			for _, name := range []string{"ñandÚ", "ΣΊΣΥΦΟΣ", "ქართული", "NAME"} {
				if add(name) == nil {
					t.Errorf("%q is there twice", name)
				}
			}
			column := s.Dialect().FoldedName()
			n, err := Count(ctx, s, place, "`"+column+"` = ?", schemasql.Fold("ñANDÚ"))
			if err != nil || n != 1 {
				t.Errorf("%d rows, %v", n, err)
			}
			explain := "EXPLAIN "
			if s.Dialect() == schemasql.SQLite {
				explain = "EXPLAIN QUERY PLAN "
			}
			plan := ""
			err = s.Each(ctx, explain+"SELECT `uuid` FROM `Place` WHERE `"+column+"` = ?", []any{"nandu"}, func(r *Row) error {
				for i := range r.Values {
					plan += r.Text(i) + " "
				}
				return nil
			})
			if want := schemasql.IndexName("Place", []string{"name"}, true); err != nil || !strings.Contains(plan, want) {
				t.Errorf("the index %s is not used: %s, %v", want, plan, err)
			}
		})
	}
}

// TestLettersOfOldAccounts proves that a database in which names differ by the
// case of a letter beyond ASCII, as older versions took them, still opens, and
// that the older account keeps its name.
func TestLettersOfOldAccounts(t *testing.T) {
	ctx := context.Background()
	all, err := schemasql.All()
	if err != nil {
		t.Fatal(err)
	}
	before := slices.IndexFunc(all, func(m schemasql.Migration) bool { return m.Name == "letters" })
	dsn := dsns(t)["sqlite"]()
	s, err := open(ctx, dsn, nil, resource.NewRegistry(), nil, all[:before], nil)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Update(ctx, func(tx *Tx) error {
		if _, err := tx.session.ExecContext(ctx, "DROP INDEX `Account_name_unique`"); err != nil {
			return err
		}
		for uuid, a := range map[string][2]any{"first": {"Ñ", 1}, "second": {"ñ", 2}, "third": {"n", 3}} {
			if _, err := tx.Exec(ctx, "INSERT INTO `Account` (`uuid`, `name`, `createDate`) VALUES (?, ?, ?)", uuid, a[0], a[1]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = open(ctx, dsn, nil, resource.NewRegistry(), nil, all, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	names, err := Texts(ctx, s, "SELECT `name` FROM `Account` ORDER BY `createDate`")
	if want := []string{"Ñ", "ñ-second", "n"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("the accounts are %q, %v, want %q", names, err, want)
	}
}
