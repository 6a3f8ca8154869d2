package kernel

import (
	"context"
	"strconv"

	"github.com/kumo-cloud/kumo/core/action"
)

// progressParams names an API call by its job.
type progressParams struct {
	Job string `api:"apiId,path"`
	All bool   `api:"all,default=false"`
}

// progressStep is one step of a call, in the wire's form.
type progressStep struct {
	TaskUUID string `json:"taskUuid"`
	TaskName string `json:"taskName"`
	// Type is "Task" for a step that has ended and "Progress" for the running
	// one, whose content is the percentage.
	Type    string `json:"type"`
	Content string `json:"content"`
	Opaque  any    `json:"opaque,omitempty"`
	// Time is when the step began, in Unix milliseconds.
	Time int64 `json:"time"`
}

type progressReply struct {
	Inventories []progressStep `json:"inventories"`
}

// RegisterProgress registers APIGetTaskProgressMsg: which step a running call
// is at, and how far. The job's UUID is the capability to read it.
func (k *Kernel) RegisterProgress() {
	action.Register(k.Actions, action.Action{
		Message: "APIGetTaskProgressMsg", Method: "GET", Path: "/task-progresses/{apiId}", Access: action.Normal,
		Doc: "Tells the steps of a running call; the last one has a percentage. With all, ended steps are listed too.",
	}, func(ctx context.Context, _ *action.Call, p *progressParams) (progressReply, error) {
		r := progressReply{Inventories: []progressStep{}}
		t, ok, err := k.Flows.Trace(ctx, p.Job)
		if err != nil || !ok {
			return r, err
		}
		for i, s := range t.Steps {
			step := progressStep{TaskUUID: p.Job, TaskName: s.Name, Type: "Task", Content: s.Name, Time: s.Begin.UnixMilli()}
			if running := i == len(t.Steps)-1 && t.End.IsZero() && s.Took == 0; running {
				step.Type, step.Content = "Progress", strconv.Itoa(s.Percent)
				if s.Message != "" {
					step.Opaque = map[string]string{"message": s.Message}
				}
			} else if !p.All {
				continue
			}
			r.Inventories = append(r.Inventories, step)
		}
		return r, nil
	})
}
