package resource

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

type room struct {
	Base
	Owned
	Floor  int    `db:"floor" kumo:"index,doc=counted from the street, not from zero"`
	Key    string `db:"key" kumo:"text,secret,null"`
	Kind   string `db:"kind" kumo:"size=16,values=Lab|Office,default=Lab,immutable"`
	Notes  string `db:"notes" kumo:"text"`
	Area   *int64 `db:"area"`
	HostID string `db:"hostUuid" kumo:"null,unique"`
	Cached string // no column
}

func TestDefine(t *testing.T) {
	typ := Define[room](Type{Name: "Room", Path: "/rooms"})
	want := []Field{
		{Name: "uuid", Size: 32, Immutable: true},
		{Name: "name", Size: 255, Index: true},
		{Name: "description", Size: 2048, Null: true},
		{Name: "createDate", Kind: TimeKind, Immutable: true, Index: true},
		{Name: "lastOpDate", Kind: TimeKind},
		{Name: "accountUuid", Size: 32, Hidden: true, Index: true},
		{Name: "floor", Kind: Int, Index: true, Doc: "counted from the street, not from zero"},
		{Name: "key", Kind: Text, Secret: true, Null: true},
		{Name: "kind", Size: 16, Values: []string{"Lab", "Office"}, Default: "Lab", Immutable: true},
		{Name: "notes", Kind: Text},
		{Name: "area", Kind: Long, Null: true},
		{Name: "hostUuid", Size: 32, Unique: true, Null: true},
	}
	if !reflect.DeepEqual(typ.Fields, want) {
		t.Errorf("got  %+v\nwant %+v", typ.Fields, want)
	}
	if !typ.Owned || typ.VO() != "RoomVO" || typ.ZQLName() != "room" {
		t.Errorf("%+v", typ.Type)
	}
	row := reflect.ValueOf(room{Base: Base{Name: "n"}, Floor: 3})
	for _, c := range typ.Columns() {
		if v := row.FieldByIndex(c.Path); c.Field.Name == "floor" && v.Int() != 3 || c.Field.Name == "name" && v.String() != "n" {
			t.Errorf("column %s leads to %v", c.Field.Name, v)
		}
	}
}

func TestDefinePanics(t *testing.T) {
	for want, define := range map[string]func(){
		"not a struct":                     func() { Define[int](Type{Name: "X"}) },
		"needs a string field uuid":        func() { Define[struct{}](Type{Name: "X"}) },
		"unknown tag item \"size\"":        func() { Define[bad1](Type{Name: "X"}) },
		"holds no kind":                    func() { Define[bad2](Type{Name: "X"}) },
		"declared twice":                   func() { Define[bad3](Type{Name: "X"}) },
		"not exported":                     func() { Define[bad4](Type{Name: "X"}) },
		"at most 512":                      func() { Define[bad5](Type{Name: "X"}) },
		"has a kumo tag but no db tag":     func() { Define[bad6](Type{Name: "X"}) },
		"letters and digits":               func() { Define[Base](Type{Name: "X;Y"}) },
		"embeds resource.Owned":            func() { Define[Base](Type{Name: "X", Owned: true}) },
		"begins with a slash":              func() { Define[Base](Type{Name: "X", Path: "x"}) },
		"needs a discriminator value":      func() { Define[Base](Type{Name: "X", Parent: "Y"}) },
		"state column \"state\"":           func() { Define[Base](Type{Name: "X", States: &StateMachine{Column: "state"}}) },
		"declared on the field":            func() { Define[Base](Type{Name: "X", Indexes: []Index{{Columns: []string{"name"}}}}) },
		"is no field that can be indexed":  func() { Define[Base](Type{Name: "X", Indexes: []Index{{Columns: []string{"name", "y"}}}}) },
		"no backslash":                     func() { Define[bad7](Type{Name: "X"}) },
		"the fields come from the struct ": func() { Define[Base](Type{Name: "X", Fields: []Field{{Name: "y"}}}) },
	} {
		func() {
			defer func() {
				if p := recover(); p == nil || !strings.Contains(p.(string), want) {
					t.Errorf("want %q, got %v", want, p)
				}
			}()
			define()
		}()
	}
}

type bad1 struct {
	UUID string `db:"uuid" kumo:"size"`
}
type bad2 struct {
	UUID []string `db:"uuid"`
}
type bad3 struct {
	Base
	Name2 string `db:"NAME"`
}
type bad4 struct {
	Base
	x string `db:"x"`
}
type bad5 struct {
	Base
	X string `db:"x" kumo:"size=513,index"`
}
type bad6 struct {
	Base
	X string `kumo:"index"`
}
type bad7 struct {
	Base
	X string `db:"x" kumo:"default=a\\b"`
}

var _ = bad4{x: ""}

func declare(t *testing.T, types ...Type) *Registry {
	t.Helper()
	r := NewRegistry()
	for _, d := range types {
		typ, err := Declare(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Add(typ); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func TestDeclare(t *testing.T) {
	r := declare(t,
		Type{Name: "Bike", Owned: true, Discriminator: "name", Fields: []Field{{Name: "gears", Kind: Int}}},
		Type{Name: "EBike", Parent: "Bike", DiscriminatorValue: "e", Fields: []Field{{Name: "watts", Kind: Int}}})
	names := func(name string) (out []string) {
		typ, ok := r.Get(name)
		if !ok {
			t.Fatal(name)
		}
		for _, f := range typ.Fields {
			out = append(out, f.Name)
		}
		return out
	}
	if got := names("Bike"); !reflect.DeepEqual(got, []string{"uuid", "name", "description", "createDate", "lastOpDate", "accountUuid", "gears"}) {
		t.Error(got)
	}
	if got := names("EBike"); !reflect.DeepEqual(got, []string{"uuid", "watts"}) {
		t.Error(got)
	}
	if err := r.Check(); err != nil {
		t.Error(err)
	}
	e, _ := r.Get("EBike")
	if r.Root(e).Name != "Bike" || len(r.Subtypes("Bike")) != 1 {
		t.Error(r.Root(e), r.Subtypes("Bike"))
	}
	if _, err := Declare(Type{Name: "B", Fields: []Field{{Name: "a b"}}}); err == nil {
		t.Error("a name with a blank")
	}
}

func TestReaders(t *testing.T) {
	to := func(name, typ string) []Edge { return []Edge{{Name: name, To: typ, Column: name + "Uuid"}} }
	column := func(name string) []Field { return []Field{{Name: name + "Uuid", Null: true}} }
	shop := Type{Name: "Shop", Owned: true}
	for name, tt := range map[string]struct {
		types []Type
		fault string // "" = none
	}{
		"owned":  {types: []Type{shop}},
		"a part": {types: []Type{shop, {Name: "Till", OwnedBy: "shop", Fields: column("shop"), Edges: to("shop", "Shop")}}},
		"a part of a part": {types: []Type{shop, {Name: "Till", OwnedBy: "shop", Fields: column("shop"), Edges: to("shop", "Shop")},
			{Name: "Coin", OwnedBy: "till", Fields: column("till"), Edges: to("till", "Till")}}},
		"an embedded part": {types: []Type{{Name: "Shop", Owned: true, Embeds: []Embed{{Name: "tills", Type: "Till", Column: "shopUuid"}}},
			{Name: "Till", OwnedBy: "shop", Fields: column("shop"), Edges: to("shop", "Shop")}}},
		"not said":             {types: []Type{{Name: "Shop"}}, fault: "say who may read its rows"},
		"an owner without any": {types: []Type{{Name: "Shop", Readable: Owner}}, fault: "they have none"},
		"owned by no edge":     {types: []Type{{Name: "Till", OwnedBy: "shop"}}, fault: "no edge"},
		"owned by itself":      {types: []Type{{Name: "Till", OwnedBy: "till", Fields: column("till"), Edges: to("till", "Till")}}, fault: "owned by itself"},
		"owned by what has no owner": {types: []Type{{Name: "Shop", Readable: Global},
			{Name: "Till", OwnedBy: "shop", Fields: column("shop"), Edges: to("shop", "Shop")}}, fault: "has no owner"},
		"a subtype of its own": {types: []Type{{Name: "Shop", Owned: true, Discriminator: "name"}, {Name: "EShop", Parent: "Shop", DiscriminatorValue: "e", Readable: Global}},
			fault: "its root Shop says"},
		"a list that shows too much": {types: []Type{{Name: "Shop", Readable: Global, Embeds: []Embed{{Name: "tills", Type: "Till", Column: "shopUuid"}}},
			{Name: "Till", Owned: true, Fields: column("shop")}}, fault: "need not be allowed to read"},
	} {
		err := declare(t, tt.types...).Check()
		if tt.fault == "" && err != nil || tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)) {
			t.Errorf("%s: got %v, want a fault with %q", name, err, tt.fault)
		}
	}
	for _, bad := range []Type{{Name: "A", Follows: "shopUuid"}, {Name: "A", Owned: true, Follows: "shopUuid"}, {Name: "A", Owned: true, OwnedBy: "shop"}} {
		if _, err := Declare(bad); err == nil {
			t.Errorf("%+v was declared", bad)
		}
	}
}

func TestRegistry(t *testing.T) {
	r := declare(t,
		Type{Name: "Shop", Path: "/shops", Readable: Global},
		Type{Name: "Till", Path: "/tills", Readable: Global, Fields: []Field{{Name: "shopUuid", Null: true}},
			Edges:   []Edge{{Name: "shop", To: "Shop", Column: "shopUuid", OnDelete: Cascade, Inverse: "till"}},
			Aliases: []Alias{{Name: "self", Path: "shop.till"}, {Name: "neighbour", Path: "till", On: "Shop"}}})
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	shop, _ := r.ByVO("ShopVO")
	till, _ := r.ByZQLName("TILL")
	if shop == nil || till == nil {
		t.Fatal("look-ups by wire names")
	}
	if e, ok := r.Edge(shop, "till"); !ok || e.To != "Till" || e.Column != "uuid" || e.ToColumn != "shopUuid" {
		t.Errorf("inverse %+v", e)
	}
	if p, ok := r.Alias(shop, "neighbour"); !ok || p != "till" {
		t.Errorf("alias %q", p)
	}
	in := r.Inbound("Shop")
	if len(in) != 1 || in[0].From != till || in[0].Edge.OnDelete != Cascade {
		t.Errorf("inbound %+v", in)
	}
	before := r.Version()
	for name, typ := range map[string]Type{"twice": {Name: "SHOP"}, "the same path": {Name: "Store", Path: "/shops"}, "reserved": {Name: "sqliteMaster"}} {
		d, err := Declare(typ)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Add(d); err == nil {
			t.Errorf("%s: added", name)
		}
	}
	if err := r.Add(&Type{Name: "Raw"}); err == nil {
		t.Error("a type that was not declared was added")
	}
	if err := r.Add(shop); err != nil {
		t.Error("the same type again:", err)
	}
	till, _ = r.Get("Till")
	if err := r.Swap([]*Type{till}, nil); err != nil {
		t.Fatal(err)
	}
	if _, ok := r.Edge(shop, "till"); ok || r.Version() == before || len(r.All()) != 1 {
		t.Error("the removed type is still there")
	}
}

func TestCheck(t *testing.T) {
	edge := func(e Edge) []Type { return []Type{{Name: "A"}, {Name: "B", Edges: []Edge{e}}} }
	for want, types := range map[string][]Type{
		"edge x: type C is not declared":        edge(Edge{Name: "x", To: "C", Column: "uuid"}),
		"edge x: column y is no field":          edge(Edge{Name: "x", To: "A", Column: "y"}),
		"edge x: y is no field of A":            edge(Edge{Name: "x", To: "A", Column: "uuid", ToColumn: "y"}),
		"neither a name nor a rule":             edge(Edge{To: "A", Column: "uuid"}),
		"its parent C is not declared":          {{Name: "B", Parent: "C", DiscriminatorValue: "b"}},
		"has no discriminator":                  {{Name: "A"}, {Name: "B", Parent: "A", DiscriminatorValue: "b"}},
		"is no field":                           {{Name: "A", Discriminator: "kind"}, {Name: "B", Parent: "A", DiscriminatorValue: "b"}},
		"its own ancestor":                      {{Name: "A", Parent: "B", Discriminator: "uuid", DiscriminatorValue: "a"}, {Name: "B", Parent: "A", Discriminator: "uuid", DiscriminatorValue: "b"}},
		"field name is declared by its parent":  {{Name: "A", Discriminator: "name"}, {Name: "B", Parent: "A", DiscriminatorValue: "b", Fields: []Field{{Name: "name"}}}},
		"the same discriminator value":          {{Name: "A", Discriminator: "name"}, {Name: "B", Parent: "A", DiscriminatorValue: "x"}, {Name: "C", Parent: "A", DiscriminatorValue: "X"}},
		"embed name: another member":            {{Name: "A", Embeds: []Embed{{Name: "name", Type: "A", Column: "uuid"}}}},
		"embed x: y is no field of A":           {{Name: "A", Embeds: []Embed{{Name: "x", Type: "A", Column: "y"}}}},
		"borrowed member x: type C":             {{Name: "A", Borrows: []Borrow{{Name: "x", Type: "C"}}}},
		"alias x: A has no edge y":              {{Name: "A", Aliases: []Alias{{Name: "x", Path: "y.z"}}}},
		"alias x: type C is not declared":       {{Name: "A", Aliases: []Alias{{Name: "x", Path: "y", On: "C"}}}},
		"edge x is declared twice":              {{Name: "A"}, {Name: "B", Edges: []Edge{{Name: "x", To: "A", Column: "uuid"}, {Name: "x", To: "A", Column: "uuid"}}}},
		"declared here and as an inverse by B":  {{Name: "A", Edges: []Edge{{Name: "b", To: "A", Column: "uuid"}}}, {Name: "B", Edges: []Edge{{Name: "a", To: "A", Column: "uuid", Inverse: "b"}}}},
		"alias b: A has an edge of this name":   {{Name: "A", Edges: []Edge{{Name: "b", To: "A", Column: "uuid"}}, Aliases: []Alias{{Name: "b", Path: "b"}}}},
		"discriminator kind of its parent A is": {{Name: "A", Discriminator: "kind"}, {Name: "B", Parent: "A", DiscriminatorValue: "b"}},
	} {
		err := declare(t, types...).Check()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestStates(t *testing.T) {
	m := &StateMachine{Column: "state", Moves: map[string]map[string]string{"stop": {"Running": "Stopping", "Paused": "Stopping"}}}
	if to, err := m.Next("Running", "stop"); to != "Stopping" || err != nil {
		t.Error(to, err)
	}
	if _, err := m.Next("Stopped", "stop"); errs.ClassOf(err) != errs.Internal || !strings.Contains(err.Error(), "Paused, Running") {
		t.Error(err)
	}
	if m.Can("Stopped", "stop") || !m.Can("Paused", "stop") {
		t.Error("Can")
	}
}

func TestTime(t *testing.T) {
	now := Now()
	v, err := now.Value()
	if err != nil {
		t.Fatal(err)
	}
	for _, stored := range []any{v, []byte("1700000000123"), "1700000000123", nil} {
		var got Time
		if err := got.Scan(stored); err != nil {
			t.Error(err)
		}
		if stored == v && got != now || stored == nil && !got.IsZero() {
			t.Errorf("%v became %v", stored, got)
		}
	}
	if v, err := (Time{}).Value(); v != nil || err != nil {
		t.Error(v, err)
	}
	if err := new(Time).Scan(true); err == nil {
		t.Error("scanned a bool")
	}
}

func TestNewUUID(t *testing.T) {
	seen := map[string]bool{}
	last := ""
	for range 2000 {
		u := NewUUID()
		if !IsUUID(u) || u[12] != '4' || !strings.ContainsRune("89ab", rune(u[16])) || seen[u] {
			t.Fatal(u)
		}
		if u[:12] < last {
			t.Fatalf("%s is before %s", u, last)
		}
		seen[u], last = true, u[:12]
	}
	time.Sleep(2 * time.Millisecond)
	if NewUUID()[:12] == last {
		t.Error("the time does not move")
	}
	for _, s := range []string{"", strings.Repeat("g", 32), strings.Repeat("A", 32), strings.Repeat("a", 31)} {
		if IsUUID(s) {
			t.Errorf("%q is no uuid", s)
		}
	}
}
