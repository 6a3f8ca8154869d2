package task

import (
	"cmp"
	"context"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/dispatch"
)

// taskInfo is one piece of work, in the wire's form (RunningTaskInfo,
// PendingTaskInfo).
type taskInfo struct {
	Name string `json:"name"`
	// ClassName is the kind of work.
	ClassName string `json:"className"`
	// Index counts those that wait, from 0.
	Index int `json:"index"`
	// PendingTime and ExecutionTime are in milliseconds.
	PendingTime   int64  `json:"pendingTime"`
	ExecutionTime *int64 `json:"executionTime,omitempty"`
	APIID         string `json:"apiId,omitempty"`
	APIName       string `json:"apiName,omitempty"`
}

// chainInfo is what runs and waits under a key.
type chainInfo struct {
	Running []taskInfo `json:"runningTask"`
	Pending []taskInfo `json:"pendingTask"`
}

type chainsReply struct {
	Success bool                 `json:"success"`
	Results map[string]chainInfo `json:"results"`
}

type chainParams struct {
	Keys []string `api:"syncSignatures" doc:"The keys of the queues, which are UUIDs of resources or names of messages; without any, all queues."`
}

type vmTaskParams struct {
	UUIDs []string `api:"vmInstanceUuids,required,nonempty,resource=VmInstance" doc:"The guests."`
	Keys  []string `api:"syncSignatures" doc:"Further keys, for the administrator only."`
}

type hostTaskParams struct {
	UUIDs []string `api:"hostUuids,required,nonempty,resource=Host" doc:"The hosts."`
	Keys  []string `api:"syncSignatures" doc:"Further keys."`
}

// registerQueues registers what tells of the queues: what runs under a key and
// what waits behind it.
func (s *Service) registerQueues(r *action.Registry) {
	action.Register(r, action.Action{
		Message: "APIGetChainTaskMsg", Method: "GET", Path: "/core/task-details", Access: action.Admin,
		Doc: "Tells what runs and what waits under keys, or in all queues.",
	}, func(_ context.Context, _ *action.Call, p *chainParams) (chainsReply, error) {
		return s.chains(p.Keys, len(p.Keys) == 0), nil
	})
	action.Register(r, action.Action{
		Message: "APIGetVmTaskMsg", Method: "GET", Path: "/vm-instances/task-details", Access: action.Normal,
		Doc: "Tells what runs on guests and what waits for them.",
	}, func(_ context.Context, c *action.Call, p *vmTaskParams) (chainsReply, error) {
		if c.Caller.Admin {
			p.UUIDs = append(p.UUIDs, p.Keys...)
		}
		return s.chains(p.UUIDs, false), nil
	})
	action.Register(r, action.Action{
		Message: "APIGetHostTaskMsg", Method: "GET", Path: "/hosts/task-details", Access: action.Admin,
		Doc: "Tells what runs on hosts and what waits for them.",
	}, func(_ context.Context, _ *action.Call, p *hostTaskParams) (chainsReply, error) {
		return s.chains(append(p.UUIDs, p.Keys...), false), nil
	})
}

// chains answers with an entry for each key that was asked for.
func (s *Service) chains(keys []string, all bool) chainsReply {
	r := chainsReply{Success: true, Results: map[string]chainInfo{}}
	if !all {
		for _, key := range keys {
			r.Results[key] = infoOf(dispatch.Chain{})
		}
	}
	for key, c := range s.queues.Chains(keys...) {
		r.Results[key] = infoOf(c)
	}
	return r
}

func infoOf(c dispatch.Chain) chainInfo {
	info := chainInfo{Running: []taskInfo{}, Pending: []taskInfo{}}
	if c.Running != nil {
		t := taskOf(*c.Running, 0)
		ran := c.Running.Ran.Milliseconds()
		t.ExecutionTime = &ran
		info.Running = append(info.Running, t)
	}
	for i, t := range c.Waiting {
		info.Pending = append(info.Pending, taskOf(t, i))
	}
	return info
}

func taskOf(t dispatch.Task, i int) taskInfo {
	return taskInfo{Name: cmp.Or(t.Name, t.Kind), ClassName: t.Kind, Index: i, PendingTime: t.Waited.Round(time.Millisecond).Milliseconds(),
		APIID: t.Job, APIName: t.Name}
}
