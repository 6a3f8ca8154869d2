package config

import (
	"context"
	"net/netip"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
)

// outboundNetworks is what an operator allows accounts to name (package outbound).
var outboundNetworks = Setting{Category: "outbound", Name: "allowedNetworks", Type: "string",
	Holds: "networks", Caption: resource.Say("Networks that accounts may have called", "允许租户访问的网络"),
	Doc: "Networks and addresses, with commas between, to which web hooks and image URLs of every account may lead even if they are the server's own, loopback or link-local."}

// DefineOutbound defines the setting that AllowedNetworks reads.
func (s *Service) DefineOutbound() error { return s.Define(outboundNetworks) }

// AllowedNetworks are those that web hooks and image URLs of every account may
// lead to whatever they are.
func (s *Service) AllowedNetworks(ctx context.Context) []netip.Prefix {
	// What cannot be read was refused when it was set, and lists nothing.
	list, _ := kinds.Networks(s.String(ctx, outboundNetworks.Category, outboundNetworks.Name, ""))
	return list
}
