package pluginsdk

import (
	"context"
	"encoding/json"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// findPage is how many rows one question asks for.
const findPage = 1000

// Find returns all rows of a query, page by page, as T, whose members have the names
// of the API in their json tags. q's limit and start are of no account; without a sort
// rows come in the order of their UUIDs, so that one which is there all the time is in
// exactly one page. Errors: those of Core.Query; Internal for what does not fit in T.
func Find[T any](ctx context.Context, core Core, q *pluginv1.QueryRequest) ([]T, error) {
	page := &pluginv1.QueryRequest{Type: q.GetType(), Conditions: q.GetConditions(), Fields: q.GetFields(), Sort: q.GetSort(), As: q.GetAs(), Limit: findPage}
	if page.Sort == "" {
		page.Sort = "uuid"
	}
	var all []T
	for {
		found, err := core.Query(ctx, page)
		if err != nil {
			return nil, err
		}
		for _, text := range found.GetInventories() {
			var row T
			if err := json.Unmarshal(text, &row); err != nil {
				return nil, errs.Wrap(errs.Internal, q.GetType(), err, "a row cannot be read")
			}
			all = append(all, row)
		}
		if len(found.GetInventories()) < findPage {
			return all, nil
		}
		page.Start += findPage
	}
}
