package provider

import (
	"cmp"
	"context"
	"maps"

	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/origin"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// creation is the state of the flow that makes a resource.
type creation struct {
	Type, UUID, Account string
	// Row has the values of the row, Facts what the plugin answered: as messages
	// of the contract, which keep their kinds. Changes are the rows that come with it.
	Row, Facts, Changes []byte
	// ForeignID is what it is called outside, of a type that is made there.
	ForeignID string `json:",omitempty"`
	// SystemTags and UserTags were given with the call.
	SystemTags, UserTags []string
	// Calls: the plugin is told. First: the row is there before, in a state that
	// says so; otherwise nobody sees it before it is made.
	Calls, First bool
}

// defineCreate is the flow of every create: row, plugin, ready; or, for types
// without a state of what is being made, plugin, row.
func (s *Service) defineCreate() *flow.Def[creation] {
	first := func(c *creation) bool { return c.First }
	return flow.Define("provide-create",
		flow.Tx("admit", s.admit, s.unadmit).When(func(c *creation) bool { return c.Calls && !c.First }),
		flow.Tx("record", s.record, s.unrecord).When(first),
		flow.Do("make", s.make, s.unmake).When(func(c *creation) bool { return c.Calls }),
		flow.Tx("keep", s.keep, nil))
}

func (s *Service) registerCreate(t *served) error {
	m := t.GetCreate()
	if m == nil {
		return nil
	}
	a := action.Action{
		Message: cmp.Or(m.GetMessage(), "APICreate"+t.GetName()+"Msg"), Method: "POST", Path: t.GetPath(), Async: true, Create: true,
		Access: t.access(m.GetAccess()), Returns: t.GetName(), Doc: cmp.Or(m.GetDoc(), "Makes a "+t.spoken()+"."),
		Params: append(baseParams(true), t.params(false)...), View: action.View{Caption: kernel.Said(m.GetCaption())}, Plugin: t.plugin,
	}
	return s.k.Actions.RegisterDynamic(a, func(ctx context.Context, c *action.Call, p map[string]any) (action.Ref, error) {
		ref := action.Ref{Type: t.GetName(), UUID: c.ResourceUUID}
		if err := s.enabled(t); err != nil {
			return ref, err
		}
		row, err := s.given(a.Message, p, append(baseFields, t.settable(false)...))
		if err != nil {
			return ref, err
		}
		st := &creation{Type: t.GetName(), UUID: c.ResourceUUID, SystemTags: c.SystemTags, UserTags: c.UserTags, Calls: t.GetCalls()}
		if t.GetOwned() {
			st.Account = c.Caller.AccountUUID
		}
		if states := t.GetStates(); states.GetReady() != "" {
			row[states.GetColumn()] = states.GetReady()
			if st.First = st.Calls && states.GetCreating() != ""; st.First {
				row[states.GetColumn()] = states.GetCreating()
			}
		}
		if st.Row, err = row.encode(); err != nil {
			return ref, err
		}
		return ref, flow.Run(ctx, s.k.Flows, s.creating, st, flow.Options{Job: c.Job, Key: ref.UUID, ResourceType: ref.Type, ResourceUUID: ref.UUID})
	})
}

// row is the row as it is to be.
func (c *creation) row(t *served) (values, error) {
	row, err := decode(c.Row)
	if err != nil {
		return nil, err
	}
	row["uuid"] = c.UUID
	if t.GetOwned() {
		row["accountUuid"] = c.Account
	}
	return row, nil
}

// rowOf is the type of a creation and its row.
func (s *Service) rowOf(c *creation) (*served, values, error) {
	t, err := s.named(c.Type)
	if err != nil {
		return nil, nil, err
	}
	row, err := c.row(t)
	return t, row, err
}

// admit looks, before the plugin is told, whether the row could be made: there is
// none of this UUID, which the undo would take for its own.
func (s *Service) admit(ctx context.Context, tx *store.Tx, c *creation) error {
	t, row, err := s.rowOf(c)
	if err != nil {
		return err
	}
	if n, err := store.Count(ctx, tx, t.typ, "`uuid` = ?", c.UUID); err != nil || n > 0 {
		return cmp.Or(err, error(errs.New(errs.Exists, c.Type+" "+c.UUID, "it exists already")))
	}
	if err := s.guard(ctx, tx, t, row); err != nil {
		return err
	}
	return s.claim(ctx, tx, t, row)
}

// unadmit takes back that something is being made outside.
func (s *Service) unadmit(ctx context.Context, tx *store.Tx, c *creation) error {
	return origin.Forget(ctx, tx, c.UUID)
}

// record writes the row and its tags.
func (s *Service) record(ctx context.Context, tx *store.Tx, c *creation) error {
	t, row, err := s.rowOf(c)
	if err != nil {
		return err
	}
	if err := s.insert(ctx, tx, t, c, row); err != nil {
		return err
	}
	return s.claim(ctx, tx, t, row)
}

func (s *Service) insert(ctx context.Context, tx *store.Tx, t *served, c *creation, row values) error {
	if err := s.guard(ctx, tx, t, row); err != nil {
		return err
	}
	if err := store.InsertValues(ctx, tx, t.typ, row); err != nil {
		return err
	}
	return s.k.Tags.CreateAll(ctx, tx, c.Type, c.UUID, c.SystemTags, c.UserTags)
}

func (s *Service) unrecord(ctx context.Context, tx *store.Tx, c *creation) error {
	t, err := s.named(c.Type)
	if err != nil {
		return err
	}
	return s.k.Tags.DeleteRow(ctx, tx, t.typ, c.UUID)
}

// make has the plugin make what the row stands for.
func (s *Service) make(ctx context.Context, c *creation) error {
	t, p, err := s.called(c.Type)
	if err != nil {
		return err
	}
	told, err := s.toldNew(ctx, t, c)
	if err != nil {
		return err
	}
	answer, err := p.CreateResource(ctx, &pluginv1.CreateResourceRequest{Resource: told})
	if err != nil {
		return t.failed(err, c.UUID, "make")
	}
	facts, err := t.facts(answer.GetFacts(), p.Decl)
	if err == nil {
		c.Facts, err = facts.encode()
	}
	if err == nil {
		c.Changes, err = kept(answer.GetChanges())
	}
	if c.ForeignID = answer.GetForeignId(); err == nil {
		err = t.checkForeignID(c.ForeignID)
	}
	return err
}

// unmake has the plugin take back whatever it has made.
func (s *Service) unmake(ctx context.Context, c *creation) error {
	t, p, err := s.called(c.Type)
	if err != nil {
		return err
	}
	told, err := s.toldNew(ctx, t, c)
	if err != nil {
		return err
	}
	told.ForeignId = c.ForeignID
	_, err = p.DeleteResource(ctx, &pluginv1.DeleteResourceRequest{Resource: told})
	return t.failed(err, c.UUID, "take back")
}

func (s *Service) toldNew(ctx context.Context, t *served, c *creation) (*pluginv1.Resource, error) {
	row, err := c.row(t)
	if err != nil {
		return nil, err
	}
	return s.told(ctx, s.k.Store, t, row, append([]string{}, c.SystemTags...))
}

// keep writes what the plugin answered, and with it the row that is ready.
func (s *Service) keep(ctx context.Context, tx *store.Tx, c *creation) error {
	t, err := s.named(c.Type)
	if err != nil {
		return err
	}
	facts, err := decode(c.Facts)
	if err != nil {
		return err
	}
	column := t.GetStates().GetColumn()
	if _, told := facts[column]; c.First && !told {
		facts[column] = t.GetStates().GetReady()
	}
	if c.First {
		err = store.Set(ctx, tx, t.typ, c.UUID, facts)
	} else {
		var row values
		if row, err = c.row(t); err == nil {
			maps.Copy(row, facts)
			err = s.insert(ctx, tx, t, c, row)
		}
	}
	if err == nil && c.ForeignID != "" {
		err = s.setOrigin(ctx, tx, t, c)
	}
	return cmp.Or(err, s.applyKept(ctx, tx, t, c.Changes, c.UUID))
}

// encode and decode carry values through the journal, by their kinds.
func (v values) encode() ([]byte, error) {
	told, err := v.proto()
	if err != nil {
		return nil, err
	}
	text, err := proto.Marshal(&pluginv1.Resource{Values: told})
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "values", err, "write them")
	}
	return text, nil
}

func decode(text []byte) (values, error) {
	r := &pluginv1.Resource{}
	if err := proto.Unmarshal(text, r); err != nil {
		return nil, errs.Wrap(errs.Internal, "values", err, "read them")
	}
	return valuesOf(r.GetValues()), nil
}
