package doctor_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/doctor"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
)

// Rows that cannot be read, and those of what is gone, are named with the reason;
// secrets are not told.
func TestLookForDamage(t *testing.T) {
	box, err := resource.Declare(resource.Type{Name: "Box", Path: "/boxes"})
	if err != nil {
		t.Fatal(err)
	}
	item, err := resource.Declare(resource.Type{Name: "Item", Path: "/items", Fields: []resource.Field{
		{Name: "boxUuid", Null: true}, {Name: "size", Kind: resource.Long, Range: &[2]int64{1, 10}}, {Name: "lit", Kind: resource.Bool},
		{Name: "notes", Kind: resource.Text}, {Name: "pass", Kind: resource.Text, Secret: true, Null: true}},
		Edges: []resource.Edge{{Name: "box", To: "Box", Column: "boxUuid", OnDelete: resource.Cascade}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, dsn := range map[string]string{"sqlite": "sqlite:" + t.TempDir() + "/k.db", "mariadb": mariadb.Start(t)} {
		s := storetest.OpenDSN(t, dsn, box, item)
		err := s.Update(t.Context(), func(tx *store.Tx) error {
			err := store.InsertValues(t.Context(), tx, box, map[string]any{"uuid": "box", "name": "box"})
			for _, uuid := range []string{"a", "b", "c", "d", "e", "f"} {
				if err == nil {
					err = store.InsertValues(t.Context(), tx, item, map[string]any{"uuid": uuid, "name": uuid, "size": 5, "boxUuid": "box", "notes": "x", "pass": "secret"})
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{`Item a boxUuid "gone" there is no such Box`, `Item c size "11" 11 is not from 1 to 10`, `Item f pass "" secret Item.pass: it cannot be opened`}
		damage := []string{"`boxUuid` = 'gone' WHERE `uuid` = 'a'", "`size` = 11 WHERE `uuid` = 'c'"}
		if name == "sqlite" {
			damage = append(damage, "`size` = 'many' WHERE `uuid` = 'b'", "`notes` = x'00ff' WHERE `uuid` = 'd'", "`lit` = 'on' WHERE `uuid` = 'e'")
			want = append(want, `Item b size "many" "many" is no number`, `Item d notes "`+"\x00\xff"+`" it is no text`, `Item e lit "on" "on" is no number`)
		}
		var sealed []byte
		err = s.Each(t.Context(), "SELECT `pass` FROM `Item` WHERE `uuid` = 'f'", nil, func(r *store.Row) error { sealed = []byte(r.Text(0)); return nil })
		if err == nil {
			err = s.Update(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(t.Context(), "UPDATE `Item` SET `pass` = ? WHERE `uuid` = ?", sealed[:len(sealed)-2], "f")
				return err
			})
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, set := range damage {
			if err := s.Update(t.Context(), func(tx *store.Tx) error { _, err := tx.Exec(t.Context(), "UPDATE `Item` SET "+set); return err }); err != nil {
				t.Fatal(err)
			}
		}
		var found []string
		err = doctor.Look(t.Context(), s, []*resource.Type{box, item}, func(m doctor.Misfit) error {
			found = append(found, m.Type+" "+m.UUID+" "+m.Field+` "`+m.Value+`" `+m.Why)
			return nil
		})
		if err != nil || len(found) != len(want) {
			t.Errorf("%s: %v, found %d: %q", name, err, len(found), found)
		}
		for _, w := range want {
			if !slices.ContainsFunc(found, func(f string) bool { return strings.HasPrefix(f, w) }) {
				t.Errorf("%s: %q is not among %q", name, w, found)
			}
		}
	}
}
