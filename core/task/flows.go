package task

import (
	"context"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

type flowParams struct {
	UUID string `api:"uuid,path,required,resource=Flow" doc:"The open flow."`
}

type forgetParams struct {
	UUID string `api:"uuid,path,required,resource=Flow,missingok" doc:"The open flow."`
}

type definitionsReply struct {
	Inventories []flow.Definition `json:"inventories"`
}

// registerFlows registers what can be done about flows that are neither done nor
// undone. They are listed by the query of their type.
func (s *Service) registerFlows(r *action.Registry) {
	action.Register(r, action.Action{
		Message: "APIRetryFlowMsg", Method: "PUT", Path: "/flows/{uuid}/actions", Async: true, Access: action.Admin, Kind: kind,
		Doc: "Goes on now with a flow that is stuck: with its undo when it has failed, else forward. " +
			"The call fails, and says why, when that is still not possible.",
	}, func(ctx context.Context, _ *action.Call, p *flowParams) (action.Empty, error) {
		return action.Empty{}, s.onFlow(ctx, p.UUID, s.flows.Retry)
	})
	action.Register(r, action.Action{
		Message: "APIForgetFlowMsg", Method: "PUT", Path: "/flows/{uuid}/actions", Async: true, Access: action.Admin, Kind: kind,
		SuccessIfMissing: true,
		Doc:              "Drops a flow that is stuck, for a person has dealt with it: nothing more is undone, and what it holds outside of the database stays there.",
	}, func(ctx context.Context, _ *action.Call, p *forgetParams) (action.Empty, error) {
		return action.Empty{}, s.onFlow(ctx, p.UUID, s.flows.Forget)
	})
	action.Register(r, action.Action{
		Message: "APIGetFlowDefinitionsMsg", Method: "GET", Path: "/flows/definitions", Access: action.Admin,
		Doc: "Tells of which steps the flows are made, in order: whether a step touches more than the database, and whether it has something to undo.",
	}, func(context.Context, *action.Call, *struct{}) (definitionsReply, error) {
		return definitionsReply{s.flows.Definitions()}, nil
	})
}

// onFlow calls f with an open flow while it holds the flow's key.
func (s *Service) onFlow(ctx context.Context, uuid string, f func(context.Context, string) error) error {
	row, err := s.flows.Open(ctx, uuid)
	if errs.ClassOf(err) == errs.NotFound {
		return nil // it has ended meanwhile
	}
	if err != nil {
		return err
	}
	return s.under(ctx, row.Key, func() error { return f(ctx, uuid) })
}
