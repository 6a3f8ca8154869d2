package storage

import (
	"context"

	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func pluginStorage(p *PrimaryStorage, fields map[string]string) *pluginv1.Storage {
	return &pluginv1.Storage{Uuid: p.UUID, Name: p.Name, Type: p.Type, Url: p.URL, Fields: fields}
}

// plugin returns a storage as its plugin sees it, and the plugin. Each volume
// asks for it, so it reads no column of capacity and the answer can be kept.
func (s *Service) plugin(ctx context.Context, psUUID string) (*pluginv1.Storage, *plugin.PrimaryStorage, error) {
	q := store.Cached(s.Store)
	var row *PrimaryStorage
	err := q.Each(ctx, "SELECT `name`, `type`, `url` FROM `PrimaryStorage` WHERE `uuid` = ?", []any{psUUID}, func(r *store.Row) error {
		row = &PrimaryStorage{Type: r.Text(1), URL: r.Text(2)}
		row.UUID, row.Name = psUUID, r.Text(0)
		return nil
	})
	if err == nil && row == nil {
		err = errs.New(errs.NotFound, "PrimaryStorage "+psUUID, "it does not exist")
	}
	if err != nil {
		return nil, nil, err
	}
	fields, err := s.generic.PluginFieldsOf(ctx, q, PrimaryStorageType.Type, row.Type, psUUID)
	if err != nil {
		return nil, nil, err
	}
	plug, err := s.Plugins.PrimaryStorage(row.Type)
	return pluginStorage(row, fields), plug, err
}

// saveHostRef records that a storage is usable on a host. Of a host-local
// storage the capacity counts per host, and the storage's row is the sum; what
// volumes have been promised stays taken when a host connects again.
func (s *Service) saveHostRef(ctx context.Context, tx *store.Tx, psUUID, hostUUID string, hostLocal bool, c *pluginv1.Capacity) error {
	ref, found, err := store.First(ctx, tx, HostRefType, "`primaryStorageUuid` = ? AND `hostUuid` = ?", psUUID, hostUUID)
	if err != nil {
		return err
	}
	total, free := bytesOf(c)
	tx.OnCommit(func() { s.wasRead(linkOf(psUUID, hostUUID, hostLocal)) })
	switch {
	case !found:
		ref = &PrimaryStorageHostRef{PrimaryStorageUUID: psUUID, HostUUID: hostUUID, Status: Connected}
		ref.UUID = resource.NewUUID()
		if hostLocal {
			ref.TotalCapacity, ref.TotalPhysical = total, total
			ref.AvailableCapacity, ref.AvailablePhysical = free, free
		}
		if err := store.Insert(ctx, tx, HostRefType, ref); err != nil {
			return err
		}
	default:
		grown := int64(0)
		if hostLocal {
			grown = total - ref.TotalCapacity
			ref.TotalCapacity, ref.TotalPhysical, ref.AvailablePhysical = total, total, free
		}
		_, err := tx.Exec(ctx, "UPDATE `PrimaryStorageHostRef` SET `status` = ?, `totalCapacity` = ?, `totalPhysicalCapacity` = ?, "+
			"`availablePhysicalCapacity` = ?, `availableCapacity` = `availableCapacity` + ?, `fresh` = ? WHERE `uuid` = ?",
			Connected, ref.TotalCapacity, ref.TotalPhysical, ref.AvailablePhysical, grown, false, ref.UUID)
		if err != nil {
			return err
		}
	}
	if !hostLocal {
		return savePrimary(ctx, tx, psUUID, total, free)
	}
	return s.sumHosts(ctx, tx, psUUID)
}

func linkOf(psUUID, hostUUID string, hostLocal bool) link {
	if hostLocal {
		return link{psUUID, hostUUID}
	}
	return link{primary: psUUID}
}

// savePrimary records the capacity of a storage that hosts share.
func savePrimary(ctx context.Context, tx *store.Tx, psUUID string, total, free int64) error {
	// MySQL assigns in this order, and the first needs the old total.
	_, err := tx.Exec(ctx, "UPDATE `PrimaryStorage` SET `availableCapacity` = `availableCapacity` + ? - `totalCapacity`, "+
		"`totalCapacity` = ?, `totalPhysicalCapacity` = ?, `availablePhysicalCapacity` = ? WHERE `uuid` = ?", total, total, total, free, psUUID)
	return err
}

func (s *Service) removeHostRef(ctx context.Context, tx *store.Tx, psUUID, hostUUID string) error {
	if err := s.hosts.Unchecked(ctx, tx, hostUUID, checkName, psUUID); err != nil {
		return err
	}
	n, err := tx.Exec(ctx, "DELETE FROM `PrimaryStorageHostRef` WHERE `primaryStorageUuid` = ? AND `hostUuid` = ?", psUUID, hostUUID)
	if err != nil || n == 0 {
		return err
	}
	return s.sumIfLocal(ctx, tx, psUUID)
}

// hostLocal reports whether a storage keeps its volumes on hosts.
func (s *Service) hostLocal(ctx context.Context, q store.Querier, psUUID string) (bool, error) {
	row, err := store.Get(ctx, q, PrimaryStorageType, psUUID)
	if err != nil {
		return false, err
	}
	plug, err := s.Plugins.PrimaryStorage(row.Type)
	return err == nil && plug.Decl.GetHostLocal(), err
}

func (s *Service) sumIfLocal(ctx context.Context, tx *store.Tx, psUUID string) error {
	local, err := s.hostLocal(ctx, tx, psUUID)
	if err != nil || !local {
		return err
	}
	return s.sumHosts(ctx, tx, psUUID)
}

// sumHosts makes a storage that keeps its volumes on hosts what its links are:
// it is Disconnected when it has some and all are.
func (s *Service) sumHosts(ctx context.Context, tx *store.Tx, psUUID string) error {
	sum := func(col string) string {
		return "`" + col + "` = (SELECT COALESCE(SUM(`" + col + "`), 0) FROM `PrimaryStorageHostRef` WHERE `primaryStorageUuid` = ?)"
	}
	const links = "SELECT 1 FROM `PrimaryStorageHostRef` WHERE `primaryStorageUuid` = ?"
	_, err := tx.Exec(ctx, "UPDATE `PrimaryStorage` SET "+sum("totalCapacity")+", "+sum("availableCapacity")+", "+
		sum("totalPhysicalCapacity")+", "+sum("availablePhysicalCapacity")+", "+
		"`status` = CASE WHEN NOT EXISTS ("+links+") OR EXISTS ("+links+" AND `status` = ?) THEN ? ELSE ? END WHERE `uuid` = ?",
		psUUID, psUUID, psUUID, psUUID, psUUID, psUUID, Connected, Connected, Disconnected, psUUID)
	return err
}

// take reserves bytes of a storage for volumes that are to be made. Errors:
// Exhausted, which has changed nothing.
func (s *Service) take(ctx context.Context, tx *store.Tx, at link, size int64) error {
	if size == 0 {
		return nil
	}
	if size < 0 {
		return errs.New(errs.Invalid, "primary storage "+at.primary, "%d bytes cannot be reserved", size)
	}
	reserved := s.Config.Int64(ctx, catPrimary, "reservedCapacity", at.primary)
	if at.host != "" {
		n, err := tx.Exec(ctx, "UPDATE `PrimaryStorageHostRef` SET `availableCapacity` = `availableCapacity` - ? "+
			"WHERE `primaryStorageUuid` = ? AND `hostUuid` = ? AND `availableCapacity` - ? >= ?", size, at.primary, at.host, reserved, size)
		if err != nil {
			return err
		}
		if n == 0 {
			return errs.New(errs.Exhausted, "primary storage "+at.primary, "has no room for %d bytes on host %s", size, at.host)
		}
	}
	enough, args := "", []any{size, at.primary, Enabled}
	if at.host == "" { // else the host's part has decided
		enough, args = " AND `availableCapacity` - ? >= ?", append(args, reserved, size)
	}
	n, err := tx.Exec(ctx, "UPDATE `PrimaryStorage` SET `availableCapacity` = `availableCapacity` - ? WHERE `uuid` = ? AND `state` = ?"+enough, args...)
	if err != nil || n > 0 {
		return err
	}
	if err := useOfHost(ctx, tx, at, -size); err != nil {
		return err
	}
	row, err := store.Get(ctx, tx, PrimaryStorageType, at.primary)
	switch {
	case err != nil:
		return err
	case row.State != Enabled:
		return errs.New(errs.Exhausted, "primary storage "+row.Name, "takes no new volumes, its state is %s", row.State)
	}
	return errs.New(errs.Exhausted, "primary storage "+row.Name, "has no room for %d bytes", size)
}

// use takes bytes that are there already, such as an image's in a cache: it does
// not ask whether there is room. A negative size gives bytes back. An empty host
// counts on the storage alone.
func (s *Service) use(ctx context.Context, tx *store.Tx, at link, size int64) error {
	if err := useOfHost(ctx, tx, at, size); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "UPDATE `PrimaryStorage` SET `availableCapacity` = `availableCapacity` - ? WHERE `uuid` = ?", size, at.primary)
	return err
}

// useOfHost counts bytes on what a host has of a storage, if that is a place.
func useOfHost(ctx context.Context, tx *store.Tx, at link, size int64) error {
	if at.host == "" {
		return nil
	}
	_, err := tx.Exec(ctx, "UPDATE `PrimaryStorageHostRef` SET `availableCapacity` = `availableCapacity` - ? WHERE `primaryStorageUuid` = ? AND `hostUuid` = ?",
		size, at.primary, at.host)
	return err
}

// notAttached refuses to delete a storage that clusters use (spec section 1).
func (s *Service) notAttached(ctx context.Context, uuid string) error {
	_, attached, err := store.First(ctx, s.Store, ClusterRefType, "`primaryStorageUuid` = ?", uuid)
	if err != nil || !attached {
		return err
	}
	return errs.New(errs.Refused, "primary storage "+uuid, "is attached to clusters").WithAdvice("detach it from its clusters first")
}
