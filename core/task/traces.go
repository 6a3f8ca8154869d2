package task

import (
	"context"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/flow"
)

type traceParams struct {
	UUID string `api:"uuid,path,required,resource=Job" doc:"The job."`
}

type traceReply struct {
	Flows []flow.Trace `json:"flows"`
}

// registerTraces registers what tells of the flows of a job.
func (s *Service) registerTraces(r *action.Registry) {
	action.Register(r, action.Action{
		Message: "APIGetJobTraceMsg", Method: "GET", Path: "/jobs/{uuid}/trace", Access: action.Normal,
		Doc: "Tells what the flows of a job did and do: steps, undos, calls of plugins, with their times in milliseconds and errors. " +
			"It is for the job's account and the administrator.",
	}, func(ctx context.Context, _ *action.Call, p *traceParams) (traceReply, error) {
		traces, err := s.flows.Traces(ctx, p.UUID)
		return traceReply{traces}, err
	})
}
