package config

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Service knows all settings and their values. It is safe for concurrent use;
// reads take no lock and, unless some resource overrides the setting, no
// database access.
type Service struct {
	store   *store.Store
	log     hclog.Logger
	actions *action.Registry

	mu   sync.Mutex // held by whoever replaces view
	view atomic.Pointer[view]

	undefined sync.Map // keys that were read but never defined, to tell once
}

// view is one immutable state of all settings.
type view struct {
	settings  map[key]*Setting
	values    map[key]parsed            // globally set or default
	overrides map[key]map[string]parsed // by resource
	// changed is closed when another view replaces this one.
	changed chan struct{}
}

// New makes the service.
func New(st *store.Store, log hclog.Logger) *Service {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	s := &Service{store: st, log: log}
	s.view.Store(&view{settings: map[key]*Setting{}, values: map[key]parsed{}, overrides: map[key]map[string]parsed{}, changed: make(chan struct{})})
	return s
}

// Define adds a setting; the same one twice is one. Its default counts until
// Load has read the database. errs.Invalid when the default does not fit the
// type.
func (s *Service) Define(d Setting) error {
	if err := d.check(); err != nil {
		return err
	}
	v, err := d.parse(d.Default)
	if err != nil {
		return errs.Wrap(errs.Invalid, d.label(), err, "its default")
	}
	d.Default = v.text
	s.change(func(w *view) {
		w.settings[d.key()] = &d
		if _, ok := w.values[d.key()]; !ok {
			w.values[d.key()] = v
		}
	})
	return nil
}

// change replaces the view by an edited copy.
func (s *Service) change(edit func(w *view)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.view.Load()
	w := &view{settings: maps.Clone(old.settings), values: maps.Clone(old.values), overrides: make(map[key]map[string]parsed, len(old.overrides)),
		changed: make(chan struct{})}
	for k, m := range old.overrides {
		w.overrides[k] = maps.Clone(m)
	}
	edit(w)
	s.view.Store(w)
	close(old.changed)
}

// Load makes the rows of defined settings that have none, brings descriptions
// and defaults up to date, and reads all values. Call it when all settings are
// defined; it may be called again. A stored value that no longer fits its
// setting is left in the database, logged, and the default is used.
func (s *Service) Load(ctx context.Context) error {
	var rows []*GlobalConfig
	var overs []*ResourceConfig
	settings := s.view.Load().settings
	err := s.store.Update(ctx, func(tx *store.Tx) (err error) {
		if rows, err = store.Find(ctx, tx, GlobalConfigType, ""); err != nil {
			return err
		}
		if overs, err = store.Sound(ctx, tx, ResourceConfigType, store.PassedOver(s.log), ""); err != nil {
			return err
		}
		if err := s.complete(ctx, tx, settings, rows); err != nil {
			return err
		}
		return seal(ctx, tx, settings, overs)
	})
	if err != nil {
		return errs.Wrap(errs.ClassOf(err), "settings", err, "load them")
	}
	s.change(func(w *view) {
		for _, r := range rows {
			s.take(w, r.Category, r.Name, "", r.text())
		}
		for _, r := range overs {
			s.take(w, r.Category, r.Name, r.ResourceUUID, r.text())
		}
	})
	return nil
}

// complete inserts missing rows and updates what their declaration changed.
func (s *Service) complete(ctx context.Context, tx *store.Tx, settings map[key]*Setting, rows []*GlobalConfig) error {
	have := make(map[key]*GlobalConfig, len(rows))
	last := int64(0)
	for _, r := range rows {
		have[key{r.Category, r.Name}] = r
		last = max(last, r.ID)
	}
	var fresh []*GlobalConfig
	order := slices.SortedFunc(maps.Keys(settings), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.category, b.category), cmp.Compare(a.name, b.name))
	})
	for _, k := range order {
		d, row := settings[k], have[k]
		if row == nil {
			last++
			fresh = append(fresh, &GlobalConfig{UUID: resource.NewUUID(), ID: last, Name: d.Name, Category: d.Category,
				Description: d.Doc, DefaultValue: d.Default, Value: d.Default})
			continue
		}
		text := row.text()
		if text == row.DefaultValue {
			text = d.Default // nobody had set it
		}
		if !row.set(d, text) && row.Description == d.Doc && row.DefaultValue == d.Default {
			continue
		}
		row.Description, row.DefaultValue = d.Doc, d.Default
		if err := store.Save(ctx, tx, GlobalConfigType, row, "description", "defaultValue", "value", "sealed"); err != nil {
			return err
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	return store.Insert(ctx, tx, GlobalConfigType, fresh...)
}

// seal seals what resources had of their own before their setting became a secret.
func seal(ctx context.Context, tx *store.Tx, settings map[key]*Setting, overs []*ResourceConfig) error {
	for _, r := range overs {
		d := settings[key{r.Category, r.Name}]
		if d == nil || !r.set(d, r.text()) {
			continue
		}
		if err := store.Save(ctx, tx, ResourceConfigType, r, "value", "sealed"); err != nil {
			return err
		}
	}
	return nil
}

// take puts a stored value into a view under construction.
func (s *Service) take(w *view, category, name, resourceUUID, text string) {
	k := key{category, name}
	d := w.settings[k]
	if d == nil {
		return // of a plugin that is not here now; its row stays
	}
	v, err := d.parse(text)
	if err != nil {
		s.log.Warn("stored setting does not fit its declaration, the default is used", "category", category, "name", name, "resource", resourceUUID, "error", err)
		return
	}
	if resourceUUID == "" {
		w.values[k] = v
		return
	}
	if w.overrides[k] == nil {
		w.overrides[k] = map[string]parsed{}
	}
	w.overrides[k][resourceUUID] = v
}

// Settings returns all defined settings by category and name, unordered.
func (s *Service) Settings() []Setting {
	var out []Setting
	for _, d := range s.view.Load().settings {
		out = append(out, *d)
	}
	return out
}

// value finds the value for a resource ("" for the global one). An undefined
// setting is a programming error: it is logged and reads as zero.
func (s *Service) value(ctx context.Context, category, name, resourceUUID string) parsed {
	w, k := s.view.Load(), key{category, name}
	v, ok := w.values[k]
	if !ok {
		if _, told := s.undefined.LoadOrStore(k, true); !told {
			s.log.Error("undefined setting was read", "category", category, "name", name)
		}
		return parsed{}
	}
	over := w.overrides[k]
	if resourceUUID == "" || len(over) == 0 {
		return v
	}
	chain, err := s.chain(ctx, w.settings[k], resourceUUID)
	if err != nil {
		s.log.Error("setting of a resource could not be found, the global one is used", "category", category, "name", name, "resource", resourceUUID, "error", err)
		return v
	}
	for _, uuid := range chain {
		if o, ok := over[uuid]; ok {
			return o
		}
	}
	return v
}

// chain lists a resource and those it takes settings from, the nearest first:
// for a host itself, its cluster and its zone.
func (s *Service) chain(ctx context.Context, d *Setting, uuid string) ([]string, error) {
	out := []string{uuid}
	typ, err := s.typeOf(ctx, s.store, d, uuid)
	if err != nil || typ == nil {
		return out, err
	}
	for _, to := range d.Resources {
		for _, e := range typ.Edges {
			if e.To != to || e.Column == "uuid" || e.ToColumn != "uuid" {
				continue
			}
			up, err := store.Texts(ctx, s.store, "SELECT `"+e.Column+"` FROM `"+typ.Name+"` WHERE `uuid` = ?", uuid)
			if err != nil {
				return nil, err
			}
			if len(up) > 0 && up[0] != "" {
				out = append(out, up[0])
			}
			break
		}
	}
	return out, nil
}

// typeOf finds which of a setting's types a resource is of; nil for none.
func (s *Service) typeOf(ctx context.Context, q store.Querier, d *Setting, uuid string) (*resource.Type, error) {
	for _, name := range d.Resources {
		typ, ok := s.store.Registry().Get(name)
		if !ok {
			continue
		}
		found, err := store.Texts(ctx, q, "SELECT `uuid` FROM `"+typ.Name+"` WHERE `uuid` = ?", uuid)
		if err != nil {
			return nil, err
		}
		if len(found) > 0 {
			return typ, nil
		}
	}
	return nil, nil
}

// String returns a value as text. resourceUUID "" asks for the global one;
// otherwise the resource's own value wins, then those it inherits.
func (s *Service) String(ctx context.Context, category, name, resourceUUID string) string {
	return s.value(ctx, category, name, resourceUUID).text
}

// Int64 returns a number; a size is in bytes.
func (s *Service) Int64(ctx context.Context, category, name, resourceUUID string) int64 {
	return s.value(ctx, category, name, resourceUUID).integer
}

// Int is Int64 for counts.
func (s *Service) Int(ctx context.Context, category, name, resourceUUID string) int {
	return int(s.value(ctx, category, name, resourceUUID).integer)
}

// Overrides returns the numbers that resources have instead of the global one,
// by their UUIDs; none for most settings.
func (s *Service) Overrides(category, name string) map[string]int64 {
	over := s.view.Load().overrides[key{category, name}]
	if len(over) == 0 {
		return nil
	}
	numbers := make(map[string]int64, len(over))
	for uuid, v := range over {
		numbers[uuid] = v.integer
	}
	return numbers
}

// Float returns a number that need not be whole.
func (s *Service) Float(ctx context.Context, category, name, resourceUUID string) float64 {
	return s.value(ctx, category, name, resourceUUID).float
}

// Bool returns a switch.
func (s *Service) Bool(ctx context.Context, category, name, resourceUUID string) bool {
	return s.value(ctx, category, name, resourceUUID).boolean
}

// Duration returns a number of seconds as a duration.
func (s *Service) Duration(ctx context.Context, category, name, resourceUUID string) time.Duration {
	return time.Duration(s.value(ctx, category, name, resourceUUID).integer) * time.Second
}

// lookup returns a defined setting. errs.NotFound.
func (s *Service) lookup(category, name string) (*Setting, error) {
	d := s.view.Load().settings[key{category, name}]
	if d == nil {
		return nil, errs.New(errs.NotFound, "setting "+category+"/"+name, "there is no such setting")
	}
	return d, nil
}

// Set changes a global value. errs.NotFound, errs.Invalid.
func (s *Service) Set(ctx context.Context, category, name, value string) (string, error) {
	d, err := s.lookup(category, name)
	if err != nil {
		return "", err
	}
	v, err := d.parse(value)
	if err != nil {
		return "", err
	}
	uuid := ""
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		row, found, err := store.First(ctx, tx, GlobalConfigType, "`category` = ? AND `name` = ?", category, name)
		if err != nil {
			return err
		}
		if !found {
			return errs.New(errs.Internal, d.label(), "it has no row; settings were not loaded")
		}
		uuid = row.UUID
		row.set(d, v.text)
		if err := store.Save(ctx, tx, GlobalConfigType, row, "value", "sealed"); err != nil {
			return err
		}
		if d.Apply != nil {
			if err := d.Apply(ctx, tx, v.text); err != nil {
				return err
			}
		}
		tx.OnCommit(func() { s.change(func(w *view) { w.values[d.key()] = v }) })
		return nil
	})
	return uuid, err
}

// Reset gives every setting its default again.
func (s *Service) Reset(ctx context.Context) error {
	settings := s.view.Load().settings
	return s.store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE `GlobalConfig` SET `value` = `defaultValue`, `sealed` = ?", nil); err != nil {
			return err
		}
		for _, d := range settings {
			if d.Apply != nil {
				if err := d.Apply(ctx, tx, d.Default); err != nil {
					return err
				}
			}
		}
		tx.OnCommit(func() {
			s.change(func(w *view) {
				for k, d := range settings {
					if v, err := d.parse(d.Default); err == nil { // Define has parsed it
						w.values[k] = v
					}
				}
			})
		})
		return nil
	})
}
