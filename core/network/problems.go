package network

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/core/errtext"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// This file keeps what of networks is not on hosts as they say: a name server
// that DHCP cannot tell, a network whose bridge cannot be made. It is shown on
// the network that it is about, and costs neither the host nor other networks
// anything. What keeps a host from working at all is no problem of a network: it
// is an error of the host (isHosts).

// problems has for L3 networks why they are not on a host as they say; nothing
// for those that are.
type problems map[string][]string

func (p problems) add(l3UUID string, reasons ...string) { p[l3UUID] = append(p[l3UUID], reasons...) }

func (p problems) addAll(list []*pluginv1.NetworkProblem) {
	for _, one := range list {
		p.add(one.GetL3Uuid(), one.GetReason())
	}
}

// text is the reasons in one, each once.
func (p problems) text(l3UUID string) string {
	var all []string
	for _, reason := range p[l3UUID] {
		if !slices.Contains(all, reason) {
			all = append(all, reason)
		}
	}
	return errtext.Short(strings.Join(all, "; "))
}

// isHosts tells an error of the host, the plugin or the database as a whole:
// nothing is known of the network, and it is done again when they are back. That
// is what names a check of the host (errs.CheckOf), what no plugin has sent, and
// what ends with ctx. What a plugin sends otherwise is about the one network,
// whatever its class is.
func isHosts(ctx context.Context, err error) bool {
	var told *errs.Error
	return err != nil && (ctx.Err() != nil || !errors.As(err, &told) || errs.CheckOf(err) != "")
}

// note records what is told of networks on a host now: those in p, and with all
// of no other. What cannot be recorded is logged, as the host works all the same.
func (s *Service) note(ctx context.Context, hostUUID string, p problems, all bool) {
	known := map[string]string{}
	err := store.Cached(s.Store).Each(ctx, "SELECT `l3NetworkUuid`, `reason` FROM `L3NetworkProblem` WHERE `hostUuid` = ?", []any{hostUUID}, func(r *store.Row) error {
		known[r.Text(0)] = r.Text(1)
		return nil
	})
	news := map[string]string{}
	for l3 := range p {
		if text := p.text(l3); text != known[l3] {
			news[l3] = text
		}
	}
	for l3 := range known {
		if _, told := p[l3]; all && !told {
			news[l3] = ""
		}
	}
	for l3, text := range news {
		if err == nil {
			err = s.noteOne(ctx, hostUUID, l3, text)
		}
	}
	if err != nil {
		s.Log.Error("problems of networks not recorded", "host", hostUUID, "error", err)
	}
}

// noteOne replaces what is recorded of a network on a host; "" is nothing.
func (s *Service) noteOne(ctx context.Context, hostUUID, l3UUID, text string) error {
	if text != "" {
		s.Log.Warn("network not on host as it should be", "l3Network", l3UUID, "host", hostUUID, "reason", text)
	}
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM `L3NetworkProblem` WHERE `l3NetworkUuid` = ? AND `hostUuid` = ?", l3UUID, hostUUID); err != nil || text == "" {
			return err
		}
		there, err := store.Count(ctx, tx, L3NetworkType.Type, "`uuid` = ?", l3UUID)
		if err != nil || there == 0 { // nobody asks any more of one that is gone
			return err
		}
		row := &L3NetworkProblem{L3NetworkUUID: l3UUID, HostUUID: hostUUID, Reason: text}
		row.UUID = resource.NewUUID()
		return store.Insert(ctx, tx, ProblemType, row)
	})
}

func notFoundIsFine(err error) error {
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	return err
}

// forgetProblems is for a host that leaves.
func (s *Service) forgetProblems(ctx context.Context, hostUUID string) error {
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM `L3NetworkProblem` WHERE `hostUuid` = ?", hostUUID)
		return err
	})
}
