package task

import (
	"cmp"
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
		return action.Empty{}, s.onFlow(ctx, p.UUID, false)
	})
	action.Register(r, action.Action{
		Message: "APIForgetFlowMsg", Method: "PUT", Path: "/flows/{uuid}/actions", Async: true, Access: action.Admin, Kind: kind,
		SuccessIfMissing: true,
		Doc:              "Drops a flow that is stuck, for a person has dealt with it: nothing more is undone, and what it holds outside of the database stays there.",
	}, func(ctx context.Context, _ *action.Call, p *forgetParams) (action.Empty, error) {
		return action.Empty{}, s.onFlow(ctx, p.UUID, true)
	})
	action.Register(r, action.Action{
		Message: "APIGetFlowDefinitionsMsg", Method: "GET", Path: "/flows/definitions", Access: action.Admin,
		Doc: "Tells of which steps the flows are made, in order: whether a step touches more than the database, and whether it has something to undo.",
	}, func(context.Context, *action.Call, *struct{}) (definitionsReply, error) {
		return definitionsReply{s.flows.Definitions()}, nil
	})
}

// endMessage asks for the retry or the end of an open flow, in its key's queue.
const endMessage = "EndFlowMsg"

type endParams struct {
	Key    string `api:"key,required"`
	UUID   string `api:"uuid,required"`
	Forget bool   `api:"forget"`
}

func (s *Service) registerEnd(r *action.Registry) {
	action.Register(r, action.Action{
		Message: endMessage, Access: action.Internal, Async: true, Queue: "key", Kind: kindFlow, TakesUp: true,
		Doc: "Goes on with an open flow, or drops it.",
	}, func(ctx context.Context, _ *action.Call, p *endParams) (action.Empty, error) {
		if p.Forget {
			return action.Empty{}, s.flows.Forget(ctx, p.UUID)
		}
		return action.Empty{}, s.flows.Retry(ctx, p.UUID)
	})
}

// onFlow has an open flow retried or forgotten in the queue of its key.
func (s *Service) onFlow(ctx context.Context, uuid string, forget bool) error {
	row, err := s.flows.Open(ctx, uuid)
	if errs.ClassOf(err) == errs.NotFound {
		return nil // it has ended meanwhile
	}
	if err != nil {
		return err
	}
	_, err = s.actions.DoSystem(ctx, endMessage, map[string]any{"key": cmp.Or(row.Key, uuid), "uuid": uuid, "forget": forget})
	return err
}
