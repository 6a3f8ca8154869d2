package tag

import (
	"cmp"
	"context"
	"strings"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

type onResource struct {
	ResourceType string `api:"resourceType,required" doc:"The stored type's name, such as VmInstanceVO."`
	ResourceUUID string `api:"resourceUuid,required,anytype"`
}

type createParams struct {
	onResource
	Tag string `api:"tag,required,secret,most=131072"`
}

type createManyParams struct {
	onResource
	Tags []string `api:"tags,required,nonempty,secret,most=131072"`
}

type deleteParams struct {
	UUID string `api:"uuid,path,required,anytype"`
}

type updateParams struct {
	UUID string `api:"uuid,path,required,resource=SystemTag"`
	Tag  string `api:"tag,required,secret,most=131072"`
}

// Register adds the API messages of tags. The registry's Lookup decides who
// may tag what.
func (s *Service) Register(r *action.Registry) {
	s.actions = r
	action.Register(r, action.Action{Message: "APICreateSystemTagMsg", Method: "POST", Path: "/system-tags", Async: true,
		Access: action.Normal, Queue: "resourceUuid", Returns: "SystemTag", Doc: "Sets a system tag on a resource."}, s.apiCreate)
	action.Register(r, action.Action{Message: "APICreateSystemTagsMsg", Method: "POST", Path: "/system-tags/{resourceUuid}/tags", Async: true,
		Access: action.Normal, Queue: "resourceUuid", Returns: "SystemTag", Doc: "Sets several system tags on a resource."}, s.apiCreateMany)
	action.Register(r, action.Action{Message: "APIUpdateSystemTagMsg", Method: "PUT", Path: "/system-tags/{uuid}/actions", Async: true,
		Access: action.Normal, Returns: "SystemTag", Doc: "Replaces a system tag by another of the same pattern."}, s.apiUpdate)
	action.Register(r, action.Action{Message: "APICreateUserTagMsg", Method: "POST", Path: "/user-tags", Async: true,
		Access: action.Normal, Queue: "resourceUuid", Returns: "UserTag", Doc: "Puts a label on a resource."}, s.apiCreateUser)
	action.Register(r, action.Action{Message: "APIDeleteTagMsg", Method: "DELETE", Path: "/tags/{uuid}", Async: true,
		Access: action.Normal, View: action.View{Type: "SystemTag", Subject: "uuid", Also: []string{"UserTag"}, Verb: "delete"},
		Removes: action.Removes(s.goneTag), Doc: "Deletes a system tag or user tag."}, s.apiDelete)
}

// target checks that the caller may tag the resource and returns its type.
func (s *Service) target(ctx context.Context, c *action.Call, p onResource) (*resource.Type, error) {
	t, ok := s.types.ByVO(p.ResourceType)
	if !ok {
		t, ok = s.types.Get(p.ResourceType)
	}
	if !ok || t.Internal {
		return nil, errs.New(errs.Invalid, "parameter resourceType of "+c.Message, "%q is no resource type", p.ResourceType)
	}
	return t, s.actions.Authorize(ctx, c.Caller, action.Target{Type: t.Name, UUID: p.ResourceUUID}, true)
}

func (s *Service) apiCreate(ctx context.Context, c *action.Call, p *createParams) (action.Ref, error) {
	refs, err := s.createMany(ctx, c, p.onResource, []string{p.Tag})
	if err != nil {
		return action.Ref{}, err
	}
	return refs[0], nil
}

func (s *Service) apiCreateMany(ctx context.Context, c *action.Call, p *createManyParams) (action.Refs, error) {
	return s.createMany(ctx, c, p.onResource, p.Tags)
}

func (s *Service) createMany(ctx context.Context, c *action.Call, on onResource, tags []string) (action.Refs, error) {
	t, err := s.target(ctx, c, on)
	if err != nil {
		return nil, err
	}
	for _, text := range tags {
		p, _, err := s.check(t.Name, text, c.Caller.Admin)
		if err != nil {
			return nil, err
		}
		if p.Take != nil {
			return nil, errs.New(errs.Invalid, "system tag "+p.Pattern+" of "+t.Name, "it can be given only with the message that makes the resource").
				WithAdvice("change what it says by its own message")
		}
	}
	var refs action.Refs
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		if err := store.Hold(ctx, tx, s.types.Root(t), on.ResourceUUID); err != nil {
			return err
		}
		rows, err := s.create(ctx, tx, t.Name, on.ResourceUUID, tags, false)
		for _, r := range rows {
			err = cmp.Or(err, s.given(ctx, tx, t.Name, on.ResourceUUID, r.text()))
		}
		refs = nil
		for _, r := range rows {
			refs = append(refs, action.Ref{Type: "SystemTag", UUID: r.UUID})
		}
		if err == nil && len(refs) == 0 {
			err = errs.New(errs.Invalid, "system tags of "+t.Name+" "+on.ResourceUUID, "none was given")
		}
		return err
	})
	return refs, err
}

func (s *Service) apiUpdate(ctx context.Context, c *action.Call, p *updateParams) (action.Ref, error) {
	ref := action.Ref{Type: "SystemTag", UUID: p.UUID}
	return ref, s.store.Update(ctx, func(tx *store.Tx) error {
		row, err := store.Get(ctx, tx, SystemTagType, p.UUID)
		if err != nil {
			return err
		}
		if row.Inherent {
			return errs.New(errs.Refused, "system tag "+p.UUID, "the system made it, so it cannot be changed")
		}
		typeName := strings.TrimSuffix(row.ResourceType, "VO")
		pattern, spelled, err := s.check(typeName, p.Tag, c.Caller.Admin)
		if err != nil {
			return err
		}
		if old, _ := s.find(typeName, row.text()); old != nil && old != pattern {
			return errs.New(errs.Invalid, "system tag "+p.UUID, "the new text is of the pattern %s, it must stay %s", pattern.Pattern, old.Pattern)
		}
		row.set(pattern, spelled)
		if err := s.given(ctx, tx, typeName, row.ResourceUUID, spelled); err != nil {
			return err
		}
		return store.Save(ctx, tx, SystemTagType, row, "tag", "sealed")
	})
}

// given tells who wants to know that a resource gets a tag.
func (s *Service) given(ctx context.Context, tx *store.Tx, typeName, resourceUUID, text string) error {
	p, tokens := s.find(typeName, text)
	if p == nil || p.Given == nil {
		return nil
	}
	return p.Given(ctx, tx, resourceUUID, tokens)
}

func (s *Service) apiCreateUser(ctx context.Context, c *action.Call, p *createParams) (action.Ref, error) {
	t, err := s.target(ctx, c, p.onResource)
	if err != nil {
		return action.Ref{}, err
	}
	if err := checkUser(t.Name, []string{p.Tag}); err != nil {
		return action.Ref{}, err
	}
	ref := action.Ref{Type: "UserTag"}
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		if err := store.Hold(ctx, tx, s.types.Root(t), p.ResourceUUID); err != nil {
			return err
		}
		old, found, err := store.First(ctx, tx, UserTagType, "`resourceUuid` = ? AND `tag` = ?", p.ResourceUUID, p.Tag)
		if err != nil {
			return err
		}
		if found && old.Tag == p.Tag {
			ref.UUID = old.UUID
			return nil
		}
		owner, root, err := s.owner(ctx, tx, t.Name, p.ResourceUUID)
		if err != nil {
			return err
		}
		row := &UserTag{ResourceUUID: p.ResourceUUID, ResourceType: root.VO(), Tag: p.Tag, Type: "User"}
		row.UUID, row.AccountUUID = resource.NewUUID(), owner
		ref.UUID = row.UUID
		return store.Insert(ctx, tx, UserTagType, row)
	})
	return ref, err
}

// apiDelete accepts a tag that is gone: clients delete tags after their
// resource.
func (s *Service) apiDelete(ctx context.Context, c *action.Call, p *deleteParams) (action.Empty, error) {
	return action.Empty{}, s.store.Update(ctx, func(tx *store.Tx) error {
		t, against, err := s.deletable(ctx, tx, c, p.UUID)
		if err = cmp.Or(err, against); err != nil || t == nil {
			return err
		}
		return store.Delete(ctx, tx, t, p.UUID)
	})
}

// deletable finds the type of a tag, nil when there is none, and what is against
// the caller's deleting it.
func (s *Service) deletable(ctx context.Context, tx *store.Tx, c *action.Call, uuid string) (t *resource.Type, against, err error) {
	sys, found, err := store.First(ctx, tx, SystemTagType, "`uuid` = ?", uuid)
	if err != nil || found && sys.Inherent {
		return SystemTagType.Type, errs.New(errs.Refused, "system tag "+uuid, "the system made it, so it cannot be deleted"), err
	}
	owner := ""
	if found {
		t, owner = SystemTagType.Type, sys.AccountUUID
	} else {
		user, found, err := store.First(ctx, tx, UserTagType, "`uuid` = ?", uuid)
		if err != nil || !found {
			return nil, nil, err
		}
		t, owner = UserTagType.Type, user.AccountUUID
	}
	if !c.Caller.Admin && owner != c.Caller.AccountUUID {
		against = errs.New(errs.Refused, "tag "+uuid, "it belongs to another account")
	}
	return t, against, nil
}

// goneTag is the plan of a tag's delete.
func (s *Service) goneTag(ctx context.Context, c *action.Call, p *deleteParams) (r action.Removal, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) error {
		t, against, err := s.deletable(ctx, tx, c, p.UUID)
		switch {
		case err != nil:
			return err
		case t == nil:
			return errs.New(errs.NotFound, "tag "+p.UUID, "it does not exist")
		case against != nil:
			r.Against = []error{against}
		}
		r.Subject = action.Row{Type: t.Name, UUID: p.UUID}
		r.Rows = []action.Row{r.Subject}
		return nil
	})
	return r, err
}
