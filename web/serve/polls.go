package serve

import (
	"context"
	"time"

	"github.com/kumo-cloud/kumo/core/job"
	"github.com/kumo-cloud/kumo/web/api"
)

// polls is job.Service as the API sees it.
type polls struct{ *job.Service }

func (p polls) Wait(ctx context.Context, uuid string, limit time.Duration) (api.JobStatus, error) {
	st, err := p.Service.Wait(ctx, uuid, limit)
	return api.JobStatus{Done: st.Done, Err: st.Err, Body: st.Body, Schema: st.Schema}, err
}
