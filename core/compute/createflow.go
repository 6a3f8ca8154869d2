package compute

import (
	"cmp"
	"context"
	"time"

	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

const hour = time.Hour

// createFlow makes a guest (spec section 2.2). Everything in the database is
// taken in one transaction before the world is touched, and a failure takes
// all of it back: there is no half-made guest. Capacity is taken last: its
// rows are shared by all guests of a host or storage, and on MySQL they stay
// locked until the transaction ends.
func (s *Service) createFlow() *flow.Def[work] {
	starts := func(w *work) bool { return !w.Keep }
	return flow.Define("create-vm",
		flow.Tx("insert", s.insert, s.remove),
		flow.Tx("allocate-nics", s.allocateNICs, func(ctx context.Context, tx *store.Tx, w *work) error {
			return s.networks.Free(ctx, tx, w.UUID)
		}),
		flow.Tx("place", s.place, func(ctx context.Context, tx *store.Tx, w *work) error {
			if err := s.storage.Unplan(ctx, tx, w.Volumes); err != nil {
				return err
			}
			return s.unreserve(ctx, tx, w)
		}),
		flow.Do("make-volumes", s.makeVolumes, s.unmakeVolumes).Timeout(12*hour),
		flow.Do("prepare-network", s.prepareNetwork, s.releaseNetwork).When(starts),
		flow.Do("start-on-host", s.startOnHost, s.destroyOnHost).When(starts),
		flow.Tx("finish", s.finishCreate, nil),
	)
}

// place takes the first of the planned places that still has room. The guest's
// rows say the first one; its NICs are of that one's hypervisor type, so that
// places of other types are left out.
func (s *Service) place(ctx context.Context, tx *store.Tx, w *work) error {
	planned := w.Host
	var last error
	for _, pl := range w.Places {
		if pl.Host.HypervisorType != planned.HypervisorType {
			continue
		}
		w.Host = pl.Host
		if last = s.takePlace(ctx, tx, w, pl); last == nil {
			w.Places = nil // decided: the journal need not carry the rest
			if w.Host != planned {
				last = s.rehome(ctx, tx, w)
			}
			if last == nil {
				last = guardParents(ctx, tx, w)
			}
			return last
		}
		if errs.ClassOf(last) != errs.Exhausted {
			return last
		}
	}
	return last
}

// takePlace takes a host's and its storage's capacity, or nothing.
func (s *Service) takePlace(ctx context.Context, tx *store.Tx, w *work, pl contract.Place) error {
	if err := s.reserve(ctx, tx, w); err != nil {
		return err
	}
	for _, v := range w.Volumes {
		v.PrimaryUUID, v.HostUUID, v.HostLocal = pl.PrimaryUUID, pl.Host.UUID, pl.HostLocal
		v.ImageStoreUUID = pl.ImageStoreUUID
	}
	err := s.storage.Plan(ctx, tx, w.Volumes)
	if errs.ClassOf(err) != errs.Exhausted {
		return err
	}
	return cmp.Or(s.storage.Unplan(ctx, tx, w.Volumes), s.unreserve(ctx, tx, w), err)
}

// rehome corrects where the guest's row says it is.
func (s *Service) rehome(ctx context.Context, tx *store.Tx, w *work) error {
	return store.Set(ctx, tx, VMType.Type, w.UUID, map[string]any{"hostUuid": w.Host.UUID, "clusterUuid": w.Host.ClusterUUID,
		"zoneUuid": w.Host.ZoneUUID, "cpuSpeed": w.Host.CPUMHz})
}

// guardParents makes sure that nothing the guest depends on is being deleted.
// It comes after what changes these rows: on MySQL it takes shared locks, and
// two transactions that both hold one and both want to change the row are a
// deadlock.
func guardParents(ctx context.Context, tx *store.Tx, w *work) error {
	parents := append(make([]cascade.Parent, 0, 8), cascade.Parent{Type: "Zone", UUID: w.Host.ZoneUUID},
		cascade.Parent{Type: "Cluster", UUID: w.Host.ClusterUUID}, cascade.Parent{Type: "Host", UUID: w.Host.UUID})
	for i, v := range w.Volumes {
		if i == 0 || v.PrimaryUUID != w.Volumes[i-1].PrimaryUUID {
			parents = append(parents, cascade.Parent{Type: "PrimaryStorage", UUID: v.PrimaryUUID})
		}
	}
	for _, n := range w.NICs {
		parents = append(parents, cascade.Parent{Type: "L3Network", UUID: n.L3UUID})
	}
	return cascade.GuardAll(ctx, tx, parents...)
}

func (s *Service) insert(ctx context.Context, tx *store.Tx, w *work) error {
	w.Host = w.Places[0].Host
	row := *w.Row
	row.ZoneUUID, row.ClusterUUID, row.HostUUID = w.Host.ZoneUUID, w.Host.ClusterUUID, w.Host.UUID
	row.HypervisorType, row.CPUSpeed = w.Host.HypervisorType, w.Host.CPUMHz
	if err := store.Insert(ctx, tx, VMType, &row); err != nil {
		return err
	}
	if w.CdRom != nil {
		cd := *w.CdRom
		if err := store.Insert(ctx, tx, CdRomType, &cd); err != nil {
			return err
		}
	}
	return s.Tags.CreateAll(ctx, tx, "VmInstance", w.UUID, w.Tags, w.UserTags)
}

// remove takes the guest's own rows away; what is gone is a success.
func (s *Service) remove(ctx context.Context, tx *store.Tx, w *work) error {
	if _, err := tx.Exec(ctx, "DELETE FROM `VmCdRom` WHERE `vmInstanceUuid` = ?", w.UUID); err != nil {
		return err
	}
	return s.Tags.DeleteRow(ctx, tx, VMType.Type, w.UUID)
}

func (s *Service) allocateNICs(ctx context.Context, tx *store.Tx, w *work) error {
	nics, err := s.networks.Allocate(ctx, tx, contract.NICRequest{VMUUID: w.UUID, AccountUUID: w.AccountUUID,
		HypervisorType: w.Host.HypervisorType, Driver: w.NICDriver, NICs: w.NICWishes})
	if err != nil {
		return err
	}
	w.NICs = nics
	s.readTags(w, w.Tags, w.Row.DefaultL3NetworkUUID)
	return nil
}

func (s *Service) makeVolumes(ctx context.Context, w *work) error {
	h, err := s.host(ctx, w)
	if err != nil {
		return err
	}
	for _, v := range w.Volumes {
		if err := s.storage.Make(ctx, h, v); err != nil {
			return err
		}
	}
	if w.CdRom != nil {
		w.CdRom.ISOInstallPath = w.Volumes[1].InstallPath
	}
	return nil
}

func (s *Service) unmakeVolumes(ctx context.Context, w *work) error {
	h, err := s.host(ctx, w)
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	for _, v := range w.Volumes {
		if err := s.storage.Unmake(ctx, h, v); err != nil {
			return err
		}
	}
	return nil
}

// finishCreate marks what was made as usable. A guest that is kept Stopped
// holds no CPU and memory (spec section 1.5).
func (s *Service) finishCreate(ctx context.Context, tx *store.Tx, w *work) error {
	if err := s.storage.Ready(ctx, tx, w.Volumes); err != nil {
		return err
	}
	if w.CdRom != nil {
		if err := store.Set(ctx, tx, CdRomType.Type, w.CdRom.UUID, map[string]any{"isoInstallPath": w.CdRom.ISOInstallPath}); err != nil {
			return err
		}
	}
	if w.Keep {
		return s.left(ctx, tx, w, "stopped", nil)
	}
	// Nobody else moves a guest that is made, so this needs no look before.
	n, err := tx.Exec(ctx, "UPDATE `VmInstance` SET `state` = ?, `lastOpDate` = ? WHERE `uuid` = ? AND `state` = ?",
		Running, resource.Now(), w.UUID, Starting)
	if err != nil {
		return err
	}
	if n == 0 {
		return s.move(ctx, tx, w.UUID, "running", nil) // which tells what is wrong
	}
	return nil
}
