package store

import (
	"context"
	"testing"

	"github.com/kumo-cloud/kumo/core/resource"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

// Names that an older version has stored decomposed are composed once, so that they
// are found; what would be another's then stays, and so do other texts.
func TestOldNamesAreComposed(t *testing.T) {
	const decomposed, composed = "cafe\u0301", "caf\u00e9"
	ctx := context.Background()
	typ := shelf(t, resource.Field{Name: "labelName", Size: 40, Null: true, Unique: true})
	schema := schemasql.Migration{Version: 1, Name: "schema", Text: migration(schemasql.SQLite, schema{}, []*resource.Type{typ})}
	for name, dsn := range dsns(t) {
		t.Run(name, func(t *testing.T) {
			at := dsn()
			s, err := open(ctx, at, nil, resource.NewRegistry(), nil, []schemasql.Migration{schema}, nil)
			if err != nil {
				t.Fatal(err)
			}
			err = s.Update(ctx, func(tx *Tx) error {
				for uuid, label := range map[string]any{"a": decomposed, "b": nil, "c": "e\u0301"} {
					if err := InsertValues(ctx, tx, typ, map[string]any{"uuid": uuid, "name": decomposed, "notes": decomposed, "labelName": label}); err != nil {
						return err
					}
				}
				return InsertValues(ctx, tx, typ, map[string]any{"uuid": "d", "name": "plain", "labelName": composed})
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second start does nothing
				s, err = open(ctx, at, nil, resource.NewRegistry(), nil, []schemasql.Migration{schema, {Version: 2, Name: "composed", Text: "-- none\n"}}, nil)
				if err != nil {
					t.Fatal(err)
				}
				for query, want := range map[string]int{
					"SELECT `uuid` FROM `Shelf` WHERE `name` = '" + composed + "'":        3,
					"SELECT `uuid` FROM `Shelf` WHERE `notes` = '" + decomposed + "'":     3,
					"SELECT `uuid` FROM `Shelf` WHERE `labelName` = '" + decomposed + "'": 1, // it would be d's
					"SELECT `uuid` FROM `Shelf` WHERE `labelName` = '\u00e9'":             1,
					"SELECT `uuid` FROM `Shelf` WHERE `name` = 'plain'":                   1,
				} {
					if found, err := Texts(ctx, s, query); err != nil || len(found) != want {
						t.Errorf("%s: %q, %v; want %d", query, found, err, want)
					}
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
