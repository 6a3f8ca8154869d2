package compute

import (
	"cmp"
	"context"

	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// creation is the state of the flow that makes a guest. The plan, which only
// read, has filled it in but for the place, the NICs, and what is made there.
type creation struct {
	guest
	seat
	CdRom *VMCdRom // with the ISO that it is made from, if it is
	// Until its rows are written: the guest's, but for its place, its tags and
	// what its NICs are to be.
	Row            *VMInstance
	Tags, UserTags []string
	NICWishes      []contract.NICWish

	HypervisorType string // of all Places
	// Places are those that had room, the best first, until one of them is taken
	// and is the Place.
	Places      []contract.Place
	Place       contract.Place
	StayStopped bool // leave it Stopped
}

// createFlow makes a guest (spec section 2.2). Everything in the database is
// taken in one transaction before the world is touched, and a failure takes
// all of it back: there is no half-made guest. Where the guest is, is written
// when it has its place there. Capacity is taken late: its rows are shared by all
// guests of a host or storage, and on MySQL they stay locked until the
// transaction ends.
func (s *Service) createFlow() *flow.Def[creation] {
	starts := func(st *creation) bool { return !st.StayStopped }
	return flow.Define("create-vm",
		flow.Tx("allocate-nics", s.allocateNICs, func(ctx context.Context, tx *store.Tx, st *creation) error {
			return s.networks.Free(ctx, tx, st.UUID)
		}),
		flow.Tx("place", s.place, s.unplace),
		flow.Tx("insert", s.insert, func(ctx context.Context, tx *store.Tx, st *creation) error {
			return s.remove(ctx, tx, st.UUID)
		}),
		flow.Do("make-volumes", s.makeVolumes, s.unmakeVolumes).Timeout(12*hour),
		flow.Do("prepare-network", do[creation](s.prepareNetwork), do[creation](s.releaseNetwork)).When(starts),
		point[creation](s, "nics-ready", pointReady).When(starts),
		flow.Do("start-on-host", do[creation](s.startOnHost), do[creation](s.destroyOnHost)).When(starts),
		point[creation](s, "started", pointStarted).When(starts),
		flow.Tx("finish", s.finishCreate, nil),
	)
}

func (s *Service) allocateNICs(ctx context.Context, tx *store.Tx, st *creation) error {
	hv, err := s.Plugins.Hypervisor(st.HypervisorType)
	if err != nil {
		return err
	}
	nics, err := s.networks.Allocate(ctx, tx, contract.NICRequest{VMUUID: st.UUID, AccountUUID: st.Row.AccountUUID,
		HypervisorType: st.HypervisorType, Driver: hv.Devices(devicesOf(st.Tags)).GetNicModel(), NICs: st.NICWishes})
	if err != nil {
		return err
	}
	st.NICs = nics
	s.describe(&st.guest, st.Tags, st.Row.DefaultL3NetworkUUID)
	return nil
}

// place takes the first of the planned places that still has room.
func (s *Service) place(ctx context.Context, tx *store.Tx, st *creation) error {
	var err error
	for _, pl := range st.Places {
		if err = s.takePlace(ctx, tx, st, pl); errs.ClassOf(err) != errs.Exhausted {
			break
		}
	}
	return err
}

// takePlace takes a host's and its storage's capacity. When there is too little,
// it has taken nothing.
func (s *Service) takePlace(ctx context.Context, tx *store.Tx, st *creation, pl contract.Place) error {
	room := st.room(st.MaxGuests)
	if err := s.hosts.Reserve(ctx, tx, pl.Host.UUID, room); err != nil {
		return err
	}
	err := s.storage.Plan(ctx, tx, pl, st.Volumes)
	if errs.ClassOf(err) == errs.Exhausted {
		return cmp.Or(s.hosts.Return(ctx, tx, pl.Host.UUID, room), err)
	}
	if err != nil {
		return err
	}
	st.Taken, st.Host, st.Place, st.Places = true, pl.Host.UUID, pl, nil
	return nil
}

// unplace gives the place back.
func (s *Service) unplace(ctx context.Context, tx *store.Tx, st *creation) error {
	if err := s.storage.Unplan(ctx, tx, st.Volumes); err != nil {
		return err
	}
	return s.unreserve(ctx, tx, &st.guest, &st.seat)
}

// insert writes the guest's own rows.
func (s *Service) insert(ctx context.Context, tx *store.Tx, st *creation) error {
	host, row := st.Place.Host, *st.Row
	row.ZoneUUID, row.ClusterUUID, row.HostUUID = host.ZoneUUID, host.ClusterUUID, host.UUID
	row.HypervisorType, row.CPUSpeed = host.HypervisorType, host.CPUMHz
	if err := insertNamed(ctx, tx, &row, st.Tags); err != nil {
		return err
	}
	st.nameNICs(hostnameOf(&row, st.Tags))
	if st.CdRom != nil {
		cd := *st.CdRom
		if err := store.Insert(ctx, tx, CdRomType, &cd); err != nil {
			return err
		}
	}
	if err := s.Tags.CreateAll(ctx, tx, "VmInstance", st.UUID, st.Tags, st.UserTags); err != nil {
		return err
	}
	// The rows have it now, and a journal that is short is written faster.
	st.Row, st.Tags, st.UserTags, st.NICWishes = nil, nil, nil, nil
	return guardParents(ctx, tx, st)
}

// guardParents makes sure that nothing the guest depends on is being deleted.
// It comes after what changes these rows: on MySQL it takes shared locks, and
// two transactions that both hold one and both want to change the row are a
// deadlock.
func guardParents(ctx context.Context, tx *store.Tx, st *creation) error {
	host := st.Place.Host
	parents := append(make([]cascade.Parent, 0, 8), cascade.Parent{Type: "Zone", UUID: host.ZoneUUID},
		cascade.Parent{Type: "Cluster", UUID: host.ClusterUUID}, cascade.Parent{Type: "Host", UUID: host.UUID},
		cascade.Parent{Type: "PrimaryStorage", UUID: st.Place.PrimaryUUID})
	for _, n := range st.NICs {
		parents = append(parents, cascade.Parent{Type: "L3Network", UUID: n.L3UUID})
	}
	return cascade.GuardAll(ctx, tx, parents...)
}

func (s *Service) makeVolumes(ctx context.Context, st *creation) error {
	h, err := s.host(ctx, &st.guest)
	if err != nil {
		return err
	}
	for _, v := range st.Volumes {
		if err := s.storage.Make(ctx, h, v); err != nil {
			return err
		}
	}
	if st.CdRom == nil {
		return nil
	}
	path, err := s.storage.Medium(ctx, h, st.Place, st.CdRom.ISOUUID)
	st.Drives[0].Path = path
	return err
}

// unmakeVolumes deletes what was made of the volumes. An image that came to a
// cache stays there for the next guest.
func (s *Service) unmakeVolumes(ctx context.Context, st *creation) error {
	h, err := s.host(ctx, &st.guest)
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	for _, v := range st.Volumes {
		if err := s.storage.Unmake(ctx, h, v); err != nil {
			return err
		}
	}
	return nil
}

// finishCreate marks what was made as usable. A guest that stays Stopped holds no
// CPU and memory (spec section 1.5).
func (s *Service) finishCreate(ctx context.Context, tx *store.Tx, st *creation) error {
	if err := s.storage.Ready(ctx, tx, st.Volumes); err != nil {
		return err
	}
	for _, d := range st.Drives {
		if err := store.Set(ctx, tx, CdRomType.Type, d.UUID, map[string]any{"isoInstallPath": d.Path}); err != nil {
			return err
		}
	}
	if st.StayStopped {
		return s.left(ctx, tx, st.UUID, "stopped", nil)
	}
	// Nobody else moves a guest that is made, so this needs no look before.
	n, err := tx.Exec(ctx, "UPDATE `VmInstance` SET `state` = ?, `lastOpDate` = ? WHERE `uuid` = ? AND `state` = ?",
		Running, resource.Now(), st.UUID, Starting)
	if err != nil {
		return err
	}
	if n == 0 {
		return s.move(ctx, tx, st.UUID, "running", nil) // which tells what is wrong
	}
	return nil
}
