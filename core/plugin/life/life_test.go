package life

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// lives makes a service over a database, with a plugin "one" that runs and "two" in
// the folder.
func lives(t *testing.T, st *store.Store, grants map[string][]string) *Service {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"one", "two"} {
		if err := os.WriteFile(plugin.Path(dir, name), []byte(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m, err := plugin.Connected(storetest.Logger(t), plugin.Connection{Manifest: &pluginv1.Manifest{Name: "one", Version: "3", Permissions: []string{"setting"}}})
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Dir: dir, Configured: []string{"one"}, Grants: grants, Log: storetest.Logger(t)})
	s.store, s.plugins = st, m
	return s
}

func rows(t *testing.T, st *store.Store) map[string]*Plugin {
	t.Helper()
	list, err := store.Sound(t.Context(), st, Type, func(string, error) {}, "")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*Plugin{}
	for _, row := range list {
		all[row.Name] = row
	}
	return all
}

func write(t *testing.T, st *store.Store, query string, args ...any) {
	t.Helper()
	err := st.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), query, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Each plugin that runs, or is in the folder, has its row; a repeat changes nothing, and
// what is gone, and nobody wanted, goes.
func TestSave(t *testing.T) {
	st := storetest.Open(t, Types()...)
	s := lives(t, st, nil)
	var before map[string]*Plugin
	for range 2 {
		if err := s.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		all := rows(t, st)
		if len(all) != 2 || all["one"].Version != "3" || all["one"].State != Enabled || all["one"].Permissions != "setting" || all["two"].State != Disabled {
			t.Fatalf("rows %+v %+v", all["one"], all["two"])
		}
		if before != nil && all["one"].LastOpDate != before["one"].LastOpDate {
			t.Error("a repeat has changed a row")
		}
		before = all
	}
	if err := os.Remove(plugin.Path(s.o.Dir, "two")); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(t.Context()); err != nil || len(rows(t, st)) != 1 {
		t.Errorf("after a binary has gone: %v, %v", rows(t, st), err)
	}
}

// Rows that cannot be read cost no plugin its start.
func TestDamagedRows(t *testing.T) {
	st := storetest.Open(t, Types()...)
	s := lives(t, st, nil)
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.grant(t.Context(), uuidOf("one"), []string{"setting:vm", "host-call"}); err != nil {
		t.Fatal(err)
	}
	write(t, st, "UPDATE `Plugin` SET `since` = ? WHERE `name` = ?", "noon", "one")
	write(t, st, "UPDATE `PluginGrant` SET `permission` = ? WHERE `permission` = ?", []byte{0xff, 0xfe}, "setting:vm")
	m, err := plugin.New(plugin.Config{Dir: s.o.Dir, Enabled: []string{"one"}, Handler: noCore{}})
	if err != nil {
		t.Fatal(err)
	}
	again := New(s.o)
	if err := again.Recall(t.Context(), st, m); err != nil {
		t.Errorf("recalled: %v", err)
	}
	if err := s.Save(t.Context()); err != nil {
		t.Errorf("saved: %v", err)
	}
	granted, err := s.Granted(t.Context(), "one", []byte("another binary"), nil)
	if err != nil || !slices.Contains(granted, "host-call") {
		t.Errorf("granted %v, %v", granted, err)
	}
}

// What is granted is what the configuration says and the administrator has added, and
// for a binary that is listed all that it asks for; a list that others can write is none.
func TestGranted(t *testing.T) {
	st := storetest.Open(t, Types()...)
	s := lives(t, st, map[string][]string{"one": {"setting:vm"}})
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	sum := []byte{0xab, 0xcd}
	want := func(what string, all ...string) {
		t.Helper()
		granted, err := s.Granted(t.Context(), "one", sum, []string{"asked"})
		if err != nil || !slices.Equal(granted, all) {
			t.Errorf("%s: %v %v, want %v", what, granted, err, all)
		}
	}
	want("configured", "setting:vm")
	for range 2 {
		if err := s.grant(t.Context(), uuidOf("one"), []string{"host-call"}); err != nil {
			t.Fatal(err)
		}
	}
	want("granted", "setting:vm", "host-call")
	if err := s.grant(t.Context(), uuidOf("one"), []string{"everything"}); err == nil {
		t.Error("a permission that does not exist was granted")
	}
	list := filepath.Join(s.o.Dir, Sums)
	if err := os.WriteFile(list, []byte("ABCD *"+filepath.Base(plugin.Path(s.o.Dir, "one"))+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	want("listed", "asked")
	if err := os.Chmod(list, 0o666); err != nil {
		t.Fatal(err)
	}
	want("listed by others", "setting:vm", "host-call")
	for range 2 {
		if err := s.revoke(t.Context(), uuidOf("one"), []string{"host-call"}); err != nil {
			t.Fatal(err)
		}
	}
	want("revoked", "setting:vm")
}

// noCore is a core that plugins do not ask.
type noCore struct{ plugin.CoreHandler }
