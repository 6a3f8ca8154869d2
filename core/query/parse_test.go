package query_test

import (
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/query"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want query.Query
		err  string
	}{
		{"", query.Query{}, ""},
		{"q=a=b&q=c!%3Fd", query.Query{}, "no operator"},
		{"q=a!=b=c", query.Query{Conditions: []query.Condition{{Name: "a", Op: query.Ne, Value: "b=c"}}}, ""},
		{"q=a=b!%3D", query.Query{Conditions: []query.Condition{{Name: "a=b", Op: query.Ne}}}, ""},
		{"q=+a+is+null", query.Query{Conditions: []query.Condition{{Name: "a", Op: query.IsNull}}}, ""},
		{"q=a+is+not+null", query.Query{Conditions: []query.Condition{{Name: "a is", Op: query.NotNull}}}, ""},
		{"q=a!~%3Dx%25", query.Query{Conditions: []query.Condition{{Name: "a", Op: query.NotLike, Value: "x%"}}}, ""},
		{"sort=%2Bname&start=3&limit=4", query.Query{Sort: "name", Start: 3, Limit: 4}, ""},
		{"sort=+name", query.Query{Sort: "name"}, ""},
		{"sort=-name", query.Query{Sort: "name", Desc: true}, ""},
		{"fields=a,b&fields=c", query.Query{Fields: []string{"a", "b", "c"}}, ""},
		{"count=True&replyWithCount=false&groupBy=x&other=1", query.Query{Count: true, GroupBy: "x"}, ""},
		{"limit=0", query.Query{}, "at least 1"},
		{"limit=-1", query.Query{}, "is not a number"},
		{"start=1.5", query.Query{}, "is not a number"},
		{"count=perhaps", query.Query{}, "neither true nor false"},
		{"sort=-", query.Query{}, "names no field"},
		{"filterName=x:y", query.Query{}, "no filter"},
		{strings.Repeat("q=a=b&", 49), query.Query{}, "more than 48"},
	} {
		v, err := url.ParseQuery(c.text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := query.Parse(v)
		switch {
		case c.err != "":
			if errs.ClassOf(err) != errs.Invalid || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q: %v", c.text, err)
			}
		case err != nil || !reflect.DeepEqual(got, c.want):
			t.Errorf("%q: %+v, %v", c.text, got, err)
		}
	}
}

// FuzzCondition proves that any text is either refused as a wrong argument or
// answered by the database: nothing of it gets into the SQL.
func FuzzCondition(f *testing.F) {
	for _, seed := range []string{"name=a", "a!=b", "vmNics.ip~=10.%", "hostUuid is null", "__systemTag__!?=a,b", "name='; DROP TABLE Zone; --",
		"name`=x", "host.cluster.zone.name?=,,", "createDate>Feb 3, 2024 4:05:06 AM", "cpuNum=1e3", "ha=true", "\xff=\x00", "..=", "name~=%\\"} {
		f.Add(seed)
	}
	s := storetest.Open(f, sample()...)
	if err := load(s, "VmInstance uuid=v1 name=a"); err != nil {
		f.Fatal(err)
	}
	e := query.New(s, s.Registry())
	f.Fuzz(func(t *testing.T, text string) {
		c, err := query.ParseCondition(text)
		if err != nil {
			if errs.ClassOf(err) != errs.Invalid {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if !strings.HasSuffix(text, c.Value) || strings.TrimSpace(c.Name) != c.Name || !strings.Contains(text, c.Name) {
			t.Fatalf("%q is read as %+v", text, c)
		}
		res, err := e.Run(ctx, "VmInstance", query.Query{Conditions: []query.Condition{c}}, query.Scope{Admin: true})
		if err != nil && errs.ClassOf(err) != errs.Invalid {
			t.Fatalf("%q: %v", text, err)
		}
		if err == nil && len(res.Inventories) > 1 {
			t.Fatalf("%q: %d inventories of one row", text, len(res.Inventories))
		}
	})
}
