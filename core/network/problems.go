package network

import (
	"context"
	"errors"
	"iter"

	"github.com/kumo-cloud/kumo/core/problem"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// This file gathers what of networks is not on a host as they say (problem.Book): a
// name server that DHCP cannot tell, a network whose bridge cannot be made. What keeps
// a host from working at all is no problem of a network: it is an error of the host
// (isHosts).

// problems has for L3 networks why they are not on a host as they say; nothing
// for those that are.
type problems map[string][]string

func (p problems) add(l3UUID string, reasons ...string) { p[l3UUID] = append(p[l3UUID], reasons...) }

func (p problems) addAll(list []*pluginv1.NetworkProblem) {
	for _, one := range list {
		p.add(one.GetL3Uuid(), one.GetReason())
	}
}

// texts are the networks, with the reasons of each in one.
func (p problems) texts() iter.Seq2[string, string] {
	return func(yield func(l3UUID, text string) bool) {
		for l3, reasons := range p {
			if !yield(l3, problem.Text(reasons)) {
				return
			}
		}
	}
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

func notFoundIsFine(err error) error {
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	return err
}
