package query

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/resource"
)

func TestAppendValue(t *testing.T) {
	at := time.Date(2017, 11, 14, 22, 20, 57, 0, time.Local)
	stamp, err := json.Marshal(at.UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		kind resource.Kind
		v    string
		want any
	}{
		{resource.String, `"plain"`, "plain"},
		{resource.Text, `"quote \" back \\ tab \t line \n \u0000"`, "quote \" back \\ tab \t line \n \x00"},
		{resource.String, `"雲 \ud83d\udd77"`, "雲 \U0001F577"},
		{resource.String, "7", "7"},
		{resource.Int, "-3", -3.0},
		{resource.Long, `"68719476736"`, 68719476736.0},
		{resource.Long, "1e3", 1000.0},
		{resource.Bool, "1", true},
		{resource.Bool, "true", true},
		{resource.Bool, `"0"`, false},
		{resource.Double, "0.1", 0.1},
		{resource.Double, "9.0e+999", 0.0}, // infinite
		{resource.Double, `"2.5"`, 2.5},
		{resource.Double, "1e300", 1e300},
		{resource.TimeKind, string(stamp), "Nov 14, 2017 10:20:57 PM"},
		{resource.Int, `"no number"`, nil},
	} {
		b := appendValue(nil, c.kind, c.v)
		var got any
		if err := json.Unmarshal(b, &got); err != nil || got != c.want {
			t.Errorf("%v %s: %s, %v", c.kind, c.v, b, err)
		}
	}
}

// sampleShape has one of everything.
func sampleShape() *shape {
	typ := func(name string) *resource.Type { return &resource.Type{Name: name, FQN: "org." + name} }
	child := &shape{typ: typ("child"), cells: []cell{{`"n":`, resource.Int}}}
	return &shape{typ: typ("base"), cells: []cell{{`"a":`, resource.String}, {`"b":`, resource.Bool}},
		borrows: [][]cell{{{`"c":`, resource.Long}}},
		lists:   []listShape{{name: "l", key: `"l":[`, of: child}, {name: "d", key: `"d":[`, desc: true, of: child}, {name: "v", key: `"v":[`, kind: resource.String}},
		subtypes: []*shape{{typ: typ("one"), cells: []cell{{`"s":`, resource.String}}},
			{typ: typ("two"), cells: []cell{{`"t":`, resource.String}}}}}
}

func TestRenderRow(t *testing.T) {
	for _, c := range []struct{ row, want, class string }{
		{`["x",1]|[5]|[]|[]|[]||`, `{"a":"x","b":true,"c":5,"l":[],"d":[],"v":[]}`, "org.base"},
		{`[null, null]||||||["y"]`, `{"l":[],"d":[],"v":[],"t":"y"}`, "org.two"},
		{`["\"],[",0]|[null]|[[2,"u1",7],[10,"u2",8],[null,"u3",9],[2,"u0",6]]|[[1,"u1",1],[2,"u2",2]]|[["b","u1","B"],["A","u2","a"],["c","u3",null]]|["z\\"]|`,
			`{"a":"\"],[","b":false,"l":[{"n":9},{"n":6},{"n":7},{"n":8}],"d":[{"n":2},{"n":1}],"v":["a","B"],"s":"z\\"}`, "org.one"},
		{`["x",1]|[5]|["[1,\"u\",\"7\"]"]|[]|["[1,\"u\",\"q\\\"\"]","[2,\"u\",\"\\u00e9\"]"]||`,
			`{"a":"x","b":true,"c":5,"l":[{"n":7}],"d":[],"v":["q\"","\u00e9"]}`, "org.base"},
	} {
		o, text, err := renderRow(sampleShape(), "", strings.Split(c.row, "|"), nil)
		if err != nil {
			t.Errorf("%s: %v", c.row, err)
			continue
		}
		if string(text) != c.want || o.fqn != c.class {
			t.Errorf("%s:\n got %s %s\nwant %s %s", c.row, text, o.fqn, c.want, c.class)
		}
	}
	for _, broken := range []string{"", "[", "[]||||||", `["x"]||||||`, `["x",1]|||||`, `["x",1]]||||||`, `["x,1]||||||`, `["x",1]|5|||||`, `["x",1]|"[5]"|||||`,
		`["x" 1]||||||`, `["x",1]||["no array"]||||`, `["x",1]||["[1,\"u\",7"]||||`, `["x",1]||[[1,"u"]]||||`} {
		if _, text, err := renderRow(sampleShape(), "", strings.Split(broken, "|"), nil); err == nil {
			t.Errorf("%s was read as %s", broken, text)
		}
	}
}

// FuzzRenderRow: no answer of a database is too strange to be refused, and what
// is taken is JSON when the answer is.
func FuzzRenderRow(f *testing.F) {
	f.Add(`["x",1]|[5]|[[2,"u1",7]]|[]|[["b","u1","B"]]||["y"]`)
	f.Add(`["x",1]|[5]|["[1,\"u\",\"7\"]"]|[]|[]||`)
	f.Fuzz(func(t *testing.T, text string) {
		row := strings.Split(text, "|")
		_, got, err := renderRow(sampleShape(), "", row, nil)
		valid := !slices.ContainsFunc(row, func(c string) bool { return c != "" && !json.Valid([]byte(c)) })
		if err == nil && valid && !json.Valid(got) {
			t.Errorf("%q became %q", text, got)
		}
	})
}
