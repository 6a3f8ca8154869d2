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
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/network"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/storage"
	"github.com/kumo-cloud/kumo/core/topology"
)

// Types returns the resource types of all services.
func Types() []*resource.Type {
	var all []*resource.Type
	for _, types := range [][]*resource.Type{topology.Types(), storage.Types(), image.Types(), network.Types(), compute.Types(), sshkey.Types()} {
		all = append(all, types...)
	}
	return all
}

// Bases are the services' types that plugins extend.
func Bases() kernel.Bases {
	return kernel.Bases{Hypervisor: topology.HostType.Type, PrimaryStorage: storage.PrimaryStorageType.Type,
		BackupStorage: image.BackupStorageType.Type}
}

// Services are the business services.
type Services struct {
	Topology *topology.Service
	Storage  *storage.Service
	Image    *image.Service
	Network  *network.Service
	Compute  *compute.Service

	kernel *kernel.Kernel
}

// New makes the services and introduces them to each other.
func New(k *kernel.Kernel) *Services {
	s := &Services{kernel: k, Topology: topology.New(k), Image: image.New(k)}
	s.Storage = storage.New(k, s.Topology, s.Image)
	s.Network = network.New(k, s.Topology)
	s.Compute = compute.New(k, s.Topology, s.Storage, s.Image, s.Network)
	s.Network.SetGuests(s.Compute)
	s.Storage.AddImageUser(s.Compute)
	s.Storage.SetGuests(s.Compute)
	s.Topology.Observe(s.Storage)
	s.Topology.Observe(s.Network)
	s.Topology.Observe(s.Compute)
	return s
}

// Register registers actions, flows, tags and settings of all services.
func (s *Services) Register() error {
	for _, register := range []func() error{s.Topology.Register, s.Storage.Register, s.Image.Register, s.Network.Register,
		s.Compute.Register, func() error { return sshkey.Register(s.kernel) }} {
		if err := register(); err != nil {
			return err
		}
	}
	return nil
}

// Prepare writes what must stand in the database before flows are resumed.
func (s *Services) Prepare(ctx context.Context) error { return s.Network.SaveProviders(ctx) }

// Start begins the services' background work, which ends with ctx. It comes
// after the kernel's Start.
func (s *Services) Start(ctx context.Context) error {
	s.Image.Start(ctx)
	s.Storage.Start(ctx)
	go s.Compute.Start(ctx)
	return s.Topology.Start(ctx)
}

// Stop waits for the background work that holds on to hosts and storages; the
// context that Start was given has ended before.
func (s *Services) Stop() {
	s.Topology.Stop()
	s.Storage.Stop()
	s.Image.Stop()
}
