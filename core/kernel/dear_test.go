package kernel

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

func TestDear(t *testing.T) {
	d := &dear{places: make(chan struct{}, 1), limit: time.Minute}
	account, admin := action.Caller{AccountUUID: "a"}, action.Caller{Admin: true}
	nested, plain := url.Values{"q": {"vmNics.ip=1"}}, url.Values{"q": {"name=a"}, "sort": {"-createDate"}}
	begin := func(v url.Values, c action.Caller) func() {
		t.Helper()
		ctx, end, err := d.begin(t.Context(), v, c)
		if err != nil {
			t.Fatal(err)
		}
		if _, bounded := ctx.Deadline(); bounded == c.Admin {
			t.Errorf("a query of %+v is bounded: %t", c, bounded)
		}
		return end
	}
	first := begin(nested, account)
	// The place is taken; nobody else waits for it than who needs it.
	begin(plain, account)()
	begin(nested, admin)()
	d.limit = time.Millisecond
	if _, _, err := d.begin(t.Context(), nested, account); errs.ClassOf(err) != errs.Timeout {
		t.Errorf("without a place: %v", err)
	}
	first()
	d.limit = time.Minute
	begin(nested, account)()
	begin(url.Values{"sort": {"host.name"}}, account)()
	begin(url.Values{"q": {"__userTag__=a"}}, account)()
	if len(d.places) != 0 {
		t.Errorf("%d places were not given back", len(d.places))
	}
}

func TestDearSaysWhatToDo(t *testing.T) {
	d := &dear{limit: time.Second}
	err := d.explain(t.Context(), "Zone", action.Caller{}, context.DeadlineExceeded)
	if errs.ClassOf(err) != errs.Timeout || !strings.Contains(err.Error(), "Zone") || !strings.Contains(err.Error(), "ask for less") {
		t.Error(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.explain(gone, "Zone", action.Caller{}, context.Canceled); err != context.Canceled {
		t.Errorf("of a client that has gone: %v", err)
	}
	if err := d.explain(t.Context(), "Zone", action.Caller{}, nil); err != nil {
		t.Error(err)
	}
}
