package storage

import (
	"context"
	"slices"

	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func checkSizes(volumes []*contract.VolumePlan) error {
	if len(volumes) > contract.MaxVolumes {
		return errs.New(errs.Invalid, "volumes", "%d at once are more than %d", len(volumes), contract.MaxVolumes)
	}
	for _, v := range volumes {
		if v.Size < 0 || v.Size > contract.MaxVolumeSize {
			return errs.New(errs.Invalid, "volume "+v.Name, "a size of %d bytes is not between 0 and %d", v.Size, int64(contract.MaxVolumeSize))
		}
	}
	return nil
}

// Plan inserts the volumes' rows (Creating) at a place and reserves their sizes
// in the caller's transaction. The caller guards the storage, afterwards. Errors:
// Exhausted, which has changed nothing; Invalid for a size that no volume has.
func (s *Service) Plan(ctx context.Context, tx *store.Tx, at contract.Place, volumes []*contract.VolumePlan) error {
	if err := checkSizes(volumes); err != nil || len(volumes) == 0 {
		return err
	}
	where := linkOf(at.PrimaryUUID, at.Host.UUID, at.HostLocal)
	var size int64
	for _, v := range volumes {
		size += v.Size
	}
	if err := s.take(ctx, tx, where, size); err != nil {
		return err
	}
	rows := make([]*Volume, len(volumes))
	for i, v := range volumes {
		v.PrimaryUUID, v.HostUUID, v.ImageStoreUUID = where.primary, where.host, at.ImageStoreUUID
		for t, bus := range *s.buses.Load() {
			if slices.Contains(v.Tags, t) {
				v.Bus = bus
			}
		}
		rows[i] = rowOf(v)
	}
	if err := store.Insert(ctx, tx, VolumeType, rows...); err != nil {
		return err
	}
	for _, v := range volumes {
		if err := s.Tags.CreateAll(ctx, tx, "Volume", v.UUID, v.Tags, nil); err != nil {
			return err
		}
	}
	return nil
}

// rowOf is the row of a volume that is to be made.
func rowOf(v *contract.VolumePlan) *Volume {
	row := &Volume{PrimaryStorageUUID: v.PrimaryUUID, HostUUID: v.HostUUID, VMInstanceUUID: v.VMUUID, DiskOfferingUUID: v.DiskOfferingUUID,
		RootImageUUID: v.ImageUUID, Type: v.Type, Format: v.Format, Size: v.Size, DeviceID: v.DeviceID,
		State: Enabled, Status: VolumeCreating}
	row.UUID, row.Name, row.AccountUUID = v.UUID, v.Name, v.AccountUUID
	return row
}

// Unplan removes rows and gives sizes back. What is gone already is a success
// and gives nothing back.
func (s *Service) Unplan(ctx context.Context, tx *store.Tx, volumes []*contract.VolumePlan) error {
	for _, v := range volumes {
		row, found, err := store.First(ctx, tx, VolumeType, "`uuid` = ?", v.UUID)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		if err := s.use(ctx, tx, link{row.PrimaryStorageUUID, row.HostUUID}, -row.Size); err != nil {
			return err
		}
		if err := s.Tags.DeleteRow(ctx, tx, VolumeType.Type, v.UUID); err != nil {
			return err
		}
	}
	return nil
}

// Make ensures the image's cache and makes the volume by the storage's plugin.
// It fills in path and size, and can be repeated.
func (s *Service) Make(ctx context.Context, host *pluginv1.Host, v *contract.VolumePlan) error {
	st, plug, err := s.plugin(ctx, v.PrimaryUUID)
	if err != nil {
		return err
	}
	req := &pluginv1.CreateVolumeRequest{Storage: st, Host: host, VolumeUuid: v.UUID, SizeBytes: v.Size, Format: v.Format}
	if v.ImageUUID != "" {
		cached, err := s.ensureImage(ctx, st, plug, host, source{v.ImageUUID, v.ImageStoreUUID})
		if err != nil {
			return err
		}
		req.BackingPath = cached.InstallURL
	}
	r, err := plug.CreateVolume(ctx, req)
	if err != nil {
		return errs.Wrap(errs.ClassOf(err), "volume "+v.UUID, err, "cannot be made on primary storage %s", st.GetName())
	}
	v.InstallPath, v.ActualSize, v.Format = r.GetInstallPath(), r.GetActualBytes(), r.GetFormat()
	return nil
}

// Medium puts an image in the cache of a place for a CD-ROM drive to read, and
// returns its path; it can be repeated.
func (s *Service) Medium(ctx context.Context, host *pluginv1.Host, at contract.Place, imageUUID string) (path string, err error) {
	st, plug, err := s.plugin(ctx, at.PrimaryUUID)
	if err != nil {
		return "", err
	}
	cached, err := s.ensureImage(ctx, st, plug, host, source{imageUUID, at.ImageStoreUUID})
	if err != nil {
		return "", err
	}
	return cached.InstallURL, nil
}

// Unmake deletes a volume's bits; what never was is a success, and so is a
// storage that is gone.
func (s *Service) Unmake(ctx context.Context, host *pluginv1.Host, v *contract.VolumePlan) error {
	st, plug, err := s.plugin(ctx, v.PrimaryUUID)
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = plug.DeleteVolume(ctx, &pluginv1.DeleteVolumeRequest{Storage: st, Host: host, VolumeUuid: v.UUID, InstallPath: v.InstallPath})
	return err
}

// Ready marks made volumes as usable.
func (s *Service) Ready(ctx context.Context, tx *store.Tx, volumes []*contract.VolumePlan) error {
	for _, v := range volumes {
		values := map[string]any{"status": VolumeReady, "installPath": v.InstallPath, "actualSize": v.ActualSize,
			"format": v.Format, "lastAttachDate": resource.Now()}
		if err := store.Set(ctx, tx, VolumeType.Type, v.UUID, values); err != nil {
			return err
		}
	}
	return nil
}

// OfVM returns the volumes of a guest, by device ID.
func (s *Service) OfVM(ctx context.Context, q store.Querier, vmUUID string) ([]*contract.VolumePlan, error) {
	rows, err := store.Find(ctx, q, VolumeType, "`vmInstanceUuid` = ? ORDER BY `deviceId`", vmUUID)
	if err != nil {
		return nil, err
	}
	plans := make([]*contract.VolumePlan, 0, len(rows))
	for _, r := range rows {
		plans = append(plans, &contract.VolumePlan{UUID: r.UUID, Name: r.Name, Type: r.Type, AccountUUID: r.AccountUUID, VMUUID: vmUUID,
			PrimaryUUID: r.PrimaryStorageUUID, HostUUID: r.HostUUID, ImageUUID: r.RootImageUUID,
			DiskOfferingUUID: r.DiskOfferingUUID, Format: r.Format, Size: r.Size, DeviceID: r.DeviceID,
			InstallPath: r.InstallPath, ActualSize: r.ActualSize})
	}
	return plans, s.readTags(ctx, q, plans)
}

// readTags takes from the volumes' system tags what their guest's hypervisor
// needs to know.
func (s *Service) readTags(ctx context.Context, q store.Querier, plans []*contract.VolumePlan) error {
	if len(plans) == 0 {
		return nil
	}
	uuids := make([]string, len(plans))
	for i, v := range plans {
		uuids[i] = v.UUID
	}
	for t, bus := range *s.buses.Load() {
		on, err := s.Tags.Carrying(ctx, q, t, uuids)
		if err != nil {
			return err
		}
		for _, v := range plans {
			if slices.Contains(on, v.UUID) {
				v.Bus = bus
			}
		}
	}
	return nil
}

// registerBuses lets volumes have the system tags by which hypervisors, as they
// declare, are asked for other buses than the usual one.
func (s *Service) registerBuses() error {
	buses := map[string]string{}
	for _, m := range s.generic.Declared() {
		for _, h := range m.GetHypervisors() {
			for _, b := range h.GetVolumeBuses() {
				known, ok := buses[b.GetTag()]
				if ok && known != b.GetBus() {
					return errs.New(errs.Invalid, "plugin "+m.GetName(), "means another bus by %s (%s) than one before it (%s)", b.GetTag(), b.GetBus(), known)
				}
				if buses[b.GetTag()] = b.GetBus(); ok {
					continue
				}
				if err := s.Tags.Define(tag.Pattern{Resource: VolumeType.Name, Pattern: b.GetTag()}); err != nil {
					return err
				}
			}
		}
	}
	s.buses.Store(&buses)
	return nil
}

// Detach frees a data volume from its guest and keeps it; gone is a success.
func (s *Service) Detach(ctx context.Context, tx *store.Tx, volumeUUID string) error {
	_, err := tx.Exec(ctx, "UPDATE `Volume` SET `lastVmInstanceUuid` = `vmInstanceUuid`, `vmInstanceUuid` = NULL, `lastDetachDate` = ? "+
		"WHERE `uuid` = ? AND `vmInstanceUuid` IS NOT NULL", resource.Now(), volumeUUID)
	return err
}

// SetStatus sets the status of a volume; gone is a success.
func (s *Service) SetStatus(ctx context.Context, tx *store.Tx, volumeUUID, status string) error {
	_, err := tx.Exec(ctx, "UPDATE `Volume` SET `status` = ? WHERE `uuid` = ?", status, volumeUUID)
	return err
}

// diskOf is the guest whose disk a volume is (cascade.Deleter).
func (s *Service) diskOf(ctx context.Context, uuid string) (string, error) {
	row, found, err := store.First(ctx, s.Store, VolumeType, "`uuid` = ?", uuid)
	if err != nil || !found {
		return "", err
	}
	return row.VMInstanceUUID, nil
}

// deleteVolume removes a volume's bits and row, for the cascade of a storage.
// Enforcing forgets bits that cannot be reached. A disk of a guest that runs stays.
func (s *Service) deleteVolume(ctx context.Context, uuid string, m cascade.Mode) error {
	row, err := store.Get(ctx, s.Store, VolumeType, uuid)
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if row.VMInstanceUUID != "" {
		if err := s.guests.Alive(ctx, s.Store, row.VMInstanceUUID); err != nil {
			return err
		}
	}
	v := &contract.VolumePlan{UUID: uuid, PrimaryUUID: row.PrimaryStorageUUID, InstallPath: row.InstallPath}
	host, err := s.hostFor(ctx, row)
	if err == nil {
		err = s.Unmake(ctx, host, v)
	}
	if err != nil && m != cascade.Enforcing {
		return err
	}
	if err != nil {
		s.Log.Warn("volume's bits not deleted", "volume", uuid, "error", err)
	}
	return s.Store.Update(ctx, func(tx *store.Tx) error { return s.Unplan(ctx, tx, []*contract.VolumePlan{v}) })
}

// hostFor returns a host through which a volume can be reached: its own for
// host-local storage, else any that the storage is connected to.
func (s *Service) hostFor(ctx context.Context, v *Volume) (*pluginv1.Host, error) {
	uuid := v.HostUUID
	if uuid == "" {
		ref, found, err := store.First(ctx, s.Store, HostRefType, "`primaryStorageUuid` = ? AND `status` = ?", v.PrimaryStorageUUID, Connected)
		if err != nil || !found {
			return nil, err
		}
		uuid = ref.HostUUID
	}
	return s.hosts.PluginHost(ctx, s.Store, uuid)
}
