package main

import (
	"context"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Owners of fragments on a host; see the package comment.
const (
	ownerL2       = "flat-l2"
	ownerProvider = "flat"
)

// hosts hands fragments to the agents.
type hosts struct {
	core pluginsdk.Core
	log  hclog.Logger
}

func (h *hosts) agent(host *pluginv1.Host, object string) (hostv1.HostAgentServiceClient, error) {
	if host.GetUuid() == "" {
		return nil, errs.New(errs.Invalid, object, "the call names no host")
	}
	return h.core.Host(host.Uuid), nil
}

// apply changes fragments of one owner. It keeps the class of the agent's
// error and says on which host and for what it was.
func (h *hosts) apply(ctx context.Context, host *pluginv1.Host, object string, req *hostv1.ApplyRequest) (*hostv1.ApplyResponse, error) {
	agent, err := h.agent(host, object)
	if err != nil {
		return nil, err
	}
	answer, err := agent.Apply(ctx, req)
	if err != nil {
		return nil, errs.Wrap(errs.ClassOf(err), object, err, "apply its network state on host %s", host.Uuid)
	}
	return answer, nil
}
