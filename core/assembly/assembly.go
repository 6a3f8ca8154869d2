// Package assembly puts the business services together over a kernel, for the
// server and for tests that need them all. Which service is given which other
// one by contract is said here and nowhere else. It must not import web: the
// services work without a server.
package assembly

import (
	"context"

	"github.com/kumo-cloud/kumo/core/compute"
	"github.com/kumo-cloud/kumo/core/compute/sshkey"
	"github.com/kumo-cloud/kumo/core/image"
	"github.com/kumo-cloud/kumo/core/inventory"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/network"
	"github.com/kumo-cloud/kumo/core/part"
	"github.com/kumo-cloud/kumo/core/provider"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/storage"
	"github.com/kumo-cloud/kumo/core/topology"
	"github.com/kumo-cloud/kumo/pluginsdk"
)

// Types returns the resource types of all services.
func Types() []*resource.Type {
	var all []*resource.Type
	for _, types := range [][]*resource.Type{topology.Types(), storage.Types(), image.Types(), network.Types(), compute.Types(), sshkey.Types(), provider.Types(), inventory.Types()} {
		all = append(all, types...)
	}
	return all
}

// Bases are the services' types that plugins extend.
func Bases() kernel.Bases {
	return kernel.Bases{Own: provider.Declare, Of: map[pluginsdk.Strategy]*resource.Type{
		pluginsdk.HypervisorStrategy: topology.HostType.Type, pluginsdk.PrimaryStorageStrategy: storage.PrimaryStorageType.Type,
		pluginsdk.BackupStorageStrategy: image.BackupStorageType.Type, pluginsdk.L2NetworkStrategy: network.L2NetworkType.Type}}
}

// Services are the business services.
type Services struct {
	Topology *topology.Service
	Storage  *storage.Service
	Image    *image.Service
	Network  *network.Service
	Compute  *compute.Service
	Provider *provider.Service
	// Inventory brings rows of plugins' types from outside.
	Inventory *inventory.Service

	kernel *kernel.Kernel
}

// New makes the services and introduces them to each other.
func New(k *kernel.Kernel) *Services {
	s := &Services{kernel: k, Topology: topology.New(k), Image: image.New(k), Provider: provider.New(k)}
	s.Inventory = inventory.New(k, s.Provider)
	// Of what happens to hosts they are told in this order.
	s.Storage = storage.New(k, s.Topology, s.Image)
	s.Network = network.New(k, s.Topology)
	s.Compute = compute.New(k, s.Topology, s.Storage, s.Image, s.Network)
	s.Network.SetGuests(s.Compute)
	s.Storage.AddImageUser(s.Compute)
	s.Storage.SetGuests(s.Compute)
	return s
}

// Parts are the services as parts of a server. They need the part "kernel", whose
// Start takes up what the last process left.
func (s *Services) Parts() []part.Part {
	return []part.Part{
		{Name: "topology", Needs: []string{"kernel"}, Register: s.Topology.Register, Start: s.Topology.Start, Stop: ends(s.Topology.Stop)},
		{Name: "image", Needs: []string{"kernel"}, Register: s.Image.Register, Start: begins(s.Image.Start), Stop: ends(s.Image.Stop)},
		{Name: "storage", Needs: []string{"topology", "image"}, Register: s.Storage.Register, Start: begins(s.Storage.Start), Stop: ends(s.Storage.Stop)},
		{Name: "network", Needs: []string{"topology"}, Register: s.Network.Register, Prepare: s.Network.SaveProviders},
		{Name: "compute", Needs: []string{"topology", "storage", "image", "network"}, Register: s.Compute.Register,
			Start: begins(func(ctx context.Context) { go s.Compute.Start(ctx) })},
		{Name: "providers", Needs: []string{"kernel"}, Register: s.Provider.Register, Prepare: s.Provider.Save},
		{Name: "inventory", Needs: []string{"providers"}, Register: s.Inventory.Register, Start: begins(s.Inventory.Start)},
		{Name: "ssh-keys", Needs: []string{"kernel"}, Register: func() error { return sshkey.Register(s.kernel) }},
	}
}

func begins(start func(context.Context)) func(context.Context) error {
	return func(ctx context.Context) error { start(ctx); return nil }
}

func ends(stop func()) func(context.Context) error {
	return func(context.Context) error { stop(); return nil }
}
