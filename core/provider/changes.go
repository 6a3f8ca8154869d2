package provider

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// maxChanges bounds the rows of one change.
const maxChanges = 5000

// errStale says that a row is not the one for which a change was made up.
var errStale = errors.New("it has changed meanwhile")

// Get reads a row of a plugin's own types, with its version. Errors: Denied for a type
// that is not the plugin's, NotFound.
func (s *Service) Get(ctx context.Context, plugin, typeName, uuid string) (*pluginv1.Resource, error) {
	t, err := s.own(plugin, typeName)
	if err != nil {
		return nil, err
	}
	row, err := s.row(ctx, s.k.Store, t, uuid)
	if err != nil {
		return nil, err
	}
	return s.toldNow(ctx, t, row)
}

// toldNow is a row that is in the database, with its version.
func (s *Service) toldNow(ctx context.Context, t *served, row values) (*pluginv1.Resource, error) {
	told, err := s.told(ctx, s.k.Store, t, row, nil)
	if err == nil {
		told.Version, err = versionOf(row)
	}
	return told, err
}

// Put changes rows of a plugin's own types, in one transaction. Errors: Denied for a
// type that is not the plugin's, Unavailable for a version that is not the row's any
// more, Refused for a row on which others depend, Invalid for values that do not fit.
func (s *Service) Put(ctx context.Context, plugin string, c *pluginv1.RowChanges) error {
	return s.k.Store.Update(ctx, func(tx *store.Tx) error { return s.apply(ctx, tx, plugin, c, "") })
}

// own is a type of the plugin's.
func (s *Service) own(plugin, typeName string) (*served, error) {
	t, err := s.named(typeName)
	if err == nil && t.plugin == plugin && !t.dormant {
		return t, nil
	}
	return nil, errs.New(errs.Denied, "plugin "+plugin, "%q is no resource type of its own", typeName)
}

// versionOf tells rows apart by all that is in them.
func versionOf(row values) (string, error) {
	text, err := json.Marshal(row) // its keys are sorted
	if err != nil {
		return "", errs.Wrap(errs.Internal, "row", err, "write it")
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16]), nil
}

// apply makes changes in a transaction: first what goes, then what comes, each in its
// order. with is the UUID of a row that is made in the same transaction before, "" for
// none.
func (s *Service) apply(ctx context.Context, tx *store.Tx, plugin string, c *pluginv1.RowChanges, with string) error {
	if n := len(c.GetPuts()) + len(c.GetDeletes()); n > maxChanges {
		return errs.New(errs.Exhausted, "plugin "+plugin, "it changes %d rows at once, at most %d are allowed", n, maxChanges)
	}
	for _, d := range c.GetDeletes() {
		if err := s.drop(ctx, tx, plugin, d); err != nil {
			return err
		}
	}
	made := map[string]bool{with: true}
	for _, p := range c.GetPuts() {
		made[p.GetUuid()] = true
	}
	if err := s.guardAll(ctx, tx, plugin, c.GetPuts(), made); err != nil {
		return err
	}
	for _, p := range c.GetPuts() {
		if err := s.put(ctx, tx, plugin, p); err != nil {
			return err
		}
	}
	return nil
}

// kept are changes as the state of a flow has them, and applyKept makes them.
func kept(c *pluginv1.RowChanges) ([]byte, error) {
	if c == nil {
		return nil, nil
	}
	text, err := proto.Marshal(c)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "changes", err, "write them")
	}
	return text, nil
}

func (s *Service) applyKept(ctx context.Context, tx *store.Tx, t *served, text []byte, with string) error {
	c := &pluginv1.RowChanges{}
	if err := proto.Unmarshal(text, c); err != nil {
		return errs.Wrap(errs.Internal, "changes", err, "read them")
	}
	return s.apply(ctx, tx, t.plugin, c, with)
}

// fresh refuses a change that was made up for another version of a row; there is none
// when row is nil.
func fresh(t *served, uuid, version string, row values) error {
	if version == "" {
		return nil
	}
	now := ""
	if row != nil {
		var err error
		if now, err = versionOf(row); err != nil {
			return err
		}
	}
	if now != version {
		return errs.Wrap(errs.Unavailable, t.GetName()+" "+uuid, errStale, "").WithAdvice("read it again, and repeat the change")
	}
	return nil
}

// found is a row, nil when there is none.
func (s *Service) found(ctx context.Context, q store.Querier, t *served, uuid string) (values, error) {
	row, err := s.row(ctx, q, t, uuid)
	if errs.ClassOf(err) == errs.NotFound {
		return nil, nil
	}
	return row, err
}

// drop deletes a row that is a leaf: what a delete of others' rows needs is the
// cascade's to know.
func (s *Service) drop(ctx context.Context, tx *store.Tx, plugin string, d *pluginv1.RowDelete) error {
	t, err := s.own(plugin, d.GetType())
	if err != nil {
		return err
	}
	row, err := s.found(ctx, tx, t, d.GetUuid())
	if err != nil || row == nil {
		return err
	}
	if err := fresh(t, d.GetUuid(), d.GetVersion(), row); err != nil {
		return err
	}
	for _, e := range s.k.Types.Inbound(t.GetName()) {
		if e.Edge.OnDelete == resource.None {
			continue
		}
		n, err := store.Count(ctx, tx, e.From, "`"+e.Edge.Column+"` = ?", d.GetUuid())
		if err != nil {
			return err
		}
		if n > 0 {
			return errs.New(errs.Refused, t.GetName()+" "+d.GetUuid(), "%d of type %s depend on it", n, e.From.Name).
				WithAdvice("delete them before, or it by its message")
		}
	}
	return s.k.Tags.DeleteRow(ctx, tx, t.typ, d.GetUuid())
}

// guardAll sees to it that what the rows refer to is there, but for those that are made
// with them.
func (s *Service) guardAll(ctx context.Context, tx *store.Tx, plugin string, puts []*pluginv1.RowPut, made map[string]bool) error {
	const atOnce = 100
	var parents []cascade.Parent
	seen := map[cascade.Parent]bool{}
	for _, p := range puts {
		t, err := s.own(plugin, p.GetType())
		if err != nil {
			return err
		}
		for _, f := range t.GetFields() {
			parent := cascade.Parent{Type: t.refOf(f), UUID: p.GetValues()[f.GetName()].GetText()}
			if parent.Type != "" && parent.UUID != "" && !made[parent.UUID] && !seen[parent] {
				parents, seen[parent] = append(parents, parent), true
			}
		}
	}
	for some := range slices.Chunk(parents, atOnce) {
		if err := cascade.GuardAll(ctx, tx, some...); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) put(ctx context.Context, tx *store.Tx, plugin string, p *pluginv1.RowPut) error {
	t, err := s.own(plugin, p.GetType())
	if err != nil {
		return err
	}
	if !action.IsUUID(p.GetUuid()) {
		return errs.New(errs.Invalid, "plugin "+plugin, "%q is no UUID for a %s", p.GetUuid(), t.GetName())
	}
	row, err := s.found(ctx, tx, t, p.GetUuid())
	if err != nil {
		return err
	}
	if err := fresh(t, p.GetUuid(), p.GetVersion(), row); err != nil {
		return err
	}
	set, err := t.putValues(plugin, p, row)
	if err != nil {
		return err
	}
	if row != nil && len(set) == 0 {
		return nil
	}
	if row != nil {
		return store.Set(ctx, tx, t.typ, p.GetUuid(), set)
	}
	set["uuid"] = p.GetUuid()
	if t.GetOwned() {
		set["accountUuid"] = p.GetAccountUuid()
	}
	return store.InsertValues(ctx, tx, t.typ, set)
}

// putValues are the values that a put changes of a row, which is nil for a new one. Errors: Invalid, which names
// the plugin and the field.
func (t *served) putValues(plugin string, p *pluginv1.RowPut, row values) (values, error) {
	set, isNew := valuesOf(p.GetValues()), row == nil
	for _, name := range p.GetClear() {
		set[name] = nil
	}
	for name, v := range set {
		if was, has := row[name]; has && was == v {
			delete(set, name)
		}
	}
	fields := append(slices.Clone(baseFields), t.GetFields()...)
	for name, v := range set {
		i := slices.IndexFunc(fields, func(f *pluginv1.Field) bool { return f.GetName() == name })
		why := "which it does not have"
		if i >= 0 {
			why = misfit(fields[i], v, isNew)
		}
		if why != "" {
			return nil, errs.New(errs.Invalid, "plugin "+plugin, "it puts field %s of %s %s, %s", name, t.GetName(), p.GetUuid(), why)
		}
	}
	for _, f := range t.GetFields() {
		if isNew && f.GetRequired() && set[f.GetName()] == nil {
			return nil, errs.New(errs.Invalid, "plugin "+plugin, "it puts a new %s %s without field %s", t.GetName(), p.GetUuid(), f.GetName())
		}
	}
	if isNew && t.GetOwned() && p.GetAccountUuid() == "" {
		return nil, errs.New(errs.Invalid, "plugin "+plugin, "it puts a new %s %s that is nobody's", t.GetName(), p.GetUuid())
	}
	return set, nil
}

// misfit says why a field cannot have a value, "" when it can.
func misfit(f *pluginv1.Field, v any, isNew bool) string {
	text, isText := v.(string)
	switch {
	case f.GetImmutable() && !isNew:
		return "which does not change"
	case v == nil && f.GetRequired():
		return "which must have a value"
	case v == nil:
		return ""
	case !fits(f.GetKind(), v):
		return "which is of another kind"
	case isText && f.GetKind() != "text" && utf8.RuneCountInString(text) > cmp.Or(int(f.GetMaxLength()), 255):
		return "which is shorter"
	case isText && len(f.GetValues()) > 0 && !slices.Contains(f.GetValues(), text):
		return "which has no such value"
	}
	return ""
}
