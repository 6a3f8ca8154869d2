package tag

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/kumo-cloud/kumo/core/access"
	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
)

// Service makes, finds and deletes tags. It is safe for concurrent use.
type Service struct {
	store   *store.Store
	types   *resource.Registry
	actions *action.Registry

	mu       sync.RWMutex
	patterns map[string][]*Pattern // by resource type
	deleted  []func(ctx context.Context, tx *store.Tx, uuid string) error
}

// New makes the service. types tells subtypes and owners.
func New(st *store.Store, types *resource.Registry) *Service {
	return &Service{store: st, types: types, patterns: map[string][]*Pattern{}}
}

// Define adds a pattern; the same one twice is one. errs.Invalid when it is
// malformed.
func (s *Service) Define(p Pattern) error {
	parts, err := parse(p.Pattern)
	if err != nil {
		return errs.Wrap(errs.Invalid, "tag pattern of "+p.Resource, err, "")
	}
	for token, holds := range p.Holds {
		if _, known := kinds.Of(holds); !known || !slices.Contains(parts, part{token, true}) {
			return errs.New(errs.Internal, "tag pattern "+p.Pattern, "%s holds %q, which is no kind, or is no token", token, holds)
		}
	}
	for _, token := range p.Each {
		if !p.Single || !slices.Contains(parts, part{token, true}) {
			return errs.New(errs.Internal, "tag pattern "+p.Pattern, "it is not single, or %s is no token of it", token)
		}
	}
	p.parts = parts
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, have := range s.patterns[p.Resource] {
		if have.Pattern == p.Pattern {
			s.patterns[p.Resource][i] = &p
			return nil
		}
	}
	s.patterns[p.Resource] = append(s.patterns[p.Resource], &p)
	return nil
}

// Patterns returns all patterns, by type and then in the order of their
// definition.
func (s *Service) Patterns() []Pattern {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []Pattern
	for _, name := range slices.Sorted(maps.Keys(s.patterns)) {
		for _, p := range s.patterns[name] {
			out = append(out, *p)
		}
	}
	return out
}

// Also has DeleteFor call fn, for what else hangs on a resource by its UUID
// (settings of a resource).
func (s *Service) Also(fn func(ctx context.Context, tx *store.Tx, uuid string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deleted = append(s.deleted, fn)
}

// lineage lists a type, its parents and its subtypes: their patterns apply to
// each other's resources.
func (s *Service) lineage(typeName string) []string {
	t, ok := s.types.Get(typeName)
	if !ok {
		return []string{typeName}
	}
	var out []string
	for _, l := range s.types.Lineage(t) {
		out = append(out, l.Name)
	}
	for _, sub := range s.types.Subtypes(typeName) {
		out = append(out, sub.Name)
	}
	return out
}

// find returns the pattern that a tag fits.
func (s *Service) find(typeName, tag string) (*Pattern, map[string]string) {
	names := s.lineage(typeName)
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, n := range names {
		for _, p := range s.patterns[n] {
			if tokens, ok := match(p.parts, tag); ok {
				return p, tokens
			}
		}
	}
	return nil, nil
}

// Shown is what clients see of system tags of a type: without their secrets.
func (s *Service) Shown(typeName string, tags []string) []string {
	shown := make([]string, len(tags))
	for i, t := range tags {
		shown[i] = t
		if p, _ := s.find(typeName, t); p != nil {
			shown[i] = p.show(t)
		}
	}
	return shown
}

// maxTag bounds a tag; user data is the largest (64 KiB before base64).
const maxTag = 128 << 10

// check returns the pattern of a system tag that a client gives, and the tag as
// it is stored. A value is in the error only when its kind is known, as it may be
// a password.
func (s *Service) check(typeName, tag string, admin bool) (*Pattern, string, error) {
	p, _, spelled, err := s.checked(typeName, tag, admin)
	return p, spelled, err
}

// checked is check, with what the tag's tokens say as they were given.
func (s *Service) checked(typeName, tag string, admin bool) (*Pattern, map[string]string, string, error) {
	name, _, _ := strings.Cut(tag, separator)
	if len(name) > 64 {
		name = name[:64]
	}
	bad := func(format string, args ...any) error {
		return errs.New(errs.Invalid, "system tag "+name+" of "+typeName, format, args...)
	}
	if len(tag) > maxTag {
		return nil, nil, "", bad("it has %d bytes, at most %d are allowed", len(tag), maxTag)
	}
	p, tokens := s.find(typeName, tag)
	switch {
	case p == nil:
		return nil, nil, "", s.unknown(typeName, name)
	case p.Inherent:
		return nil, nil, "", bad("only the system makes it")
	case p.AdminOnly && !admin:
		return nil, nil, "", errs.New(errs.Denied, "system tag "+name+" of "+typeName, "only the admin account may set it")
	}
	if r := kinds.Harmful(tag, false); r >= 0 && p.Secret == "" {
		return nil, nil, "", bad("it has the character %U, which is not allowed", r)
	}
	spelled, err := p.spell(tag, tokens)
	if err != nil {
		return nil, nil, "", errs.Wrap(errs.Invalid, "system tag "+name+" of "+typeName, err, "")
	}
	if p.Validate != nil {
		if err := p.Validate(tokens); err != nil {
			return nil, nil, "", errs.Wrap(errs.Invalid, "system tag "+name+" of "+typeName, err, "")
		}
	}
	return p, tokens, spelled, nil
}

// unknown is the error for a tag that fits no pattern of a type.
func (s *Service) unknown(typeName, name string) error {
	var known []string
	names := s.lineage(typeName)
	s.mu.RLock()
	for _, n := range names {
		for _, p := range s.patterns[n] {
			if !p.Inherent {
				known = append(known, p.Pattern)
			}
		}
	}
	s.mu.RUnlock()
	e := errs.New(errs.Invalid, "system tag "+name+" of "+typeName, "no such system tag is known, or its form is wrong")
	if len(known) == 0 {
		return e.WithAdvice("leave it out: resources of this type have none")
	}
	slices.Sort(known)
	return e.WithAdvice("leave it out, or use one of %s", strings.Join(slices.Compact(known), ", "))
}

// CheckCreate checks the tags of a create message: every system tag fits a
// pattern of the type, no two are of one that is single, and each gets its one
// spelling in its place. It implements action.Tags.
func (s *Service) CheckCreate(ctx context.Context, typeName string, systemTags, userTags []string) error {
	admin := true
	if c := action.FromContext(ctx); c != nil {
		admin = c.Caller.Admin
	}
	type single struct {
		pattern *Pattern
		of      string
	}
	var given map[single]string
	for i, t := range systemTags {
		p, tokens, spelled, err := s.checked(typeName, t, admin)
		if err != nil {
			return err
		}
		systemTags[i] = spelled
		if !p.Single {
			continue
		}
		one := single{p, p.of(tokens)}
		if other, is := given[one]; is && other != spelled {
			return errs.New(errs.Invalid, "system tag "+p.Pattern+" of "+typeName, "two are given, %s and another one: %s", p.shown(other), p.shown(spelled)).
				WithAdvice("give one of them")
		}
		if given == nil {
			given = map[single]string{}
		}
		given[one] = spelled
	}
	return checkUser(typeName, userTags)
}

func checkUser(typeName string, tags []string) error {
	for _, t := range tags {
		if t == "" || len(t) > 2048 {
			return errs.New(errs.Invalid, "user tag of "+typeName, "it has %d bytes; 1 to 2048 are allowed", len(t))
		}
		if r := kinds.Harmful(t, false); r >= 0 {
			return errs.New(errs.Invalid, "user tag of "+typeName, "it has the character %U, which is not allowed", r)
		}
	}
	return nil
}

// CreateFor stores the tags of a create message in its transaction.
func (s *Service) CreateFor(ctx context.Context, tx *store.Tx, typeName, uuid string, c *action.Call) error {
	return s.CreateAll(ctx, tx, typeName, uuid, c.SystemTags, c.UserTags)
}

// CreateAll stores system and user tags that clients gave, in the transaction
// that makes the resource, whose row is there already. validationOnly is no
// tag and is left out.
func (s *Service) CreateAll(ctx context.Context, tx *store.Tx, typeName, uuid string, systemTags, userTags []string) error {
	if len(systemTags) == 0 && len(userTags) == 0 {
		return nil
	}
	if err := s.Create(ctx, tx, typeName, uuid, systemTags, false); err != nil {
		return err
	}
	if len(userTags) == 0 {
		return nil
	}
	owner, t, err := s.owner(ctx, tx, typeName, uuid)
	if err != nil {
		return err
	}
	rows := make([]*UserTag, 0, len(userTags))
	for _, text := range userTags {
		row := &UserTag{ResourceUUID: uuid, ResourceType: t.VO(), Tag: text, Type: "User"}
		row.UUID, row.AccountUUID = resource.NewUUID(), owner
		rows = append(rows, row)
	}
	return store.Insert(ctx, tx, UserTagType, rows...)
}

// Create stores system tags; inherent tells who makes them. A tag that the
// resource has already is left as it is. errs.Invalid for an unknown tag.
func (s *Service) Create(ctx context.Context, tx *store.Tx, typeName, uuid string, tags []string, inherent bool) error {
	_, err := s.create(ctx, tx, typeName, uuid, tags, inherent)
	return err
}

func (s *Service) create(ctx context.Context, tx *store.Tx, typeName, uuid string, tags []string, inherent bool) ([]*SystemTag, error) {
	if len(tags) == 0 {
		return nil, nil
	}
	owner, t, err := s.owner(ctx, tx, typeName, uuid)
	if err != nil {
		return nil, err
	}
	have, err := store.Find(ctx, tx, SystemTagType, "`resourceUuid` = ?", uuid)
	if err != nil {
		return nil, err
	}
	known := make(map[string]*SystemTag, len(have)+len(tags)) // by text, as this runs in the only writer
	for _, row := range have {
		known[row.text()] = row
	}
	var rows, fresh []*SystemTag
	for _, text := range tags {
		if text == "validationOnly" {
			continue
		}
		if !inherent {
			_, spelled, err := s.check(typeName, text, true)
			if err != nil {
				return nil, err
			}
			text = spelled
		}
		if old := known[text]; old != nil {
			rows = append(rows, old)
			continue
		}
		p, tokens := s.find(typeName, text)
		if p != nil && p.Take != nil {
			if err := p.Take(ctx, tx, uuid, tokens); err != nil {
				return nil, err
			}
			continue
		}
		if p != nil && p.Single {
			if old := fits(have, p, tokens); old != nil {
				return nil, errs.New(errs.Invalid, "system tag "+p.Pattern+" of "+typeName, "%s has one already: %s", uuid, p.shown(old.Tag)).
					WithAdvice("change that one, or delete it first")
			}
		}
		row := &SystemTag{ResourceUUID: uuid, ResourceType: t.VO(), Type: "System", Inherent: inherent}
		row.set(p, text)
		row.UUID, row.AccountUUID = resource.NewUUID(), owner
		rows, fresh, have = append(rows, row), append(fresh, row), append(have, row)
		known[row.text()] = row
	}
	if len(fresh) == 0 {
		return rows, nil
	}
	return rows, store.Insert(ctx, tx, SystemTagType, fresh...)
}

// fits returns the first of the tags that is of a single pattern, and would be
// another with these tokens.
func fits(rows []*SystemTag, p *Pattern, tokens map[string]string) *SystemTag {
	for _, r := range rows {
		if have, ok := match(p.parts, r.text()); ok && p.of(have) == p.of(tokens) {
			return r
		}
	}
	return nil
}

// CreateInherent stores the system's own tag of a pattern.
func (s *Service) CreateInherent(ctx context.Context, tx *store.Tx, typeName, uuid, pattern string, tokens map[string]string) error {
	text, err := Format(pattern, tokens)
	if err != nil {
		return err
	}
	return s.Create(ctx, tx, typeName, uuid, []string{text}, true)
}

// owner returns the account of a resource, "" for types without one, and its
// root type.
func (s *Service) owner(ctx context.Context, q store.Querier, typeName, uuid string) (string, *resource.Type, error) {
	t, ok := s.types.Get(typeName)
	if !ok {
		return "", nil, errs.New(errs.Invalid, "resource type "+typeName, "there is no such type")
	}
	account, err := access.Owner(ctx, q, s.types, t, uuid)
	return account, s.types.Root(t), err
}

// Of returns the texts of a resource's system tags, the oldest first.
func (s *Service) Of(ctx context.Context, q store.Querier, uuid string) ([]string, error) {
	var texts []string
	err := q.Each(ctx, "SELECT `tag`, `sealed` FROM `SystemTag` WHERE `resourceUuid` = ? ORDER BY `createDate`, `uuid`", []any{uuid}, func(r *store.Row) error {
		text, err := whole(q, r, 0)
		texts = append(texts, text)
		return err
	})
	return texts, err
}

// whole returns the text of a row with the columns tag and sealed, from number i on.
func whole(q store.Querier, r *store.Row, i int) (string, error) {
	if r.Null(i + 1) {
		return r.Text(i), nil
	}
	return store.Secret(q, SystemTagType.Type, "sealed", r.Text(i+1))
}

// Carrying returns those of the resources that have a system tag.
func (s *Service) Carrying(ctx context.Context, q store.Querier, tag string, uuids []string) ([]string, error) {
	const page = 1000
	var all []string
	for some := range slices.Chunk(uuids, page) {
		found, err := store.Texts(ctx, q, "SELECT `resourceUuid` FROM `SystemTag` WHERE `resourceUuid` IN (?) AND `tag` = ?", some, tag)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// Carries is the SQL condition, with the tag as its argument, that the resource
// whose UUID is in a column ("`VmInstance`.`uuid`") has a system tag.
func Carries(column string) string {
	return "EXISTS (SELECT 1 FROM `SystemTag` WHERE `SystemTag`.`resourceUuid` = " + column + " AND `SystemTag`.`tag` = ?)"
}

// Tokens returns the tokens of each of a resource's tags that fit a pattern,
// the oldest first.
func (s *Service) Tokens(ctx context.Context, q store.Querier, uuid, pattern string) ([]map[string]string, error) {
	rows, err := s.fitting(ctx, q, uuid, pattern)
	if err != nil {
		return nil, err
	}
	var out []map[string]string
	for _, r := range rows {
		out = append(out, r.tokens)
	}
	return out, nil
}

type fit struct {
	uuid   string
	tokens map[string]string
}

func (s *Service) fitting(ctx context.Context, q store.Querier, uuid, pattern string) ([]fit, error) {
	parts, err := parse(pattern)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "tag pattern", err, "")
	}
	p := Pattern{Pattern: pattern, parts: parts}
	var out []fit
	err = q.Each(ctx, "SELECT `uuid`, `tag`, `sealed` FROM `SystemTag` WHERE `resourceUuid` = ? AND `tag` LIKE ? ESCAPE '!' ORDER BY `createDate`, `uuid`",
		[]any{uuid, p.prefix()}, func(r *store.Row) error {
			text, err := whole(q, r, 1)
			if err != nil {
				return err
			}
			if tokens, ok := match(parts, text); ok {
				out = append(out, fit{r.Text(0), tokens})
			}
			return nil
		})
	return out, err
}

// DeletePattern removes a resource's tags of a pattern; none is a success.
func (s *Service) DeletePattern(ctx context.Context, tx *store.Tx, uuid, pattern string) error {
	rows, err := s.fitting(ctx, tx, uuid, pattern)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if err := store.Delete(ctx, tx, SystemTagType.Type, r.uuid); err != nil {
			return err
		}
	}
	return nil
}

// DeleteIf removes the system tags of a resource whose texts fit; none is a success.
func (s *Service) DeleteIf(ctx context.Context, tx *store.Tx, uuid string, fits func(text string) bool) error {
	var gone []string
	err := tx.Each(ctx, "SELECT `uuid`, `tag`, `sealed` FROM `SystemTag` WHERE `resourceUuid` = ?", []any{uuid}, func(r *store.Row) error {
		text, err := whole(tx, r, 1)
		if err == nil && fits(text) {
			gone = append(gone, r.Text(0))
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, tag := range gone {
		if err := store.Delete(ctx, tx, SystemTagType.Type, tag); err != nil {
			return err
		}
	}
	return nil
}

// DeleteRow deletes a resource's row, and then its tags and what Also added;
// gone is a success.
func (s *Service) DeleteRow(ctx context.Context, tx *store.Tx, t *resource.Type, uuid string) error {
	if err := store.Delete(ctx, tx, t, uuid); err != nil {
		return err
	}
	return s.DeleteFor(ctx, tx, uuid)
}

// DeleteFor removes all tags of a resource, and what Also added; none is a
// success. It is called in the transaction that deletes the resource, after its
// row: who gives it a tag meanwhile holds the row (store.Hold), so that here the
// tag is seen.
func (s *Service) DeleteFor(ctx context.Context, tx *store.Tx, uuid string) error {
	for _, t := range Types() {
		if _, err := tx.Exec(ctx, "DELETE FROM `"+t.Name+"` WHERE `"+t.Follows+"` = ?", uuid); err != nil {
			return err
		}
	}
	s.mu.RLock()
	also := s.deleted
	s.mu.RUnlock()
	for _, fn := range also {
		if err := fn(ctx, tx, uuid); err != nil {
			return err
		}
	}
	return nil
}
