package life

import (
	"context"
	"strings"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

type one struct {
	UUID string `api:"uuid,required,path,resource=Plugin"`
}

type stateParams struct {
	one
	StateEvent string `api:"stateEvent,required,values=enable|disable"`
}

// upgradeParams are the parameters of APIUpgradePluginMsg.
type upgradeParams struct {
	one
	Zones []string `api:"zoneUuids,resource=Zone" caption:"Zones|区域" doc:"Tries the new version in these zones only."`
}

type grantParams struct {
	one
	Permissions []string `api:"permissions,required,nonempty,max=512" caption:"Permissions|权限" doc:"Such as \"setting\", \"host-call\", or one method: \"host-call:/kumo.host.v1.HostAgentService/CreateDisk\"."`
}

type logParams struct {
	one
	Limit int `api:"limit,range=1:200,default=200" caption:"Lines|行数"`
}

// logReply has the lines, the oldest first.
type logReply struct {
	Success bool     `json:"success"`
	Lines   []string `json:"lines"`
}

// act declares an action on one plugin. One that changes it is one after the other.
func act[P any](r *action.Registry, message string, caption resource.Caption, doc string, uuid func(*P) string, f func(ctx context.Context, row string, p *P) error) {
	action.Register(r, action.Action{Message: message, Method: "PUT", Path: "/plugins/{uuid}/actions", Async: true, Access: action.Admin,
		Queue: "uuid", Returns: Type.Name, Doc: doc, View: action.View{Caption: caption}},
		func(ctx context.Context, _ *action.Call, p *P) (action.Ref, error) {
			return action.Ref{Type: Type.Name, UUID: uuid(p)}, f(ctx, uuid(p), p)
		})
}

// Register adds the API messages. rows are those that there are because of plugins.
func (s *Service) Register(r *action.Registry, rows Rows) error {
	s.rows = rows
	named := func(f func(ctx context.Context, name string) error) func(context.Context, string, *one) error {
		return func(ctx context.Context, uuid string, _ *one) error {
			row, err := store.Get(ctx, s.store, Type, uuid)
			if err != nil {
				return err
			}
			return s.after(ctx, f(ctx, row.Name))
		}
	}
	id := func(p *one) string { return p.UUID }
	act(r, "APIChangePluginStateMsg", resource.Caption{}, "Enables or disables a plugin. What a disabled one provides is seen, and does not answer.",
		func(p *stateParams) string { return p.UUID },
		func(ctx context.Context, uuid string, p *stateParams) error {
			return s.after(ctx, s.changeState(ctx, uuid, p.StateEvent))
		})
	act(r, "APIRestartPluginMsg", resource.Say("Restart", "重启"), "Starts a new process of a plugin and ends the old one when it has done its calls.", id,
		named(func(ctx context.Context, name string) error { return s.plugins.Restart(ctx, name) }))
	act(r, "APIUpgradePluginMsg", resource.Say("Upgrade", "升级"), "Starts the binary that is in the plugins' folder now and, when that works, ends the old process as its calls end. "+
		"With zones the new version takes only the calls for hosts in these, until it is upgraded without zones, rolled back, or fails.",
		func(p *upgradeParams) string { return p.UUID },
		func(ctx context.Context, uuid string, p *upgradeParams) error {
			return named(func(ctx context.Context, name string) error {
				if len(p.Zones) > 0 {
					return s.plugins.Canary(ctx, name, p.Zones)
				}
				return s.plugins.Upgrade(ctx, name, s.plugins.Path(name))
			})(ctx, uuid, &p.one)
		})
	act(r, "APIRollbackPluginMsg", resource.Say("Roll back", "回滚"), "Takes a new version back: from the zones that it has, or, within its first minute, from all hosts.", id,
		named(func(ctx context.Context, name string) error { return s.plugins.Rollback(ctx, name) }))
	act(r, "APIGrantPluginMsg", resource.Say("Grant", "授予权限"), "Grants permissions to a plugin. One that was off for want of them starts.",
		func(p *grantParams) string { return p.UUID },
		func(ctx context.Context, uuid string, p *grantParams) error {
			return s.regrant(ctx, uuid, func() error { return s.grant(ctx, uuid, p.Permissions) })
		})
	act(r, "APIRevokePluginMsg", resource.Say("Revoke", "撤销权限"), "Takes permissions from a plugin. One that asks for more than it then has ends.",
		func(p *grantParams) string { return p.UUID },
		func(ctx context.Context, uuid string, p *grantParams) error {
			return s.regrant(ctx, uuid, func() error { return s.revoke(ctx, uuid, p.Permissions) })
		})
	action.Register(r, action.Action{Message: "APIPurgePluginMsg", Method: "PUT", Path: "/plugins/{uuid}/actions", Async: true, Access: action.Admin,
		Queue: "uuid", Returns: Type.Name, View: action.View{Caption: resource.Say("Purge", "清除"), Effect: "delete", Danger: "confirm"},
		Doc: "Deletes all that a plugin has brought: the resources of its types, the types, what it has put on hosts; and disables it."},
		func(ctx context.Context, _ *action.Call, p *purgeParams) (action.Ref, error) {
			return action.Ref{Type: Type.Name, UUID: p.UUID}, s.after(ctx, s.purge(ctx, p.UUID, p.Abandon))
		})
	action.Register(r, action.Action{Message: "APIGetPluginLogsMsg", Method: "GET", Path: "/plugins/{uuid}/logs", Access: action.Admin,
		Doc: "Lists the last lines that a plugin has written since the server started.", View: action.View{Caption: resource.Say("Logs", "日志"), Verb: "logs"}},
		func(ctx context.Context, _ *action.Call, p *logParams) (logReply, error) {
			row, err := store.Get(ctx, s.store, Type, p.UUID)
			if err != nil {
				return logReply{}, err
			}
			lines, err := s.plugins.Log(row.Name, p.Limit)
			if errs.ClassOf(err) == errs.NotFound {
				lines, err = nil, nil // it has never run
			}
			if lines == nil {
				lines = []string{}
			}
			return logReply{true, lines}, err
		})
	return nil
}

// after writes the rows before the answer to an action is made of them.
func (s *Service) after(ctx context.Context, err error) error {
	if flushErr := s.flush(ctx); err == nil {
		err = flushErr
	}
	return err
}

// changeState starts a plugin before its row says that it is enabled, and has the row
// say that it is disabled before it ends: what a core that dies meanwhile finds is
// what was wanted, or what was.
func (s *Service) changeState(ctx context.Context, uuid, event string) error {
	row, err := store.Get(ctx, s.store, Type, uuid)
	if err != nil {
		return err
	}
	choose := func(state string) error {
		return s.store.Update(ctx, func(tx *store.Tx) error {
			return store.Set(ctx, tx, Type.Type, uuid, map[string]any{"state": state, "chosen": true})
		})
	}
	if event == "enable" {
		if err := s.plugins.Enable(ctx, row.Name); err != nil {
			return err
		}
		return choose(Enabled)
	}
	if err := choose(Disabled); err != nil {
		return err
	}
	err = s.plugins.Disable(ctx, row.Name)
	if errs.ClassOf(err) == errs.NotFound {
		return nil // it has never run
	}
	return err
}

// regrant changes grants and has them apply.
func (s *Service) regrant(ctx context.Context, uuid string, change func() error) error {
	row, err := store.Get(ctx, s.store, Type, uuid)
	if err == nil {
		err = change()
	}
	if err != nil {
		return err
	}
	err = s.plugins.Regrant(ctx, row.Name)
	if errs.ClassOf(err) == errs.NotFound && strings.Contains(err.Error(), row.Name) {
		err = nil // it has never run
	}
	return s.after(ctx, err)
}
