package render

import (
	"encoding/json"
	"strings"
	"testing"
)

// Answers of every shape are written, and nothing in them acts on a terminal.
func TestOutline(t *testing.T) {
	for _, c := range []struct{ raw, want string }{
		{`{}`, ""},
		{`{"a":1,"name":"x"}`, "a      1\nname   x\n"},
		{`{"none":[],"texts":["a","b"],"big":9007199254740993}`, "none\ntexts   a,b\nbig     9007199254740993\n"},
		{`{"in":{"a":1},"b":2}`, "b   2\nin\n  a   1\n"},
		{`{"rows":[{"a":1},{"b":"two","a":3}]}`, "rows\n  a   b\n  1\n  3   two\n"},
		{`{"rows":[{"a":1,"in":[{"c":"d"}]},{"a":2}]}`, "rows\n  a\n  1\n    in\n      c\n      d\n  2\n"},
		{`{"evil\u001b[2J":"\u009b","rows":[{"\u202e":"\u0007"}]}`, `evil\u001b[2J   \u009b` + "\nrows\n  " + `\u202e` + "\n  " + `\u0007` + "\n"},
	} {
		var b strings.Builder
		if err := Outline(&b, json.RawMessage(c.raw)); err != nil || b.String() != c.want {
			t.Errorf("%s is\n%s(%v), want\n%s", c.raw, b.String(), err, c.want)
		}
	}
}

// Columns stand below each other, also behind characters that take two places.
func TestTableIsStraight(t *testing.T) {
	var x table
	x.add("名称", "b")
	x.add("a", "云主机", "c")
	x.add("", "", "d")
	want := "名称   b\na      云主机   c\n                d\n"
	if got := strings.Join(x.lines(), "\n") + "\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 1023: "1023", 1024: "1K", 1536: "1.5K", 10 << 30: "10G", -1: "-1"} {
		if got := Size(n); got != want {
			t.Errorf("Size(%d) = %s, want %s", n, got, want)
		}
	}
}
