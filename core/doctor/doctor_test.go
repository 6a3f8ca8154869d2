package doctor_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/doctor"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
)

// Rows that break a rule are found, all others are not, and nothing is changed.
func TestLook(t *testing.T) {
	ctx := context.Background()
	typ, err := resource.Declare(resource.Type{Name: "Server", Path: "/servers", Fields: []resource.Field{
		{Name: "dns", Holds: "addr", Null: true}, {Name: "mac", Holds: "mac"}, {Name: "mode"}, {Name: "key", Holds: "key", Secret: true, Kind: resource.Text}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, dsn := range map[string]string{"sqlite": "sqlite:" + t.TempDir() + "/k.db", "mariadb": mariadb.Start(t)} {
		s := storetest.OpenDSN(t, dsn, typ)
		err := s.Update(ctx, func(tx *store.Tx) error {
			for uuid, v := range map[string][3]string{"a": {"192.0.2.1", "fa:00:00:00:00:01", "on"}, "b": {"0.0.0.0", "FA:00:00:00:00:01", "on"}, "c": {"", "", "odd"}, "d": {"", "", "on"}} {
				if err := store.InsertValues(ctx, tx, typ, map[string]any{"uuid": uuid, "name": uuid, "dns": v[0], "mac": v[1], "mode": v[2], "key": "x"}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Update(ctx, func(tx *store.Tx) error { // stored as a version before Compose did
			_, err := tx.Exec(ctx, "UPDATE `Server` SET `name` = ? WHERE `uuid` = ?", "cafe\u0301", "d")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		now := *typ // as a later version declares it
		now.Fields = slices.Clone(typ.Fields)
		mode := slices.IndexFunc(now.Fields, func(f resource.Field) bool { return f.Name == "mode" })
		now.Fields[mode].Values = []string{"on", "off"}
		var found []string
		look := func(f func(doctor.Misfit) error) error { return doctor.Look(ctx, s, []*resource.Type{&now}, f) }
		if err := look(func(m doctor.Misfit) error {
			found = append(found, m.UUID+" "+m.Field+" "+m.Why)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{`b dns "0.0.0.0" is not the IP address of a machine`, `b mac "FA:00:00:00:00:01" is spelled "fa:00:00:00:00:01"`, `c mode "odd" is not one of on, off`, "d name \"cafe\u0301\" is not composed"} {
			if len(found) != 4 || !strings.HasPrefix(found[i], want) {
				t.Errorf("%s: found %q, want %q", name, found, want)
				break
			}
		}
		enough := errors.New("enough")
		if err := look(func(doctor.Misfit) error { return enough }); !errors.Is(err, enough) {
			t.Errorf("%s: it went on: %v", name, err)
		}
	}
}

func TestMain(m *testing.M) { os.Exit(mariadb.Main(m)) }
