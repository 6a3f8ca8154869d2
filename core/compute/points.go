package compute

import (
	"maps"
	"slices"

	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/hook"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Points of guests' flows.
const (
	pointReady     = "vm.start.nics-ready"
	pointStarted   = "vm.start.done"
	pointStopping  = "vm.stop.begin"
	pointStopped   = "vm.stop.done"
	pointEnding    = "vm.destroy.begin"
	pointEnded     = "vm.destroy.done"
	pointExpunging = "vm.expunge.begin"
	pointMoving    = "vm.migrate.nics-ready"
	pointMoved     = "vm.migrate.done"

	pointPlugging   = "nic.attach.begin"
	pointPlugged    = "nic.attach.done"
	pointUnplugging = "nic.detach.begin"
	pointUnplugged  = "nic.detach.done"
)

// points say what has happened at each.
var points = map[string]string{
	pointReady:     "A guest that is made, started or rebooted has its addresses, and its host the networks: before the guest runs.",
	pointStarted:   "A guest that is made or started runs on its host.",
	pointStopping:  "A guest is about to be stopped.",
	pointStopped:   "A guest has been stopped, and its host has let go of its networks.",
	pointEnding:    "A guest is about to be destroyed.",
	pointEnded:     "A guest has been destroyed, and its host has let go of its networks; its addresses are kept.",
	pointExpunging: "A destroyed guest is about to be removed for good. When that fails the step is undone, and done again by the next try.",
	pointMoving: "The host that a guest is about to move to has its networks, and the guest runs on the one that it comes from: before it runs there. " +
		"When the step is undone, the guest is where its row says. " + moving,
	pointMoved: "A guest has moved: it runs on its new host, and the other one has let go of its networks. " + moving,

	pointPlugging: "A guest gets a NIC, which has its address, and the host its network: before the guest can use it. Only that NIC is in nics. " +
		"A guest that is stopped has no host.",
	pointPlugged:    "A guest has got a NIC, and can use it if it runs. Only that NIC is in nics.",
	pointUnplugging: "A NIC is about to be taken from a guest, which has it still. Only that NIC is in nics.",
	pointUnplugged:  "The guest has let go of a NIC, and its host of its network; its address is kept until the step is done. Only that NIC is in nics.",
}

// moving is what the subject says of a guest that moves.
const moving = "host_uuid is the host that it moves to, source_host_uuid the other."

var pointNames = slices.Sorted(maps.Keys(points))

func (s *Service) declarePoints() {
	for name, doc := range points {
		s.Hooks.Declare(name, doc+" Subject: VmInstance, host_uuid, nics, account_uuid.")
	}
}

// point makes the step of a flow at a point; name is the step's.
func point[S any, P on[S]](s *Service, name, point string) flow.Step[S] {
	return hook.Step(s.Hooks, name, point, func(st *S) *hook.Points { return &P(st).common().Points },
		func(st *S) *pluginv1.PointSubject { return P(st).common().subject() })
}

// movePoint is point for a guest that moves.
func (s *Service) movePoint(name, point string) flow.Step[migration] {
	return hook.Step(s.Hooks, name, point, func(m *migration) *hook.Points { return &m.Points }, (*migration).moving)
}

// moving is the guest as plugins see it while it moves.
func (m *migration) moving() *pluginv1.PointSubject {
	about := m.subject()
	about.HostUuid, about.SourceHostUuid = m.To, m.Host
	return about
}

// subject is the guest as plugins see it at points.
func (g *guest) subject() *pluginv1.PointSubject {
	about := &pluginv1.PointSubject{Type: VMType.Name, Uuid: g.UUID, HostUuid: g.Host, AccountUuid: g.Account}
	for _, n := range g.NICs {
		about.Nics = append(about.Nics, &pluginv1.PointNIC{Uuid: n.UUID, L3NetworkUuid: n.L3UUID, Mac: n.MAC, Addresses: []string{n.IP},
			InternalName: n.InternalName})
	}
	return about
}
