package storage

import (
	"context"
	"slices"

	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
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

// Plan inserts the volumes' rows (Creating) and reserves their sizes in the
// caller's transaction. The caller guards the storage, afterwards. Errors:
// Exhausted, Invalid for a size that no volume has.
func (s *Service) Plan(ctx context.Context, tx *store.Tx, volumes []*contract.VolumePlan) error {
	if err := checkSizes(volumes); err != nil {
		return err
	}
	var rows []*Volume
	for _, v := range volumes {
		if v.ISO {
			continue
		}
		row := &Volume{PrimaryStorageUUID: v.PrimaryUUID, VMInstanceUUID: v.VMUUID, DiskOfferingUUID: v.DiskOfferingUUID,
			RootImageUUID: v.ImageUUID, Type: v.Type, Format: v.Format, Size: v.Size, DeviceID: v.DeviceID,
			State: Enabled, Status: VolumeCreating}
		row.UUID, row.Name, row.AccountUUID = v.UUID, v.Name, v.AccountUUID
		if v.HostLocal {
			row.HostUUID = v.HostUUID
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return nil
	}
	if err := s.takeAll(ctx, tx, volumes); err != nil {
		return err
	}
	if err := store.Insert(ctx, tx, VolumeType, rows...); err != nil {
		return err
	}
	for _, v := range volumes {
		if slices.Contains(v.Tags, TagVirtioSCSI) {
			v.Bus = "scsi"
		}
		if err := s.Tags.CreateAll(ctx, tx, "Volume", v.UUID, v.Tags, nil); err != nil {
			return err
		}
	}
	return nil
}

// takeAll reserves the sizes of volumes, together for those in one place.
func (s *Service) takeAll(ctx context.Context, tx *store.Tx, volumes []*contract.VolumePlan) error {
	type place struct {
		primary, host string
		local         bool
	}
	sizes := map[place]int64{}
	var order []place
	for _, v := range volumes {
		if v.ISO {
			continue
		}
		p := place{v.PrimaryUUID, v.HostUUID, v.HostLocal}
		if _, known := sizes[p]; !known {
			order = append(order, p)
		}
		sizes[p] += v.Size
	}
	for _, p := range order {
		if err := s.take(ctx, tx, p.primary, p.host, p.local, sizes[p]); err != nil {
			return err
		}
	}
	return nil
}

// Unplan removes rows and gives sizes back. What is gone already is a success
// and gives nothing back.
func (s *Service) Unplan(ctx context.Context, tx *store.Tx, volumes []*contract.VolumePlan) error {
	for _, v := range volumes {
		if v.ISO {
			continue
		}
		row, found, err := store.First(ctx, tx, VolumeType, "`uuid` = ?", v.UUID)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		if err := s.use(ctx, tx, row.PrimaryStorageUUID, row.HostUUID, -row.Size); err != nil {
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
		cached, err := s.ensureImage(ctx, st, plug, host, v)
		if err != nil {
			return err
		}
		if v.ISO {
			v.InstallPath = cached.InstallURL
			return nil
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

// Unmake deletes a volume's bits; what never was is a success, and so is a
// storage that is gone.
func (s *Service) Unmake(ctx context.Context, host *pluginv1.Host, v *contract.VolumePlan) error {
	if v.ISO {
		return nil
	}
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
		if v.ISO {
			continue
		}
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
			PrimaryUUID: r.PrimaryStorageUUID, HostUUID: r.HostUUID, HostLocal: r.HostUUID != "", ImageUUID: r.RootImageUUID,
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
	onSCSI, err := s.Tags.Carrying(ctx, q, TagVirtioSCSI, uuids)
	for _, v := range plans {
		if slices.Contains(onSCSI, v.UUID) {
			v.Bus = "scsi"
		}
	}
	return err
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

// deleteVolume removes a volume's bits and row, for the cascade of a storage.
// Enforcing forgets bits that cannot be reached.
func (s *Service) deleteVolume(ctx context.Context, uuid string, m cascade.Mode) error {
	row, err := store.Get(ctx, s.Store, VolumeType, uuid)
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
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
