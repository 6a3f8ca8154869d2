package compute

import (
	"context"

	"github.com/kumo-cloud/kumo/core/contract"
)

// The steps of the flows on guests, by the word for the flow.
func (s *Service) Steps() map[string][]string {
	return map[string][]string{"create": s.create.Steps(), "start": s.start.Steps(), "stop": s.stop.Steps(), "reboot": s.reboot.Steps(),
		"attach-nic": s.attachNIC.Steps(), "detach-nic": s.detachNIC.Steps(),
		"pause": s.pause.Steps(), "migrate": s.migrate.Steps(), "resume": s.resume.Steps(), "destroy": s.destroy.Steps(), "expunge": s.expunge.Steps()}
}

// Between puts something between the service and its neighbours; nil leaves one
// as it is.
func (s *Service) Between(h func(contract.Hosts) contract.Hosts, v func(contract.Storage) contract.Storage) {
	if h != nil {
		s.hosts = h(s.hosts)
	}
	if v != nil {
		s.storage = v(s.storage)
	}
}

// ToKeep are the guests that one round of keepRunning would start.
func (s *Service) ToKeep(ctx context.Context) (uuids []string, err error) {
	vms, err := s.toKeep(ctx, "")
	for _, vm := range vms {
		uuids = append(uuids, vm.UUID)
	}
	return uuids, err
}

// The service's messages to itself.
const (
	KeepMessage  = keepMessage
	EmptyMessage = emptyMessage
)

// PointNames are the points of guests' flows.
var PointNames = pointNames
