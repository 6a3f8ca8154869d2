package origin_test

import (
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/origin"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

type book struct {
	*testing.T
	*store.Store
}

func (b book) tx(f func(tx *store.Tx) error) error { b.Helper(); return b.Update(b.Context(), f) }

func (b book) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func of(row, id string) origin.Origin {
	return origin.Origin{ResourceUUID: row, ResourceType: "Ship", Plugin: "sky", EndpointUUID: "e", EndpointType: "Sky", ForeignID: id}
}

// A thing outside has one row, and a row stands for one thing; names that differ by
// letters are two.
func TestOne(t *testing.T) {
	b := book{t, storetest.Open(t, origin.Types()...)}
	ctx := t.Context()
	set := func(row, id string) error {
		return b.tx(func(tx *store.Tx) error { return origin.Set(ctx, tx, of(row, id)) })
	}
	b.must(b.tx(func(tx *store.Tx) error { return origin.Claim(ctx, tx, of("a", "")) }))
	b.must(b.tx(func(tx *store.Tx) error { return origin.Claim(ctx, tx, of("a", "")) }))
	if claimed, err := origin.Claimed(ctx, b, "e"); err != nil || len(claimed) != 1 || claimed[0] != "Ship" {
		t.Errorf("claimed: %v, %v", claimed, err)
	}
	b.must(set("a", "i-1"))
	b.must(set("a", "i-1"))
	b.must(set("b", "I-1"))
	if claimed, err := origin.Claimed(ctx, b, "e"); err != nil || len(claimed) != 0 {
		t.Errorf("claimed after that: %v, %v", claimed, err)
	}
	for _, pair := range [][2]string{{"a", "i-2"}, {"c", "i-1"}} {
		if err := set(pair[0], pair[1]); errs.ClassOf(err) != errs.Exists {
			t.Errorf("%v: %v", pair, err)
		}
	}
	found, err := origin.Find(ctx, b, "e", []origin.Key{{Type: "Ship", ForeignID: "i-1"}, {Type: "Ship", ForeignID: "I-1"}, {Type: "Isle", ForeignID: "i-1"}})
	if err != nil || len(found) != 2 || found[origin.Key{Type: "Ship", ForeignID: "I-1"}].ResourceUUID != "b" {
		t.Errorf("found: %v, %v", found, err)
	}
	if n, err := origin.Count(ctx, b, "e", []string{"Ship"}); n != 2 || err != nil {
		t.Errorf("there are %d, %v", n, err)
	}
	for range 2 {
		b.must(b.tx(func(tx *store.Tx) error { return origin.Forget(ctx, tx, "a") }))
	}
	b.must(set("c", "i-1"))
}

// What a sync has not met are those that had rows when it began, and only they.
func TestUnseen(t *testing.T) {
	b := book{t, storetest.Open(t, origin.Types()...)}
	ctx := t.Context()
	began := resource.Now()
	old := resource.Time{Time: began.Add(-time.Hour)}
	b.must(b.tx(func(tx *store.Tx) error {
		for _, id := range []string{"1", "2", "3"} {
			o := of("row"+id, id)
			o.CreateDate = old
			if err := origin.Set(ctx, tx, o); err != nil {
				return err
			}
		}
		late := of("late", "4")
		late.CreateDate = began
		if err := origin.Set(ctx, tx, late); err != nil {
			return err
		}
		return origin.Claim(ctx, tx, of("claim", ""))
	}))
	seen, err := origin.Get(ctx, b, "row2")
	b.must(err)
	b.must(b.tx(func(tx *store.Tx) error { return origin.Saw(ctx, tx, "run", []*origin.Origin{seen}) }))
	var rows []string
	for after := ""; ; {
		some, err := origin.Unseen(ctx, b, "e", []string{"Ship"}, "run", began, after, 1)
		b.must(err)
		if len(some) == 0 {
			break
		}
		rows, after = append(rows, some[0].ResourceUUID), some[0].UUID
	}
	if len(rows) != 2 || rows[0] == rows[1] || rows[0] == "row2" || rows[1] == "row2" || rows[0] == "late" || rows[1] == "late" {
		t.Errorf("unseen: %v", rows)
	}
	b.must(b.tx(func(tx *store.Tx) error { return origin.Tell(ctx, tx, seen, "name", "", "acc") }))
	if o, err := origin.Get(ctx, b, "row2"); err != nil || o.Name != "name" || o.AccountUUID != "acc" || o.Seen != "run" {
		t.Errorf("it is %v, %v", o, err)
	}
}
