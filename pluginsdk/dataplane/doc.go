// Package dataplane keeps the desired network state of one machine and makes
// the kernel follow it: bridges, networks with DHCP, DNS and metadata, and the
// packet filter of guests' ports (package filter). The host agent and the router
// agent share it.
//
// State comes as fragments (kumo.host.v1), kept by owner and key in a folder,
// so that an agent which starts again knows what it made, takes it over and
// can remove it. Fragments are validated before anything changes; converging
// is repeatable and touches nothing that this package did not make.
//
// The package must not import anything of core, plugins or web.
package dataplane
