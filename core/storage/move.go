package storage

import (
	"context"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/store"
)

// This file counts volumes that are copied to another host of their storage, with the
// guest that they are disks of. While they are, they take room in both places, and their
// rows are those of the first.

// Reserve takes the sizes of volumes where their plans are. The rows stay as they are.
// Errors: Exhausted, which has changed nothing; Invalid for a size that no volume has.
func (s *Service) Reserve(ctx context.Context, tx *store.Tx, volumes []*contract.VolumePlan) error {
	if err := checkSizes(volumes); err != nil {
		return err
	}
	for i, v := range volumes {
		if err := s.take(ctx, tx, link{v.PrimaryUUID, v.HostUUID}, v.Size); err != nil {
			if undone := s.Return(ctx, tx, volumes[:i]); undone != nil {
				return undone
			}
			return err
		}
	}
	return nil
}

// Return gives back what Reserve took. The caller makes sure that it did.
func (s *Service) Return(ctx context.Context, tx *store.Tx, volumes []*contract.VolumePlan) error {
	for _, v := range volumes {
		if err := s.use(ctx, tx, link{v.PrimaryUUID, v.HostUUID}, -v.Size); err != nil {
			return err
		}
	}
	return nil
}

// Moved has the rows of volumes say that they are where their plans are, and gives back
// what they took where they were. A volume that is there already, or is gone, is
// passed over.
func (s *Service) Moved(ctx context.Context, tx *store.Tx, volumes []*contract.VolumePlan) error {
	for _, v := range volumes {
		row, found, err := store.First(ctx, tx, VolumeType, "`uuid` = ?", v.UUID)
		if err != nil {
			return err
		}
		if !found || row.HostUUID == v.HostUUID {
			continue
		}
		if err := s.use(ctx, tx, link{row.PrimaryStorageUUID, row.HostUUID}, -row.Size); err != nil {
			return err
		}
		values := map[string]any{"hostUuid": v.HostUUID, "installPath": v.InstallPath}
		if err := store.Set(ctx, tx, VolumeType.Type, v.UUID, values); err != nil {
			return err
		}
	}
	return nil
}
