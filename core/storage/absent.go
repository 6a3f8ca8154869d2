package storage

import (
	"context"
	"encoding/json"
	"time"

	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// absentTimeout bounds one try to take a storage from a host.
const absentTimeout = time.Minute

// absent is what a host may still have of a storage that is deleted, because
// the host was away, or failed, when the storage was detached from its cluster.
type absent struct {
	Host    string
	Storage *pluginv1.Storage
}

// leaveHostRef notes that a host is to give back a storage that is being
// deleted, and removes the row that said it (cascade.Deleter). A host that
// could be asked has no such row any more.
func (s *Service) leaveHostRef(ctx context.Context, uuid string, _ cascade.Mode) error {
	ref, err := store.Get(ctx, s.Store, HostRefType, uuid)
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	st, _, err := s.plugin(ctx, ref.PrimaryStorageUUID)
	if err != nil {
		return err
	}
	left, err := json.Marshal(absent{ref.HostUUID, st})
	if err != nil {
		return err
	}
	cause := errs.New(errs.Unavailable, "host "+ref.HostUUID, "it has not given back primary storage %s", st.GetName())
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		node := cascade.Node{Type: HostRefType.Name, UUID: uuid, Name: st.GetName()}
		if err := s.Cascade.Leave(ctx, tx, node, left, cause); err != nil {
			return err
		}
		return store.Delete(ctx, tx, HostRefType.Type, uuid)
	})
}

// collectHostRef takes the storage from the host when that is back
// (cascade.Deleter). A host that is deleted has nothing to give back.
func (s *Service) collectHostRef(ctx context.Context, left json.RawMessage) error {
	var a absent
	if err := json.Unmarshal(left, &a); err != nil {
		return errs.Wrap(errs.Internal, "what a host has of a storage", err, "cannot be read")
	}
	ctx, cancel := context.WithTimeout(ctx, absentTimeout)
	defer cancel()
	if _, err := s.hosts.PluginHost(ctx, s.Store, a.Host); errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	asked := false
	err := s.hosts.OnConnected(ctx, a.Host, func(h *pluginv1.Host) error {
		asked = true
		plug, err := s.Plugins.PrimaryStorage(a.Storage.GetType())
		if err != nil {
			return err
		}
		_, err = plug.DetachHost(ctx, &pluginv1.DetachHostRequest{Storage: a.Storage, Host: h})
		return err
	})
	if err == nil && !asked {
		err = errs.New(errs.Unavailable, "host "+a.Host, "it is not connected")
	}
	return err
}
