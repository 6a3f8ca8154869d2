package query

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/resource"
)

func TestAppendValue(t *testing.T) {
	at := time.Date(2017, 11, 14, 22, 20, 57, 0, time.Local)
	for _, c := range []struct {
		kind resource.Kind
		v    any
		want any
	}{
		{resource.String, "plain", "plain"},
		{resource.String, []byte("bytes"), "bytes"},
		{resource.Text, "quote \" back \\ tab \t line \n \r \b \x00 \x1f", "quote \" back \\ tab \t line \n \r \b \x00 \x1f"},
		{resource.String, "雲 \u2028 \u2029 \U0001F577", "雲 \u2028 \u2029 \U0001F577"},
		{resource.String, "bad \xff\xc3 end\xe9", "bad \ufffd\ufffd end\ufffd"},
		{resource.Int, int64(-3), -3.0},
		{resource.Long, []byte("68719476736"), 68719476736.0},
		{resource.Bool, int64(1), true},
		{resource.Bool, "0", false},
		{resource.Double, 0.1, 0.1},
		{resource.Double, math.Inf(1), 0.0},
		{resource.Double, "2.5", 2.5},
		{resource.Double, 1e300, 1e300},
		{resource.TimeKind, at.UnixMilli(), "Nov 14, 2017 10:20:57 PM"},
		{resource.String, int64(7), "7"},
	} {
		b := appendValue(nil, c.kind, c.v)
		var got any
		if err := json.Unmarshal(b, &got); err != nil || got != c.want {
			t.Errorf("%v %#v: %s, %v", c.kind, c.v, b, err)
		}
	}
}

// FuzzText compares with encoding/json.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "a", "\"\\", "\x00\x1f\x7f", "\xff", "雲", "\u2028x\u2029", "a\xe9\x9b", "<&>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var w, g string
		if err := json.Unmarshal(want, &w); err != nil {
			t.Fatal(err)
		}
		b := appendText(nil, s)
		if err := json.Unmarshal(b, &g); err != nil || g != w {
			t.Errorf("%q: %s, encoding/json writes %s, %v", s, b, want, err)
		}
		if string(appendText(nil, []byte(s))) != string(b) {
			t.Errorf("%q: bytes are written differently", s)
		}
	})
}
