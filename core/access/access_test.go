package access_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/access"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
)

// A house belongs to an account; a room is a part of it, a lamp of the room; a
// pet follows the house but has an owner of its own; the street is everybody's,
// the vault nobody's but the administrator's.
func types(t *testing.T) []*resource.Type {
	column := func(name string) []resource.Field { return []resource.Field{{Name: name, Size: 32, Null: true}} }
	var out []*resource.Type
	for _, decl := range []resource.Type{
		{Name: "Street", Readable: resource.Global},
		{Name: "Vault", Readable: resource.Admin},
		{Name: "House", Owned: true, Discriminator: "name"},
		{Name: "Castle", Parent: "House", DiscriminatorValue: "castle", Fields: column("moat")},
		{Name: "Room", OwnedBy: "house", Fields: column("houseUuid"), Edges: []resource.Edge{{Name: "house", To: "House", Column: "houseUuid"}}},
		{Name: "Lamp", OwnedBy: "room", Fields: column("roomUuid"), Edges: []resource.Edge{{Name: "room", To: "Room", Column: "roomUuid"}}},
		{Name: "Pet", Owned: true, Follows: "houseUuid", Fields: column("houseUuid")},
	} {
		d, err := resource.Declare(decl)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, d)
	}
	return append(out, access.SharedType.Type)
}

type world struct {
	*testing.T
	st  *store.Store
	ctx context.Context
}

func (w *world) put(name string, row map[string]any) {
	w.Helper()
	t, _ := w.st.Registry().Get(name)
	if err := w.st.Update(w.ctx, func(tx *store.Tx) error { return store.InsertValues(w.ctx, tx, t, row) }); err != nil {
		w.Fatal(err)
	}
}

func newWorld(t *testing.T) *world {
	w := &world{t, storetest.Open(t, types(t)...), context.Background()}
	if err := w.st.Registry().Check(); err != nil {
		t.Fatal(err)
	}
	w.put("Street", map[string]any{"uuid": "s"})
	w.put("Vault", map[string]any{"uuid": "v"})
	for _, who := range []string{"alice", "bob"} {
		w.put("House", map[string]any{"uuid": "h-" + who, "accountUuid": who})
		w.put("Castle", map[string]any{"uuid": "h-" + who})
		w.put("Room", map[string]any{"uuid": "r-" + who, "houseUuid": "h-" + who})
		w.put("Lamp", map[string]any{"uuid": "l-" + who, "roomUuid": "r-" + who})
		w.put("Pet", map[string]any{"uuid": "p-" + who, "houseUuid": "h-" + who, "accountUuid": who})
	}
	w.put("Room", map[string]any{"uuid": "r-nobody"})
	return w
}

// rows lists what a condition holds for.
func (w *world) rows(name, account string, f func(*resource.Registry, *resource.Type, string, string) (string, []any)) string {
	w.Helper()
	t, _ := w.st.Registry().Get(name)
	where, args := f(w.st.Registry(), t, "x", account)
	if where == "" {
		where = "1 = 1"
	}
	uuids, err := store.Texts(w.ctx, w.st, "SELECT x.`uuid` FROM `"+name+"` x WHERE "+where+" ORDER BY x.`uuid`", args...)
	if err != nil {
		w.Fatal(err)
	}
	return strings.Join(uuids, " ")
}

func (w *world) want(name, account, read, write string) {
	w.Helper()
	if got := w.rows(name, account, access.Read); got != read {
		w.Errorf("%s reads of %s: %q, want %q", account, name, got, read)
	}
	if got := w.rows(name, account, access.Write); got != write {
		w.Errorf("%s changes of %s: %q, want %q", account, name, got, write)
	}
}

func TestConditions(t *testing.T) {
	w := newWorld(t)
	w.want("Street", "alice", "s", "")
	w.want("Vault", "alice", "", "")
	w.want("House", "alice", "h-alice", "h-alice")
	w.want("Castle", "alice", "h-alice", "h-alice")
	w.want("Room", "alice", "r-alice", "r-alice")
	w.want("Lamp", "alice", "l-alice", "l-alice")
	w.want("Pet", "alice", "p-alice", "p-alice")
	w.want("Pet", "mallory", "", "")

	w.put("SharedResource", map[string]any{"uuid": "1", "ownerAccountUuid": "bob", "receiverAccountUuid": "alice", "resourceUuid": "h-bob"})
	for _, name := range []string{"House h", "Castle h", "Room r", "Lamp l", "Pet p"} {
		name, letter, _ := strings.Cut(name, " ")
		w.want(name, "alice", letter+"-alice "+letter+"-bob", letter+"-alice")
		w.want(name, "bob", letter+"-bob", letter+"-bob")
		w.want(name, "mallory", "", "")
	}
	w.put("SharedResource", map[string]any{"uuid": "2", "ownerAccountUuid": "alice", "toPublic": true, "resourceUuid": "p-alice"})
	w.want("Pet", "mallory", "p-alice", "")
	w.want("House", "mallory", "", "")
}

func TestOwner(t *testing.T) {
	w := newWorld(t)
	reg := w.st.Registry()
	owner := func(name, uuid string) string {
		t.Helper()
		typ, _ := reg.Get(name)
		account, err := access.Owner(w.ctx, w.st, reg, typ, uuid)
		if err != nil {
			t.Fatal(err)
		}
		return account
	}
	for what, want := range map[[2]string]string{
		{"House", "h-bob"}: "bob", {"Castle", "h-bob"}: "bob", {"Room", "r-bob"}: "bob", {"Lamp", "l-bob"}: "bob", {"Pet", "p-bob"}: "bob",
		{"Street", "s"}: "", {"Room", "r-nobody"}: "", {"House", "none"}: "",
	} {
		if got := owner(what[0], what[1]); got != want {
			t.Errorf("%v belongs to %q, want %q", what, got, want)
		}
	}
	for uuid, want := range map[string]string{"h-bob": "House", "l-bob": "Lamp", "s": "Street", "none": ""} {
		typ, err := access.Find(w.ctx, w.st, reg, uuid)
		if err != nil {
			t.Fatal(err)
		}
		if got := map[bool]string{true: ""}[typ == nil]; typ != nil && typ.Name != want || typ == nil && got != want {
			t.Errorf("%s is a %v, want %q", uuid, typ, want)
		}
	}
}

func TestGiveAndForget(t *testing.T) {
	w := newWorld(t)
	reg := w.st.Registry()
	w.put("SharedResource", map[string]any{"uuid": "1", "ownerAccountUuid": "bob", "receiverAccountUuid": "mallory", "resourceUuid": "h-bob"})
	house, _ := reg.Get("House")
	for range 2 { // repeated, it changes nothing
		if err := w.st.Update(w.ctx, func(tx *store.Tx) error { return access.GiveTo(w.ctx, tx, reg, house, "h-bob", "alice") }); err != nil {
			t.Fatal(err)
		}
		w.want("House", "alice", "h-alice h-bob", "h-alice h-bob")
		w.want("Lamp", "alice", "l-alice l-bob", "l-alice l-bob")
		w.want("Pet", "alice", "p-alice p-bob", "p-alice p-bob")
		w.want("House", "bob", "", "")
		w.want("Pet", "bob", "", "")
		w.want("House", "mallory", "h-bob", "")
	}
	for _, gone := range []string{"mallory", "h-bob"} {
		if err := w.st.Update(w.ctx, func(tx *store.Tx) error { return access.Forget(w.ctx, tx, gone) }); err != nil {
			t.Fatal(err)
		}
		w.want("House", "mallory", "", "")
	}
	left, err := store.Texts(w.ctx, w.st, "SELECT `uuid` FROM `SharedResource`")
	if err != nil || !slices.Equal(left, nil) {
		t.Errorf("left: %v, %v", left, err)
	}
}
