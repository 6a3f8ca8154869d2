package compute

import (
	"context"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/store"
)

func (s *Service) registerExpunge() {
	a := s.vmAction("Expunge", "Removes a destroyed guest with its root volume for good.")
	a.Returns = ""
	action.Register(s.Actions, a, func(ctx context.Context, c *action.Call, p *vmUUID) (action.Empty, error) {
		return action.Empty{}, s.expungeVM(ctx, c, p.UUID)
	})
}

// expungeVM removes what a destroyed guest still has.
func (s *Service) expungeVM(ctx context.Context, c *action.Call, uuid string) error {
	_, g, err := s.ready(ctx, uuid, "expunge")
	if err != nil {
		return err
	}
	return flow.Run(ctx, s.Flows, s.expunge, g, flowOf(c, uuid))
}

// expungeFlow removes what a destroyed guest still has. There is no way back, so
// nothing is undone: what fails is done again by the next try.
func (s *Service) expungeFlow() *flow.Def[guest] {
	return flow.Define("expunge-vm",
		flow.Tx("expunging", s.setState("expunging"), nil),
		point[guest](s, "begin", pointExpunging),
		flow.Do("remove-from-host", s.sweep, nil),
		flow.Do("delete-volumes", func(ctx context.Context, g *guest) error {
			for _, v := range g.Volumes {
				if err := s.deleteBits(ctx, v, g.LastHost); err != nil {
					return err
				}
			}
			return nil
		}, nil).Timeout(hour),
		flow.Tx("remove", func(ctx context.Context, tx *store.Tx, g *guest) error {
			if err := s.storage.Unplan(ctx, tx, g.Volumes); err != nil {
				return err
			}
			if err := s.networks.Free(ctx, tx, g.UUID); err != nil {
				return err
			}
			return s.remove(ctx, tx, g.UUID)
		}, nil),
	)
}

// Start expunges guests whose time has come, and keeps those running that shall
// never stop, until ctx ends.
func (s *Service) Start(ctx context.Context) {
	go s.keepRunning(ctx)
	s.generic.EmptyTrash(ctx, kernel.Trash{Type: VMType.Type, Category: "vm", Deleted: "`state` IN (?)", Args: []any{[]string{Destroyed, Expunging}},
		Since: "destroyDate", Expunge: "APIExpungeVmInstanceMsg", Param: "uuid"})
}
