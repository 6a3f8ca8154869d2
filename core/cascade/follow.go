package cascade

import (
	"context"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Follow does what the edges of plugins' own types say to their rows that depend on
// rows which a service deletes by itself, without a cascade, as when a guest is
// expunged: it is called in the same transaction, after them. The service knows the
// types of the core that depend on its own, but not these. Their plugins are told
// later, from what is left (Leave). Edges that restrict are of no account, for it is
// too late.
func (e *Engine) Follow(ctx context.Context, tx *store.Tx, typeName string, uuids ...string) error {
	if len(uuids) == 0 {
		return nil
	}
	for _, in := range e.reg.Inbound(typeName) {
		rule := in.Edge.OnDelete
		if in.From.Plugin == "" || in.Edge.ToColumn != "uuid" || rule != resource.Cascade && rule != resource.Detach {
			continue
		}
		for _, target := range uuids {
			if err := e.followEdge(ctx, tx, in, target); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *Engine) followEdge(ctx context.Context, tx *store.Tx, in resource.InboundEdge, target string) error {
	rows, err := store.Texts(ctx, tx, "SELECT `uuid` FROM `"+in.From.Name+"` WHERE `"+in.Edge.Column+"` = ?", target)
	if err != nil {
		return err
	}
	root := e.reg.Root(in.From).Name
	for _, uuid := range rows {
		if in.Edge.OnDelete == resource.Detach {
			err = e.clear(ctx, tx, Detach{Type: root, Table: in.From.Name, UUID: uuid, Column: in.Edge.Column, Target: target})
		} else {
			err = e.follow(ctx, tx, root, uuid)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// follow removes a row, and what depends on it.
func (e *Engine) follow(ctx context.Context, tx *store.Tx, typeName, uuid string) error {
	if e.deleter(typeName).Delete != nil {
		name, _, err := e.lookup(ctx, tx, typeName, uuid)
		if err == nil {
			err = e.leave(ctx, tx, Node{Type: typeName, UUID: uuid, Name: name},
				errs.New(errs.Refused, typeName+" "+uuid, "what it depended on has been deleted for good, and it has to be cleaned up after"))
		}
		if err != nil {
			return err
		}
	}
	if err := e.removeRow(ctx, tx, typeName, uuid); err != nil {
		return err
	}
	return e.Follow(ctx, tx, typeName, uuid)
}
