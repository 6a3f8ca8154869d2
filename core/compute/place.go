package compute

import (
	"context"

	"github.com/kumo-cloud/kumo/core/store"
)

// hosted is for parameters that say on which host their work will be, "" when
// that is still to be found out.
type hosted interface{ hostOf() string }

func (p *newVM) hostOf() string        { return p.Host }
func (p *settleParams) hostOf() string { return p.Host }

// whichHost tells on which host the work of a message about a guest will be, as far
// as it is known: where the parameters say, else where the guest is (action.Action.On).
func (s *Service) whichHost(ctx context.Context, vmUUID string, params any) string {
	if p, is := params.(hosted); is {
		return p.hostOf()
	}
	hosts, err := store.Texts(ctx, store.Cached(s.Store), "SELECT `hostUuid` FROM `VmInstance` WHERE `uuid` = ? AND `hostUuid` IS NOT NULL", vmUUID)
	if err != nil || len(hosts) == 0 {
		return "" // it runs all the same, and tells with its first call
	}
	return hosts[0]
}
