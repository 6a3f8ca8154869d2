package kernel

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// dear keeps the queries of accounts from taking what all need: each has a time,
// and those that reach into other types, whose cost nobody can tell beforehand,
// have half of the database's readers at most. The rest is for sign-in, single
// reads, plain lists, and the administrator.
type dear struct {
	places chan struct{}
	limit  time.Duration
}

// accountQuery is how long a query of an account may take, its wait included.
const accountQuery = 5 * time.Second

func newDear(st *store.Store) *dear {
	return &dear{places: make(chan struct{}, max(1, st.Readers()/2)), limit: accountQuery}
}

// begin waits for a place; end must follow. The context ends when the time is up.
func (d *dear) begin(ctx context.Context, v url.Values, c action.Caller) (limited context.Context, end func(), err error) {
	if c.Admin {
		return ctx, func() {}, nil
	}
	limited, cancel := context.WithTimeout(ctx, d.limit)
	if !reaches(v) {
		return limited, cancel, nil
	}
	select {
	case d.places <- struct{}{}:
		return limited, func() { cancel(); <-d.places }, nil
	case <-limited.Done():
		cancel()
		return nil, nil, limited.Err()
	}
}

// explain says of a query that ended with its time, and not with the caller's,
// what to do.
func (d *dear) explain(ctx context.Context, typeName string, c action.Caller, err error) error {
	if c.Admin || err == nil || ctx.Err() != nil || errs.ClassOf(err) != errs.Timeout {
		return err
	}
	return errs.New(errs.Timeout, "query of "+typeName, "it has not ended within %s", d.limit).
		WithAdvice("ask for less: exact values, and conditions on fewer other types")
}

// reaches tells whether conditions or the order may need other tables. That of a
// value with a point in it is no matter.
func reaches(v url.Values) bool {
	for _, name := range []string{"q", "sort"} {
		for _, text := range v[name] {
			if strings.Contains(text, ".") || strings.Contains(text, "__") {
				return true
			}
		}
	}
	return false
}
