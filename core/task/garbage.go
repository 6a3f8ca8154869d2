package task

import (
	"context"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
)

type triggerParams struct {
	UUID string `api:"uuid,path,required,resource=GCJob" doc:"The record of what is left."`
}

type deleteParams struct {
	UUID string `api:"uuid,path,required,resource=GCJob,missingok" doc:"The record of what is left."`
}

// registerGarbage registers what can be done about what deletes have left in the
// outside world. It is listed by the query of its type.
func (s *Service) registerGarbage(r *action.Registry) {
	action.Register(r, action.Action{
		Message: "APITriggerGCJobMsg", Method: "PUT", Path: "/gc-jobs/{uuid}/actions", Async: true, Access: action.Admin, Kind: kind,
		View: action.View{Verb: "run", Caption: resource.Say("Clean up", "立即清理")},
		Doc:  "Cleans up now what a delete has left. The call fails, and says why, when that is still not possible.",
	}, func(ctx context.Context, _ *action.Call, p *triggerParams) (action.Empty, error) {
		return action.Empty{}, s.cascade.CollectOne(ctx, p.UUID)
	})
	action.Register(r, action.Action{
		Message: "APIDeleteGCJobMsg", Method: "DELETE", Path: "/gc-jobs/{uuid}", Async: true, Access: action.Admin, Kind: kind, SuccessIfMissing: true,
		Doc: "Forgets what a delete has left, for a person has dealt with it: it stays where it is.",
	}, func(ctx context.Context, _ *action.Call, p *deleteParams) (action.Empty, error) {
		return action.Empty{}, s.cascade.Forget(ctx, p.UUID)
	})
}
