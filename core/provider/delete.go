package provider

import (
	"cmp"
	"context"
	"encoding/json"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func (s *Service) registerDelete(t *served) error {
	m := t.GetDelete()
	if m == nil {
		return nil
	}
	return s.k.RegisterDeletion(t.typ, action.Action{Message: m.GetMessage(), Access: t.access(m.GetAccess()), Doc: m.GetDoc(),
		Params: t.deleteModes(), View: action.View{Caption: kernel.Said(m.GetCaption())}, Plugin: t.plugin})
}

// deleter adds to one for rows alone what there is for a plugin to do: it removes
// what a row stands for, and is told of what it does not refer to any more.
func (s *Service) deleter(t *served, d cascade.Deleter) cascade.Deleter {
	d.Delete = func(ctx context.Context, uuid string, _ cascade.Mode) error {
		if stays, err := s.staysOutside(ctx, s.k.Store, t, uuid); err != nil || stays {
			return err
		}
		told, err := s.left(ctx, s.k.Store, t, uuid)
		if err != nil || told == nil {
			return err
		}
		return s.remove(ctx, t, told)
	}
	d.Leave = func(ctx context.Context, tx *store.Tx, uuid string) (json.RawMessage, error) {
		if stays, err := s.staysOutside(ctx, tx, t, uuid); err != nil || stays {
			return nil, cmp.Or(err, cascade.ErrNothingLeft)
		}
		told, err := s.left(ctx, tx, t, uuid)
		if err != nil || told == nil {
			return nil, err
		}
		return protojson.Marshal(told)
	}
	d.Collect = func(ctx context.Context, left json.RawMessage) error {
		told := &pluginv1.Resource{}
		if err := protojson.Unmarshal(left, told); err != nil {
			return errs.Wrap(errs.Internal, t.GetName(), err, "what is left of it cannot be read")
		}
		return s.remove(ctx, t, told)
	}
	for _, e := range t.typ.Edges {
		if e.OnDelete == resource.Detach {
			d.Detach = func(ctx context.Context, uuid, column, target string, _ cascade.Mode) error {
				return s.detach(ctx, t, uuid, column, target)
			}
		}
	}
	return d
}

// left is a row as the plugin is told, nil when it is gone.
func (s *Service) left(ctx context.Context, q store.Querier, t *served, uuid string) (*pluginv1.Resource, error) {
	row, err := s.row(ctx, q, t, uuid)
	if errs.ClassOf(err) == errs.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return s.told(ctx, q, t, row, nil)
}

func (s *Service) remove(ctx context.Context, t *served, told *pluginv1.Resource) error {
	_, p, err := s.called(t.GetName())
	if err != nil {
		return err
	}
	_, err = p.DeleteResource(ctx, &pluginv1.DeleteResourceRequest{Resource: told})
	return t.failed(err, told.GetUuid(), "remove")
}

// detach tells the plugin that a column is cleared. The cascade clears it then.
func (s *Service) detach(ctx context.Context, t *served, uuid, column, target string) error {
	row, err := s.row(ctx, s.k.Store, t, uuid)
	if errs.ClassOf(err) == errs.NotFound || err == nil && row[column] != target {
		return nil
	}
	if o, err := s.foreignRow(ctx, s.k.Store, t, uuid); err != nil || o != nil {
		return err // what it is attached to outside is told by the next sync
	}
	if err != nil {
		return err
	}
	before, err := row.encode()
	if err != nil {
		return err
	}
	_, _, err = s.update(ctx, &change{Type: t.GetName(), UUID: uuid, Changed: []string{column}, Before: before}, values{column: nil})
	return err
}
