package identity

import (
	"context"
	"slices"

	"github.com/kumo-cloud/kumo/core/access"
	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

type shareParams struct {
	Resources []string `api:"resourceUuids,required,nonempty,anytype"`
	Accounts  []string `api:"accountUuids,resource=Account"`
	ToPublic  bool     `api:"toPublic,default=false" doc:"Shares with every account."`
}

type revokeParams struct {
	shareParams
	All bool `api:"all,default=false" doc:"Ends every sharing of the resources."`
}

type ownerParams struct {
	Account  string `api:"accountUuid,path,required,resource=Account"`
	Resource string `api:"resourceUuid,required,noempty,anytype"`
}

// ownerView tells who owns a resource (AccountResourceRefInventory).
type ownerView struct {
	AccountUUID          string `json:"accountUuid"`
	ResourceUUID         string `json:"resourceUuid"`
	ResourceType         string `json:"resourceType"`
	ConcreteResourceType string `json:"concreteResourceType"`
	CreateDate           string `json:"createDate,omitempty"`
	LastOpDate           string `json:"lastOpDate,omitempty"`
}

type ownerReply struct {
	Inventory ownerView `json:"inventory"`
}

func (s *Service) registerSharing(r *action.Registry) {
	action.Register(r, action.Action{Message: "APIShareResourceMsg", Method: "PUT", Path: "/accounts/resources/actions", Async: true, Access: action.Admin,
		Doc: "Lets other accounts read and use resources, and what is a part of them. What is shared already stays so."}, s.apiShare)
	action.Register(r, action.Action{Message: "APIRevokeResourceSharingMsg", Method: "PUT", Path: "/accounts/resources/actions", Async: true, Access: action.Admin,
		Doc: "Ends the sharing of resources with the accounts named, with everybody (toPublic), or all of it."}, s.apiRevoke)
	action.Register(r, action.Action{Message: "APIChangeResourceOwnerMsg", Method: "POST", Path: "/account/{accountUuid}/resources", Async: true, Access: action.Admin,
		Queue: "resourceUuid", Doc: "Gives a resource, and what belongs to it, to another account."}, s.apiChangeOwner)
}

// shareable finds the type of each resource: one whose rows have an owner of
// their own, which is also the one to share. errs.NotFound, errs.Refused.
func (s *Service) shareable(ctx context.Context, q store.Querier, uuids []string) ([]access.Shared, error) {
	rows := make([]access.Shared, 0, len(uuids))
	for _, uuid := range uuids {
		t, account, err := s.ownedRow(ctx, q, uuid)
		if err != nil {
			return nil, err
		}
		if err := s.givable(ctx, q, t, uuid); err != nil {
			return nil, err
		}
		rows = append(rows, access.Shared{OwnerAccountUUID: account, ResourceType: t.VO(), ResourceUUID: uuid})
	}
	return rows, nil
}

// ownedRow finds the row of an owned type that has a uuid.
func (s *Service) ownedRow(ctx context.Context, q store.Querier, uuid string) (*resource.Type, string, error) {
	t, err := access.Find(ctx, q, s.store.Registry(), uuid)
	switch {
	case err != nil:
		return nil, "", err
	case t == nil:
		return nil, "", errs.New(errs.NotFound, "resource "+uuid, "it does not exist")
	case t.OwnedBy != "":
		return nil, "", errs.New(errs.Refused, t.Name+" "+uuid, "it is shared with, and belongs to the owner of, what it is a part of").
			WithAdvice("name its %s", t.OwnedBy)
	case !t.Owned:
		return nil, "", errs.New(errs.Refused, t.Name+" "+uuid, "resources of this type belong to no account")
	case t.Internal:
		return nil, "", errs.New(errs.Refused, t.Name+" "+uuid, "it cannot be shared or given away")
	}
	account, err := access.Owner(ctx, q, s.store.Registry(), t, uuid)
	return t, account, err
}

func (s *Service) apiShare(ctx context.Context, _ *action.Call, p *shareParams) (action.Empty, error) {
	if len(p.Accounts) == 0 && !p.ToPublic {
		return action.Empty{}, errs.New(errs.Invalid, "parameter accountUuids of APIShareResourceMsg", "nobody to share with is named").
			WithAdvice("name accounts, or set toPublic")
	}
	return action.Empty{}, s.store.Update(ctx, func(tx *store.Tx) error {
		wanted, err := s.shareable(ctx, tx, p.Resources)
		if err != nil {
			return err
		}
		have, err := store.Find(ctx, tx, access.SharedType, "`resourceUuid` IN (?)", p.Resources)
		if err != nil {
			return err
		}
		known := map[[2]string]bool{}
		for _, row := range have {
			known[[2]string{row.ResourceUUID, row.ReceiverUUID}] = true
		}
		receivers := slices.Clone(p.Accounts)
		if p.ToPublic {
			receivers = append(receivers, "")
		}
		var rows []*access.Shared
		for _, w := range wanted {
			for _, receiver := range receivers {
				key := [2]string{w.ResourceUUID, receiver}
				if known[key] || receiver == w.OwnerAccountUUID {
					continue
				}
				known[key] = true
				row := w
				row.UUID, row.ReceiverUUID, row.ToPublic = resource.NewUUID(), receiver, receiver == ""
				rows = append(rows, &row)
			}
		}
		return store.Insert(ctx, tx, access.SharedType, rows...)
	})
}

func (s *Service) apiRevoke(ctx context.Context, _ *action.Call, p *revokeParams) (action.Empty, error) {
	if len(p.Accounts) == 0 && !p.ToPublic && !p.All {
		return action.Empty{}, errs.New(errs.Invalid, "parameter accountUuids of APIRevokeResourceSharingMsg", "it is not said whose sharing ends").
			WithAdvice("name accounts, or set toPublic or all")
	}
	return action.Empty{}, s.store.Update(ctx, func(tx *store.Tx) error {
		rows, err := store.Find(ctx, tx, access.SharedType, "`resourceUuid` IN (?)", p.Resources)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if p.All || p.ToPublic && row.ToPublic || slices.Contains(p.Accounts, row.ReceiverUUID) {
				if err := store.Delete(ctx, tx, access.SharedType.Type, row.UUID); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// givable refuses what has its owner from something else: an account, what ends
// with its account, and what belongs to another resource at the moment.
func (s *Service) givable(ctx context.Context, q store.Querier, t *resource.Type, uuid string) error {
	led := t == AccountType.Type || t == AccessKeyType.Type
	if t.Follows != "" {
		row, err := store.GetValues(ctx, q, t, uuid)
		if err != nil {
			return err
		}
		text, _ := row[t.Follows].(string)
		led = text != ""
	}
	if led {
		return errs.New(errs.Refused, t.Name+" "+uuid, "it goes with what it belongs to and cannot be shared or given away by itself")
	}
	return nil
}

func (s *Service) apiChangeOwner(ctx context.Context, _ *action.Call, p *ownerParams) (ownerReply, error) {
	out := ownerReply{}
	return out, s.store.Update(ctx, func(tx *store.Tx) error {
		t, _, err := s.ownedRow(ctx, tx, p.Resource)
		if err != nil {
			return err
		}
		if err := s.givable(ctx, tx, t, p.Resource); err != nil {
			return err
		}
		if err := access.GiveTo(ctx, tx, s.store.Registry(), t, p.Resource, p.Account); err != nil {
			return err
		}
		now := action.FormatTime(resource.Now().Time)
		out.Inventory = ownerView{AccountUUID: p.Account, ResourceUUID: p.Resource, ResourceType: t.VO(), ConcreteResourceType: t.VO(), CreateDate: now, LastOpDate: now}
		return nil
	})
}
