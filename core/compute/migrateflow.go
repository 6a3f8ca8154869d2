package compute

import (
	"context"

	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// migration is the state of the flow that moves a running guest to another host.
// The guest is as it is where it comes from.
type migration struct {
	guest
	seat          // of To
	To, ToCluster string
	MovedVolumes  []*contract.VolumePlan // all, as on To
	MovedDrives   []drive                // as on To
	Media         []contract.Place       // of MovedDrives, by number, whose images are to be brought to To
	Copy          pluginv1.DiskCopy
	SlowGuest     bool
	Moved         bool // the guest is on To, and its row says so

	told bool // plugins were told by this process that the guest is about to move
}

// there is the guest as it is on the host that it moves to.
func (m *migration) there() *guest {
	g := m.guest
	g.Host, g.Volumes, g.Drives = m.To, m.MovedVolumes, m.MovedDrives
	return &g
}

// copies are the volumes that are copied, as on the host that they are copied to.
func (m *migration) copies() []*contract.VolumePlan { return onHosts(m.MovedVolumes) }

// onHosts are those of volumes that are kept on hosts.
func onHosts(volumes []*contract.VolumePlan) []*contract.VolumePlan {
	var local []*contract.VolumePlan
	for _, v := range volumes {
		if v.HostUUID != "" {
			local = append(local, v)
		}
	}
	return local
}

// migrateFlow moves a guest. From the moment when it runs on the other host, there is no
// way back: what is left to do is done by the steps that follow and, when one of them
// fails or nobody knew how the move itself went, by the undo of those before, which then
// does what they are about on the host that the guest has left. What cannot be removed
// there is noted, and removed later.
func (s *Service) migrateFlow() *flow.Def[migration] {
	brings := func(m *migration) bool { return len(m.copies())+len(m.Media) > 0 }
	return flow.Define("migrate-vm",
		flow.Tx("reserve", s.reserveThere, s.unreserveThere),
		flow.Tx("migrating", doTx[migration](s.setState("migrating")), s.notMigrating),
		flow.Do("make-volumes", s.makeThere, s.unmakeThere).When(brings).Timeout(12*hour),
		flow.Do("prepare-network", func(ctx context.Context, m *migration) error { return s.prepareNetwork(ctx, m.there()) }, s.releaseThere),
		s.movePoint("nics-ready", pointMoving),
		// Written down before the move: from then on nothing of what is above may be
		// repeated, or undone without a look at where the guest is.
		flow.Tx("ready", func(_ context.Context, _ *store.Tx, m *migration) error { m.told = true; return nil }, nil),
		flow.Do("migrate-on-host", s.migrateOnHost, s.endMigration).Timeout(2*hour),
		flow.Tx("arrived", s.arrived, nil).Answers(),
		flow.Do("release-network", do[migration](s.letGoOfNetwork), nil),
		s.movePoint("done", pointMoved),
		flow.Do("clean-source", s.cleanSource, nil),
	)
}

func (s *Service) reserveThere(ctx context.Context, tx *store.Tx, m *migration) error {
	if err := s.reserve(ctx, tx, m.there(), &m.seat); err != nil {
		return err
	}
	if err := s.storage.Reserve(ctx, tx, m.copies()); err != nil {
		return err
	}
	parents := []cascade.Parent{{Type: "Host", UUID: m.To}, {Type: "Cluster", UUID: m.ToCluster}}
	for _, v := range m.MovedVolumes {
		parents = append(parents, cascade.Parent{Type: "PrimaryStorage", UUID: v.PrimaryUUID})
	}
	for _, n := range m.NICs {
		parents = append(parents, cascade.Parent{Type: "L3Network", UUID: n.L3UUID})
	}
	return cascade.GuardAll(ctx, tx, parents...)
}

func (s *Service) unreserveThere(ctx context.Context, tx *store.Tx, m *migration) error {
	if m.Moved || !m.Taken {
		return nil
	}
	if err := s.storage.Return(ctx, tx, m.copies()); err != nil {
		return err
	}
	return s.unreserve(ctx, tx, m.there(), &m.seat)
}

func (s *Service) notMigrating(ctx context.Context, tx *store.Tx, m *migration) error {
	if m.Moved {
		return nil
	}
	return s.restoreState(ctx, tx, &m.guest)
}

// makeThere makes the volumes on the host that the guest moves to, and brings the images
// of its drives. What that host has of the volumes is of an earlier stay of the guest, or
// of a step that was cut off.
func (s *Service) makeThere(ctx context.Context, m *migration) error {
	h, err := s.host(ctx, m.there())
	if err != nil {
		return err
	}
	for _, v := range m.copies() {
		if err := s.storage.Unmake(ctx, h, v); err != nil {
			return err
		}
		if err := s.storage.Make(ctx, h, v); err != nil {
			return err
		}
	}
	for i, at := range m.Media {
		d := &m.MovedDrives[i]
		if d.Path, err = s.storage.Medium(ctx, h, at, d.Image); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) unmakeThere(ctx context.Context, m *migration) error {
	if m.Moved {
		return s.cleanSource(ctx, m)
	}
	for _, v := range m.copies() {
		if err := s.deleteBits(ctx, v, m.To); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) releaseThere(ctx context.Context, m *migration) error {
	if m.Moved {
		return s.letGoOfNetwork(ctx, &m.guest)
	}
	return s.releaseNetwork(ctx, m.there())
}

// migrateOnHost has the guest move. A server that stops does not wait for the end: the
// next one begins anew.
func (s *Service) migrateOnHost(ctx context.Context, m *migration) error {
	if !m.told { // by a server that was killed: plugins keep nothing of what they were told
		if err := s.Hooks.Do(ctx, m.Points, pointMoving, flow.OperationID(ctx), m.moving()); err != nil {
			return err
		}
	}
	call, cancel := flow.UntilStop(ctx)
	defer cancel()
	err := s.betweenHosts(ctx, m, func(hv *plugin.Hypervisor, mover pluginsdk.VMMigrator, from, to *pluginv1.Host) error {
		_, err := mover.MigrateVM(call, &pluginv1.MigrateVMRequest{Source: from, Target: to, Vm: s.spec(ctx, m.there(), hv), Copy: m.Copy, SlowGuest: m.SlowGuest})
		return err
	})
	if stopped := flow.Stopped(ctx); err != nil && stopped != nil {
		return stopped
	}
	return err
}

// endMigration undoes migrateOnHost. When it finds that the guest has moved, it records
// that, and what is undone after it is done for the host that the guest has left.
func (s *Service) endMigration(ctx context.Context, m *migration) error {
	if m.Moved {
		return nil
	}
	if _, err := s.host(ctx, m.there()); errs.ClassOf(err) == errs.NotFound {
		return nil // the host took along what it had of the guest
	}
	moved := false
	err := s.betweenHosts(ctx, m, func(_ *plugin.Hypervisor, mover pluginsdk.VMMigrator, from, to *pluginv1.Host) error {
		r, err := mover.EndMigration(ctx, &pluginv1.EndMigrationRequest{Source: from, Target: to, VmUuid: m.UUID})
		moved = r.GetMoved()
		return err
	})
	if err != nil || !moved {
		return err
	}
	s.Log.Info("guest has moved, though its migration failed", "vm", m.UUID, "host", m.To)
	return s.Store.Update(ctx, func(tx *store.Tx) error { return s.arrived(ctx, tx, m) })
}

// betweenHosts makes a call about both hosts to their plugin.
func (s *Service) betweenHosts(ctx context.Context, m *migration, call func(hv *plugin.Hypervisor, mover pluginsdk.VMMigrator, from, to *pluginv1.Host) error) error {
	to, err := s.host(ctx, m.there())
	if err != nil {
		return err
	}
	return s.onHost(ctx, &m.guest, "moved to host "+to.GetName()+" from", func(hv *plugin.Hypervisor, from *pluginv1.Host) error {
		mover, err := hv.Migrator()
		if err != nil {
			return err
		}
		return call(hv, mover, from, to)
	})
}

// arrived records where the guest is now. The rows of one that has arrived already stay
// as they are.
func (s *Service) arrived(ctx context.Context, tx *store.Tx, m *migration) error {
	m.Moved = true
	vm, err := store.Get(ctx, tx, VMType, m.UUID)
	if err != nil || vm.HostUUID == m.To {
		return err
	}
	if err := s.hosts.Return(ctx, tx, m.Host, m.room(0)); err != nil {
		return err
	}
	if err := s.storage.Moved(ctx, tx, m.copies()); err != nil {
		return err
	}
	for _, d := range m.MovedDrives {
		if err := store.Set(ctx, tx, CdRomType.Type, d.UUID, map[string]any{"isoInstallPath": d.Path}); err != nil {
			return err
		}
	}
	// It may have ended meanwhile, and what its host told of that was passed over.
	tx.OnCommit(func() { s.settleSoon(ctx, m.To, m.UUID) })
	return s.move(ctx, tx, m.UUID, "running", map[string]any{"hostUuid": m.To, "clusterUuid": m.ToCluster, "lastHostUuid": m.Host})
}

// cleanSource removes what the host that the guest has left has of it. That host may be
// gone, or not answer: then it is noted.
func (s *Service) cleanSource(ctx context.Context, m *migration) error {
	left := remains{Guest: m.UUID, Name: m.Name, Host: m.Host, Volumes: onHosts(m.Volumes), Gone: true}
	err := s.removeNow(ctx, left)
	if errs.ClassOf(err) == errs.NotFound || err == nil {
		return nil
	}
	return s.leave(ctx, left, err)
}
