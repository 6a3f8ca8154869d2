package resource

import (
	"reflect"
	"strings"
	"sync"
	"testing"
)

type every struct {
	Ident
	Owned
	A int32   `db:"a" kumo:"range=-1:10,unit=seconds" caption:"Pause|间隔"`
	B bool    `db:"b" kumo:"default=true"`
	C float64 `db:"c" kumo:"default=0.5,volatile"`
	D string  `db:"d" kumo:"ref=Zone,format=cidr"`
	E string  `db:"e" kumo:"refby=d,hidden"`
	F *Time   `db:"f"`
	G *string `db:"g"`
	H string  `db:"-"`
}

func TestTags(t *testing.T) {
	typ := Define[every](Type{Name: "Every"})
	for _, want := range []Field{
		{Name: "a", Kind: Int, Range: &[2]int64{-1, 10}, Unit: "seconds", Caption: Say("Pause", "间隔")},
		{Name: "b", Kind: Bool, Default: "true"},
		{Name: "c", Kind: Double, Default: "0.5", Volatile: true},
		{Name: "d", Size: 255, Ref: "Zone", Format: "cidr"},
		{Name: "e", Size: 255, RefBy: "d", Hidden: true},
		{Name: "f", Kind: TimeKind, Null: true},
		{Name: "g", Size: 255, Null: true},
	} {
		if got, ok := typ.Field(want.Name); !ok || !reflect.DeepEqual(*got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if _, ok := typ.Field("H"); ok || len(typ.Fields) != 11 {
		t.Errorf("fields %+v", typ.Fields)
	}
	for _, c := range typ.Columns() {
		if c.Pointer != (c.Field.Name == "f" || c.Field.Name == "g") {
			t.Errorf("column %s is a pointer: %v", c.Field.Name, c.Pointer)
		}
	}
	if !typ.Owned || typ.Readable != Owner {
		t.Error("a row with an account belongs to it")
	}
}

func TestBadFields(t *testing.T) {
	long := strings.Repeat("a", 61)
	for want, f := range map[string]Field{
		"a name has 1 to 60":         {Name: ""},
		"1 to 60 characters":         {Name: long},
		"begins with a letter":       {Name: "1a"},
		"letters and digits":         {Name: "a_b"},
		"unknown kind 7":             {Name: "a", Kind: 7},
		"outside 1..4096":            {Name: "a", Size: 4097},
		"size -1":                    {Name: "a", Size: -1},
		"at most 512 characters":     {Name: "a", Size: 513, Unique: true},
		"an indexed string":          {Name: "a", Kind: Text, Index: true},
		"default \"x\"":              {Name: "a", Kind: Int, Default: "x"},
		"default \"yes\"":            {Name: "a", Kind: Bool, Default: "yes"},
		"default \"1,5\"":            {Name: "a", Kind: Double, Default: "1,5"},
		"default \"now\"":            {Name: "a", Kind: TimeKind, Default: "now"},
		"no backslash, semicolon or": {Name: "a", Default: "x;y"},
		"declared twice":             {Name: "UUID", Size: 32},
	} {
		if _, err := Declare(Type{Name: "A", Fields: []Field{f}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", f, err, want)
		}
	}
	for _, f := range []Field{{Name: strings.Repeat("a", 60)}, {Name: "a", Size: 4096}, {Name: "a", Size: 512, Index: true}, {Name: "a", Kind: Long, Default: "-9"},
		{Name: "a", Kind: Double, Default: "1e3"}, {Name: "aUuid"}} {
		typ, err := Declare(Type{Name: "A", Fields: []Field{f}})
		if err != nil {
			t.Errorf("%+v: %v", f, err)
			continue
		}
		if got, _ := typ.Field("aUuid"); got != nil && (!got.IsUUID() || got.Size != 32) {
			t.Errorf("%+v", got)
		}
	}
	for tag, want := range map[string]string{"size=x": "size=x", "range=5": "LOW:HIGH", "nul": "\"nul\"", "null=yes": "\"null=yes\"", "ref": "\"ref\""} {
		var f Field
		if err := f.parseTag(tag); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("tag %s: %v", tag, err)
		}
	}
	for name, want := range map[string]bool{"uuid": true, "zoneUuid": true, "guid": false, "uuids": false} {
		f := Field{Name: name, Size: 32}
		if f.IsUUID() != want {
			t.Errorf("%s holds a uuid: %v", name, f.IsUUID())
		}
	}
	for want, f := range map[bool]Field{true: {Name: "a"}, false: {Name: "a", Secret: true}} {
		if f.Visible() != want {
			t.Errorf("%+v is visible: %v", f, f.Visible())
		}
	}
}

func TestBadDeclarations(t *testing.T) {
	for want, typ := range map[string]Type{
		"it follows x":              {Name: "A", Owned: true, Follows: "x"},
		"an owner of its own":       {Name: "A", Owned: true, OwnedBy: "b"},
		"begins with a slash":       {Name: "A", Path: "/a/"},
		"state column \"name2\"":    {Name: "A", States: &StateMachine{Column: "name2"}},
		"its rows follow others":    {Name: "A", Owned: true, Anywhere: map[string]string{"__a__": "name"}},
		"the name begins with __":   {Name: "A", Owned: true, Follows: "name", Anywhere: map[string]string{"a": "name"}},
		"a string field uuid":       {Name: "A", Fields: []Field{{Name: "uuid", Kind: Long}}},
		"no field that can be":      {Name: "A", Indexes: []Index{{Columns: []string{"uuid", "b"}}}, Fields: []Field{{Name: "b", Kind: Text}}},
		"so it is owned and has":    {Name: "A", Follows: "name"},
		"needs a discriminator":     {Name: "A", Parent: "B"},
		"a name is letters and dig": {Name: "A B"},
	} {
		if _, err := Declare(typ); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", typ, err, want)
		}
	}
	typ, err := Declare(Type{Name: "A", Edges: []Edge{{Name: "b", To: "B", Column: "uuid"}}, Embeds: []Embed{{Name: "bs", Type: "B"}}})
	if err != nil {
		t.Fatal(err)
	}
	if e, ok := typ.Edge("b"); !ok || e.ToColumn != "uuid" {
		t.Errorf("edge %+v", e)
	}
	if _, ok := typ.Edge(""); ok {
		t.Error("an edge without a name was found by it")
	}
	if e, ok := typ.Embed("bs"); !ok || e.Type != "B" {
		t.Errorf("embed %+v", e)
	}
	if _, ok := typ.Embed("b"); ok {
		t.Error("an edge was found as a list")
	}
}

// Looking up takes no lock: types come and go meanwhile, and each look sees one
// state or the other.
func TestRegistryWhileItChanges(t *testing.T) {
	r := declare(t, Type{Name: "Shop", Readable: Global, Discriminator: "name"})
	shop, _ := r.Get("Shop")
	sub, err := Declare(Type{Name: "EShop", Parent: "Shop", DiscriminatorValue: "e", Edges: []Edge{{Name: "shop", To: "Shop", Column: "uuid", Inverse: "online"}}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if n := len(r.All()); n < 1 || n > 2 || r.Root(shop) != shop || len(r.Subtypes("Shop")) > 1 {
					t.Error("a state that never was")
					return
				}
				if e, ok := r.Edge(shop, "online"); ok && (e.To != "EShop" || e.Column != "uuid") {
					t.Errorf("edge %+v", e)
				}
			}
		})
	}
	for range 500 {
		before := r.Version()
		for _, err := range []error{r.Add(sub), r.Swap([]*Type{sub}, nil)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if r.Version() == before {
			t.Fatal("the version did not change")
		}
	}
	close(done)
	all.Wait()
}

func TestLineage(t *testing.T) {
	r := declare(t, Type{Name: "A", Discriminator: "name", Aliases: []Alias{{Name: "x", Path: "a.b"}}, Edges: []Edge{{Name: "e", To: "A", Column: "uuid"}}},
		Type{Name: "B", Parent: "A", DiscriminatorValue: "b", Discriminator: "name"}, Type{Name: "C", Parent: "B", DiscriminatorValue: "c"})
	c, _ := r.Get("C")
	var names []string
	for _, l := range r.Lineage(c) {
		names = append(names, l.Name)
	}
	if !reflect.DeepEqual(names, []string{"A", "B", "C"}) || r.Root(c).Name != "A" {
		t.Errorf("lineage %v", names)
	}
	if p, ok := r.Alias(c, "x"); !ok || p != "a.b" {
		t.Errorf("alias of the root's: %q", p)
	}
	if _, ok := r.Edge(c, "e"); !ok {
		t.Error("no edge of the root's")
	}
	if _, ok := r.Alias(c, "y"); ok {
		t.Error("an alias that nobody has")
	}
	if _, ok := r.ByVO("C"); ok {
		t.Error("a name without VO was taken for one")
	}
	// Two that are each other's parents are no endless walk.
	loop := declare(t, Type{Name: "A", Parent: "B", DiscriminatorValue: "a"}, Type{Name: "B", Parent: "A", DiscriminatorValue: "b"})
	a, _ := loop.Get("A")
	if n := len(loop.Lineage(a)); n != maxDepth {
		t.Errorf("%d types in a circle", n)
	}
	if _, ok := loop.Edge(a, "none"); ok {
		t.Error("an edge was found in a circle")
	}
	// On an error nothing is added.
	one, _ := Declare(Type{Name: "One"})
	two, _ := Declare(Type{Name: "schemaMigrations"})
	if err := r.Add(one, two); err == nil || len(r.All()) != 3 {
		t.Errorf("%v, %d types", err, len(r.All()))
	}
	if err := r.Add(nil); err == nil {
		t.Error("nothing was added")
	}
}

func TestRowsOfAnyType(t *testing.T) {
	row := &struct {
		Base
		Owned
	}{}
	row.Identify("u", "n", "d")
	row.SetAccount("a")
	if row.UUID != "u" || row.Name != "n" || row.Description != "d" || row.AccountUUID != "a" {
		t.Errorf("%+v", row)
	}
	if err := new(Time).Scan("tomorrow"); err == nil || !strings.Contains(err.Error(), "tomorrow") {
		t.Errorf("a time that is none: %v", err)
	}
	if got := UnixMilli(1500); got.UnixMilli() != 1500 || got.Location().String() != "UTC" {
		t.Errorf("%v", got)
	}
}
