package config

import (
	"context"
	"errors"
	"net/netip"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
)

// outboundNetworks is what an operator allows accounts to name (package outbound).
var outboundNetworks = Setting{Category: "outbound", Name: "allowedNetworks", Type: "string",
	Holds: "networks", Caption: resource.Say("Networks that accounts may have called", "允许租户访问的网络"),
	Doc: "Networks and addresses, with commas between, to which web hooks and image URLs of every account may lead even if they are the server's own, loopback or link-local."}

// trustedProxies are those that say from where their clients come.
var trustedProxies = Setting{Category: "rest", Name: "trustedProxies", Type: "string",
	Holds: "networks", Caption: resource.Say("Trusted proxies", "可信代理"),
	Doc: "Networks and addresses, with commas between, of reverse proxies before the API: the client of a call is whom they name in X-Forwarded-For, for limits of sign-ins and for the audit. One that anybody else sends is not believed."}

// DefineNetworks defines the settings that AllowedNetworks and TrustedProxies read.
func (s *Service) DefineNetworks() error {
	return errors.Join(s.Define(outboundNetworks), s.Define(trustedProxies))
}

// AllowedNetworks are those that web hooks and image URLs of every account may
// lead to whatever they are.
func (s *Service) AllowedNetworks(ctx context.Context) []netip.Prefix {
	return s.networks(ctx, outboundNetworks)
}

// TrustedProxies are those whose word is taken for who their clients are.
func (s *Service) TrustedProxies(ctx context.Context) []netip.Prefix {
	return s.networks(ctx, trustedProxies)
}

func (s *Service) networks(ctx context.Context, of Setting) []netip.Prefix {
	// What cannot be read was refused when it was set, and lists nothing.
	list, _ := kinds.Networks(s.String(ctx, of.Category, of.Name, ""))
	return list
}
