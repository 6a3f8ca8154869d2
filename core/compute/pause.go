package compute

import (
	"context"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// The flows that freeze a guest and let it go on need no more than the guest.

func (s *Service) registerPause() {
	register := func(verb, doc, op string, d *flow.Def[guest]) {
		action.Register(s.Actions, s.vmAction(verb, doc), func(ctx context.Context, c *action.Call, p *vmUUID) (action.Ref, error) {
			_, g, err := s.ready(ctx, p.UUID, op)
			if err == nil {
				err = flow.Run(ctx, s.Flows, d, g, flowOf(c, p.UUID))
			}
			return refOf(p.UUID), err
		})
	}
	register("Pause", "Freezes a guest; it keeps its memory.", "pause", s.pause)
	register("Resume", "Lets a paused guest go on.", "resume", s.resume)
}

func (s *Service) pauseFlow() *flow.Def[guest] {
	return flow.Define("pause-vm",
		flow.Tx("pausing", s.setState("pausing"), s.restoreState),
		flow.Do("pause-on-host", s.freeze, ifItRuns(s.thaw)),
		flow.Tx("paused", s.setState("paused"), nil),
	)
}

func (s *Service) resumeFlow() *flow.Def[guest] {
	return flow.Define("resume-vm",
		flow.Tx("resuming", s.setState("resuming"), s.restoreState),
		flow.Do("resume-on-host", s.thaw, ifItRuns(s.freeze)),
		flow.Tx("running", s.setState("running"), nil),
	)
}

// ifItRuns makes an undo of what is done to a guest that runs: one that has
// ended meanwhile needs none.
func ifItRuns(undo func(context.Context, *guest) error) func(context.Context, *guest) error {
	return func(ctx context.Context, g *guest) error {
		switch err := undo(ctx, g); errs.ClassOf(err) {
		case errs.Refused, errs.NotFound:
			return nil
		default:
			return err
		}
	}
}

// freeze pauses the guest on its host.
func (s *Service) freeze(ctx context.Context, g *guest) error {
	return s.onHost(ctx, g, "paused on", func(hv *plugin.Hypervisor, h *pluginv1.Host) error {
		p, err := hv.Pauser()
		if err == nil {
			_, err = p.PauseVM(ctx, &pluginv1.PauseVMRequest{Host: h, VmUuid: g.UUID})
		}
		return err
	})
}

// thaw lets it go on.
func (s *Service) thaw(ctx context.Context, g *guest) error {
	return s.onHost(ctx, g, "resumed on", func(hv *plugin.Hypervisor, h *pluginv1.Host) error {
		p, err := hv.Pauser()
		if err == nil {
			_, err = p.ResumeVM(ctx, &pluginv1.ResumeVMRequest{Host: h, VmUuid: g.UUID})
		}
		return err
	})
}
