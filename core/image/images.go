package image

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/hook"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// deleteParams are the parameters of APIDeleteImageMsg.
type deleteParams struct {
	UUID   string   `api:"uuid,required,path,resource=Image,missingok"`
	Stores []string `api:"backupStorageUuids,resource=BackupStorage"`
	Mode   string   `api:"deleteMode,default=Permissive"`
}

// deleteAsked ends the adding of copies that are to be deleted, for which the delete
// would wait.
func (s *Service) deleteAsked(_ context.Context, q action.Asked) error {
	var stores []string
	if given, ok := q.Parameters()["backupStorageUuids"]; ok {
		if err := json.Unmarshal(given, &stores); err != nil {
			return err
		}
	}
	s.adds.cancel(q.About.UUID, stores)
	return nil
}

// imageParams are the parameters of the other actions on one image.
type imageParams struct {
	UUID   string   `api:"imageUuid,required,path,resource=Image"`
	Stores []string `api:"backupStorageUuids,resource=BackupStorage"`
}

// deleted shows what can be done with an image that waits for its end.
var deleted = []action.When{{Field: "status", In: []string{Deleted}}}

func (s *Service) registerImages() error {
	s.registerAdd()
	s.registerUpload()
	action.Register(s.Actions, action.Action{
		Message: "APIDeleteImageMsg", Method: "DELETE", Path: "/images/{uuid}", Async: true, Access: action.Normal, Queue: "uuid",
		SuccessIfMissing: true, Kind: "image", Removes: action.Removes(s.goneImage), Doc: "Deletes an image, or its copies in the named stores, by the deletion policy; one that is still being added goes at once.",
	}, func(ctx context.Context, _ *action.Call, p *deleteParams) (action.Empty, error) {
		return action.Empty{}, s.deleteImage(ctx, p)
	})
	hook.On(s.Hooks, hook.Asked("APIDeleteImageMsg"), s.deleteAsked)
	action.Register(s.Actions, action.Action{
		Message: "APIExpungeImageMsg", Method: "PUT", Path: "/images/{imageUuid}/actions", Key: "expungeImage", Async: true,
		Access: action.Normal, Queue: "imageUuid", Kind: "image", View: action.View{When: deleted}, Doc: "Removes the bits of deleted copies of an image.",
	}, func(ctx context.Context, _ *action.Call, p *imageParams) (action.Empty, error) {
		return action.Empty{}, s.expunge(ctx, p.UUID, p.Stores)
	})
	action.Register(s.Actions, action.Action{
		Message: "APIRecoverImageMsg", Method: "PUT", Path: "/images/{imageUuid}/actions", Key: "recoverImage", Async: true,
		Access: action.Normal, Queue: "imageUuid", Returns: "Image", View: action.View{When: deleted}, Doc: "Makes deleted copies of an image usable again.",
	}, func(ctx context.Context, _ *action.Call, p *imageParams) (action.Ref, error) {
		return action.Ref{Type: "Image", UUID: p.UUID}, s.recoverImage(ctx, p)
	})
	if err := s.generic.RegisterUpdate(ImageType.Type, action.Normal, checkUpdate,
		action.Param{Name: "guestOsType", Type: "string", MaxLength: 255},
		action.Param{Name: "mediaType", Type: "string", MaxLength: 255, Values: []string{RootVolumeTemplate, DataVolumeTemplate, ISO}},
		action.Param{Name: "format", Type: "string", MaxLength: 255},
		action.Param{Name: "system", Type: "bool?"},
		action.Param{Name: "platform", Type: "string", Values: []string{"Linux", "Windows", "Other", "Paravirtualization", "WindowsVirtio"}},
		action.Param{Name: "architecture", Type: "string", MaxLength: 32, Values: []string{"x86_64", "aarch64", "mips64el", "loongarch64"}},
		action.Param{Name: "virtio", Type: "bool?"},
	); err != nil {
		return err
	}
	if err := s.generic.RegisterState(ImageType.Type, action.Normal, nil); err != nil {
		return err
	}
	for _, d := range []config.Setting{
		{Category: "image", Name: "deletionPolicy", Type: "string", Default: "Delay", Values: []string{"Direct", "Delay", "Never"},
			Doc: "Direct removes a deleted image at once, Delay after expungePeriod, Never keeps its bits."},
		{Category: "image", Name: "expungePeriod", Type: "int", Default: "259200", Min: 1, Max: 1 << 40, Doc: "Seconds that a deleted image is kept."},
		{Category: "image", Name: "expungeInterval", Type: "int", Default: "3600", Min: 1, Max: 1 << 40, Doc: "Seconds between two looks for images to expunge."},
	} {
		if err := s.Config.Define(d); err != nil {
			return err
		}
	}
	return nil
}

// checkUpdate refuses another format than the image's bytes have.
func checkUpdate(ctx context.Context, tx *store.Tx, uuid string, values map[string]any) error {
	format, given := values["format"]
	if !given || format == "" {
		delete(values, "format")
		return nil
	}
	img, err := store.Get(ctx, tx, ImageType, uuid)
	if err == nil && img.Format != format {
		err = errs.New(errs.Invalid, "format", "the bytes of image %s are %s, and an update does not change them", img.Name, img.Format).
			WithAdvice("add the image again in format %v", format)
	}
	return err
}

// refs returns the copies of an image in the named stores, or in all.
func (s *Service) refs(ctx context.Context, q store.Querier, uuid string, stores []string, status string) ([]*ImageBackupStorageRef, error) {
	where, args := "`imageUuid` = ?", []any{uuid}
	if len(stores) > 0 {
		where, args = where+" AND `backupStorageUuid` IN (?)", append(args, stores)
	}
	if status != "" {
		where, args = where+" AND `status` = ?", append(args, status)
	}
	return store.Find(ctx, q, ImageRefType, where, args...)
}

func (s *Service) deleteImage(ctx context.Context, p *deleteParams) error {
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		refs, err := s.refs(ctx, tx, p.UUID, p.Stores, "")
		if err != nil {
			return err
		}
		for _, r := range refs {
			if err := store.Set(ctx, tx, ImageRefType.Type, r.UUID, map[string]any{"status": Deleted}); err != nil {
				return err
			}
		}
		left, err := s.refs(ctx, tx, p.UUID, nil, Ready)
		if err != nil {
			return err
		}
		values := map[string]any{} // when it is written last begins the time until copies are expunged
		if len(left) == 0 {
			values["status"] = Deleted
		}
		return store.Set(ctx, tx, ImageType.Type, p.UUID, values)
	})
	if errs.ClassOf(err) == errs.NotFound {
		return nil // it went while the call waited for its turn
	}
	if err != nil {
		return err
	}
	switch s.Config.String(ctx, "image", "deletionPolicy", p.UUID) {
	case "Direct":
		return s.expunge(ctx, p.UUID, p.Stores)
	case "Never":
		return s.Store.Update(ctx, func(tx *store.Tx) error { return s.keepBits(ctx, tx, p) })
	}
	return nil
}

// keepBits forgets copies of an image, whose bits stay in their stores.
func (s *Service) keepBits(ctx context.Context, tx *store.Tx, p *deleteParams) error {
	copies, err := s.refs(ctx, tx, p.UUID, p.Stores, "")
	if err != nil {
		return err
	}
	for _, r := range copies {
		if err := store.Delete(ctx, tx, ImageRefType.Type, r.UUID); err != nil {
			return err
		}
	}
	return s.removeLast(ctx, tx, p.UUID)
}

// removeLast removes an image that has no copies left.
func (s *Service) removeLast(ctx context.Context, tx *store.Tx, uuid string) error {
	left, err := s.refs(ctx, tx, uuid, nil, "")
	if err != nil || len(left) > 0 {
		return err
	}
	return s.removeRows(ctx, tx, uuid)
}

// goneImage is the plan of an image's delete: the image, or the copies that are
// named when others are left.
func (s *Service) goneImage(ctx context.Context, _ *action.Call, p *deleteParams) (action.Removal, error) {
	r := action.Removal{Subject: action.Row{Type: ImageType.Name, UUID: p.UUID}}
	if len(p.Stores) > 0 {
		copies, err := s.refs(ctx, s.Store, p.UUID, nil, "")
		if err != nil {
			return r, err
		}
		for _, copied := range copies {
			if slices.Contains(p.Stores, copied.BackupStorageUUID) {
				r.Rows = append(r.Rows, action.Row{Type: ImageRefType.Name, UUID: copied.UUID})
			}
		}
		if len(r.Rows) < len(copies) {
			return r, nil
		}
	}
	r.Rows = []action.Row{r.Subject}
	return r, nil
}

// expunge removes the bits of deleted copies, and the image with its last
// copy. It can be repeated.
func (s *Service) expunge(ctx context.Context, uuid string, stores []string) error {
	deleted, err := s.refs(ctx, s.Store, uuid, stores, Deleted)
	if err != nil {
		return err
	}
	if len(deleted) == 0 {
		img, err := store.Get(ctx, s.Store, ImageType, uuid)
		if err != nil {
			return err
		}
		if img.Status != Deleted {
			return errs.New(errs.Refused, "image "+img.Name, "is not deleted; its status is %s", img.Status).WithAdvice("delete it first")
		}
	}
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		for _, r := range deleted {
			if err := store.Set(ctx, tx, ImageRefType.Type, r.UUID, map[string]any{"expunging": true}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, r := range deleted {
		if err := s.removeBits(ctx, r.BackupStorageUUID, uuid, r.InstallPath); err != nil {
			return err
		}
	}
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		for _, r := range deleted {
			n, err := tx.Exec(ctx, "DELETE FROM `ImageBackupStorageRef` WHERE `uuid` = ?", r.UUID)
			if err != nil {
				return err
			}
			if n == 1 {
				if err := giveBack(ctx, tx, uuid, r.BackupStorageUUID); err != nil {
					return err
				}
			}
		}
		return s.removeLast(ctx, tx, uuid)
	})
}

// giveBack makes the bytes of a copy that is gone available, up to what the
// store has.
func giveBack(ctx context.Context, tx *store.Tx, imageUUID, storeUUID string) error {
	img, found, err := store.First(ctx, tx, ImageType, "`uuid` = ?", imageUUID)
	if err != nil || !found {
		return err
	}
	_, err = tx.Exec(ctx, "UPDATE `BackupStorage` SET `availableCapacity` = CASE WHEN `availableCapacity` + ? > `totalCapacity` "+
		"THEN `totalCapacity` ELSE `availableCapacity` + ? END WHERE `uuid` = ?", img.ActualSize, img.ActualSize, storeUUID)
	return err
}

func (s *Service) recoverImage(ctx context.Context, p *imageParams) error {
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		refs, err := s.refs(ctx, tx, p.UUID, p.Stores, Deleted)
		if err != nil {
			return err
		}
		refs = slices.DeleteFunc(refs, func(r *ImageBackupStorageRef) bool { return r.Expunging })
		if len(refs) == 0 {
			return errs.New(errs.Refused, "image "+p.UUID, "has no deleted copy to recover, or it is being expunged")
		}
		for _, r := range refs {
			if err := store.Set(ctx, tx, ImageRefType.Type, r.UUID, map[string]any{"status": Ready}); err != nil {
				return err
			}
		}
		return store.Set(ctx, tx, ImageType.Type, p.UUID, map[string]any{"status": Ready})
	})
}

// deleteRef removes one copy's row when its store goes; an image without
// copies goes with the last one, and is deleted when only deleted ones are left.
func (s *Service) deleteRef(ctx context.Context, uuid string, _ cascade.Mode) error {
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		ref, found, err := store.First(ctx, tx, ImageRefType, "`uuid` = ?", uuid)
		if err != nil || !found {
			return err
		}
		if err := store.Delete(ctx, tx, ImageRefType.Type, uuid); err != nil {
			return err
		}
		if err := s.removeLast(ctx, tx, ref.ImageUUID); err != nil {
			return err
		}
		left, err := s.refs(ctx, tx, ref.ImageUUID, nil, "")
		if err != nil || len(left) == 0 || slices.ContainsFunc(left, func(r *ImageBackupStorageRef) bool { return r.Status != Deleted }) {
			return err
		}
		return store.Set(ctx, tx, ImageType.Type, ref.ImageUUID, map[string]any{"status": Deleted})
	})
}

// Start begins what this service does by itself until ctx ends.
func (s *Service) Start(ctx context.Context) {
	if err := s.hideURLs(ctx); err != nil {
		s.Log.Warn("images' URLs may show secrets, until the next start", "error", err)
	}
	s.looking.Go(func() { s.watch().Run(ctx, s.Config.Every(ctx, catStore, "ping.interval")) })
	go s.generic.EmptyTrash(ctx, kernel.Trash{Type: ImageType.Type, Category: "image",
		Deleted: "`uuid` IN (SELECT `imageUuid` FROM `ImageBackupStorageRef` WHERE `status` = ?)", Args: []any{Deleted},
		Since: "lastOpDate", Expunge: "APIExpungeImageMsg", Param: "imageUuid"})
}

// Stop waits for the looks at stores that Start began; the context that it was
// given has ended before.
func (s *Service) Stop() { s.looking.Wait() }
