package pluginsdk

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// pages is a core with so many rows.
type pages struct {
	Core
	rows  int
	asked []*pluginv1.QueryRequest
	fails error
}

func (p *pages) Query(_ context.Context, q *pluginv1.QueryRequest) (*pluginv1.QueryResponse, error) {
	p.asked = append(p.asked, &pluginv1.QueryRequest{Start: q.Start, Limit: q.Limit, Sort: q.Sort, Conditions: q.Conditions})
	out := &pluginv1.QueryResponse{}
	for i := int(q.Start); i < min(p.rows, int(q.Start+q.Limit)); i++ {
		out.Inventories = append(out.Inventories, fmt.Appendf(nil, `{"uuid":"%d"}`, i))
	}
	return out, p.fails
}

func TestFind(t *testing.T) {
	type row struct {
		UUID string `json:"uuid"`
	}
	for rows, asked := range map[int]int{0: 1, 1: 1, findPage - 1: 1, findPage: 2, 2*findPage + 1: 3} {
		p := &pages{rows: rows}
		all, err := Find[row](t.Context(), p, &pluginv1.QueryRequest{Type: "VmNic", Conditions: []string{"ip=1"}, Limit: 1, Start: 7})
		if err != nil || len(all) != rows || len(p.asked) != asked {
			t.Errorf("of %d rows it finds %d by %d questions, %v", rows, len(all), len(p.asked), err)
		}
		for i, r := range all {
			if r.UUID != fmt.Sprint(i) {
				t.Fatalf("row %d is %s", i, r.UUID)
			}
		}
		if q := p.asked[0]; q.Sort != "uuid" || q.Start != 0 || len(q.Conditions) != 1 {
			t.Errorf("it asks %v", q)
		}
	}
	fails := errs.New(errs.Denied, "query", "no")
	if _, err := Find[row](t.Context(), &pages{fails: fails}, &pluginv1.QueryRequest{}); !errors.Is(err, errs.Denied) {
		t.Errorf("error %v", err)
	}
	if _, err := Find[int](t.Context(), &pages{rows: 1}, &pluginv1.QueryRequest{Type: "VmNic"}); !errors.Is(err, errs.Internal) {
		t.Errorf("rows that do not fit: %v", err)
	}
}

func TestUUIDOf(t *testing.T) {
	a, b := UUIDOf("a", "bc"), UUIDOf("ab", "c")
	if a == b || a != UUIDOf("a", "bc") || CheckUUID("row", a) != nil || a[12] != '4' {
		t.Errorf("%s and %s", a, b)
	}
}
