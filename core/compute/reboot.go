package compute

import (
	"context"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/plugin"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// rebooting is the state of the flow that stops and starts a guest on its host.
type rebooting struct {
	guest
	Grace int32 // seconds that it has to shut down
}

func (s *Service) registerReboot() {
	action.Register(s.Actions, s.vmAction("Reboot", "Stops and starts a guest on its host."), func(ctx context.Context, c *action.Call, p *vmUUID) (action.Ref, error) {
		_, g, err := s.ready(ctx, p.UUID, "reboot")
		if err == nil {
			err = flow.Run(ctx, s.Flows, s.reboot, &rebooting{*g, s.grace(ctx, p.UUID)}, flowOf(c, p.UUID))
		}
		return refOf(p.UUID), err
	})
}

func (s *Service) rebootFlow() *flow.Def[rebooting] {
	return flow.Define("reboot-vm",
		flow.Tx("rebooting", doTx[rebooting](s.setState("rebooting")), doTx[rebooting](s.restoreState)),
		flow.Do("prepare-network", do[rebooting](s.prepareNetwork), nil),
		point[rebooting](s, "nics-ready", pointReady),
		flow.Do("reboot-on-host", func(ctx context.Context, st *rebooting) error {
			return s.onHost(ctx, &st.guest, "rebooted on", func(hv *plugin.Hypervisor, h *pluginv1.Host) error {
				_, err := hv.RebootVM(ctx, &pluginv1.RebootVMRequest{Host: h, Vm: s.spec(ctx, &st.guest, hv), GraceSeconds: st.Grace})
				return err
			})
		}, nil).Timeout(2*hour),
		flow.Tx("running", doTx[rebooting](s.setState("running")), nil),
	)
}
