package life

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Options are what the service needs.
type Options struct {
	// Dir is the folder with the plugins' binaries, Configured the plugins that the
	// configuration names.
	Dir        string
	Configured []string
	// Grants are those of the configuration, by plugin.
	Grants map[string][]string
	Log    hclog.Logger
}

// Service keeps the rows of plugins. Its methods may be called in parallel.
type Service struct {
	o       Options
	store   *store.Store
	plugins *plugin.Manager
	rows    Rows

	mu      sync.Mutex
	changed map[string]bool // plugins whose rows are to be written
	wake    chan struct{}
	running sync.WaitGroup
}

// New makes the service. Granted and Changed, which the manager of the plugins is
// given, may be called from then on, and what else there is after Recall.
func New(o Options) *Service {
	return &Service{o: o, changed: map[string]bool{}, wake: make(chan struct{}, 1)}
}

// Changed notes that the row of a plugin is to be written.
func (s *Service) Changed(name string) {
	s.mu.Lock()
	s.changed[name] = true
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Recall tells the manager, which has not started yet, what the administrator wanted
// of plugins when the server ran last. What nobody has ever wanted of a plugin is
// decided by the configuration. A plugin that the administrator enabled and that is
// gone is told in the log, and keeps nobody from starting.
func (s *Service) Recall(ctx context.Context, st *store.Store, m *plugin.Manager) error {
	s.store, s.plugins = st, m
	rows, err := store.Sound(ctx, st, Type, store.PassedOver(s.o.Log), "ORDER BY `createDate`, `name`")
	if err != nil {
		return err
	}
	for _, row := range rows {
		enabled := slices.Contains(s.o.Configured, row.Name)
		if row.Chosen {
			enabled = row.State == Enabled
		}
		manifest, err := manifestOf(row)
		if err != nil {
			s.o.Log.Warn("what a plugin declared cannot be read", "plugin", row.Name, "error", err)
		}
		if !enabled && !row.Chosen && manifest != nil && !slices.Contains(s.o.Configured, row.Name) {
			manifest = nil // the configuration leaves it out: its types are not there
		}
		if err := m.Recall(row.Name, enabled, manifest); err != nil {
			s.o.Log.Error("plugin cannot be used", "plugin", row.Name, "error", err)
		}
	}
	return nil
}

func manifestOf(row *Plugin) (*pluginv1.Manifest, error) {
	if row.Manifest == "" {
		return nil, nil
	}
	data, err := base64.StdEncoding.DecodeString(row.Manifest)
	if err != nil {
		return nil, err
	}
	m := &pluginv1.Manifest{}
	return m, proto.Unmarshal(data, m)
}

// Save writes the rows of all plugins that are known or in the folder; it is called
// when the plugins have started. The row of one that is gone, and that nobody
// wanted, goes.
func (s *Service) Save(ctx context.Context) error {
	known := map[string]bool{}
	for _, st := range s.plugins.Status() {
		known[st.Name] = true
	}
	return s.store.Update(ctx, func(tx *store.Tx) error {
		for _, name := range plugin.Available(s.o.Dir) {
			if !known[name] {
				known[name] = true
				if err := s.save(ctx, tx, plugin.Status{Name: name, State: plugin.Disabled}, nil); err != nil {
					return err
				}
			}
		}
		if err := s.saveKnown(ctx, tx, func(string) bool { return true }); err != nil {
			return err
		}
		rows, err := store.Sound(ctx, tx, Type, store.PassedOver(s.o.Log), "`chosen` = ?", false)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if _, err := os.Stat(row.Path); !errors.Is(err, os.ErrNotExist) && known[row.Name] {
				continue
			}
			if known[row.Name] && row.State == Enabled {
				continue
			}
			if _, err := tx.Exec(ctx, "DELETE FROM `PluginGrant` WHERE `pluginUuid` = ?", row.UUID); err != nil {
				return err
			}
			if err := store.Delete(ctx, tx, Type.Type, row.UUID); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Service) saveKnown(ctx context.Context, tx *store.Tx, which func(string) bool) error {
	manifests := map[string]*pluginv1.Manifest{}
	for _, m := range s.plugins.Manifests() {
		manifests[m.GetName()] = m
	}
	for _, st := range s.plugins.Status() {
		if which(st.Name) {
			if err := s.save(ctx, tx, st, manifests[st.Name]); err != nil {
				return err
			}
		}
	}
	return nil
}

// statuses are the words of rows for those of the manager.
var statuses = map[string]string{plugin.Running: Running, plugin.Restarting: Restarting, plugin.Stopped: Stopped,
	plugin.Disabled: Stopped, plugin.NotGranted: NotGranted}

// save writes a plugin's row where it differs; m may be nil.
func (s *Service) save(ctx context.Context, tx *store.Tx, st plugin.Status, m *pluginv1.Manifest) error {
	row, found, err := store.First(ctx, tx, Type, "`uuid` = ?", uuidOf(st.Name))
	if errors.Is(err, store.ErrDamaged) { // it costs the plugin nothing but its row
		store.PassedOver(s.o.Log)(uuidOf(st.Name), err)
		return nil
	}
	if err != nil {
		return err
	}
	if !found {
		row = &Plugin{State: Enabled}
		row.UUID, row.Name = uuidOf(st.Name), st.Name
	}
	before := *row
	if !row.Chosen {
		row.State = Enabled
		if st.State == plugin.Disabled {
			row.State = Disabled
		}
	}
	row.CanaryVersion, row.CanaryZones = st.CanaryVersion, strings.Join(st.CanaryZones, ", ")
	asked, missing := s.plugins.Asks(st.Name)
	row.Status, row.Memory, row.ProcessID, row.Restarts, row.Since = statuses[st.State], st.Memory, st.PID, st.Restarts, resource.Time{}
	if !st.Since.IsZero() {
		row.Since = resource.UnixMilli(st.Since.UnixMilli())
	}
	row.LastError, row.SHA256, row.Path = st.LastError, st.SHA256, cmp.Or(st.Path, plugin.Path(s.o.Dir, st.Name))
	row.Permissions, row.Missing = strings.Join(asked, ", "), strings.Join(missing, ", ")
	if m != nil {
		data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			return errs.Wrap(errs.Internal, "plugin "+st.Name, err, "keep its manifest")
		}
		row.Version, row.Description, row.Manifest = m.GetVersion(), m.GetDescription(), base64.StdEncoding.EncodeToString(data)
		row.Provides = strings.Join(s.plugins.Provides(st.Name), ", ")
	}
	if !found {
		return store.Insert(ctx, tx, Type, row)
	}
	if columns := differ(&before, row); len(columns) > 0 {
		return store.Save(ctx, tx, Type, row, columns...)
	}
	return nil
}

// differ names the columns that have changed.
func differ(a, b *Plugin) []string {
	var columns []string
	for _, c := range []struct {
		name string
		same bool
	}{
		{"version", a.Version == b.Version}, {"description", a.Description == b.Description}, {"state", a.State == b.State},
		{"status", a.Status == b.Status}, {"memory", a.Memory == b.Memory}, {"processId", a.ProcessID == b.ProcessID},
		{"restarts", a.Restarts == b.Restarts}, {"since", a.Since.Equal(b.Since.Time)}, {"lastError", a.LastError == b.LastError},
		{"provides", a.Provides == b.Provides}, {"permissions", a.Permissions == b.Permissions}, {"missing", a.Missing == b.Missing},
		{"sha256", a.SHA256 == b.SHA256}, {"path", a.Path == b.Path}, {"manifest", a.Manifest == b.Manifest},
		{"canaryVersion", a.CanaryVersion == b.CanaryVersion}, {"canaryZones", a.CanaryZones == b.CanaryZones},
	} {
		if !c.same {
			columns = append(columns, c.name)
		}
	}
	return columns
}

// Start writes rows as plugins change, until ctx ends.
func (s *Service) Start(ctx context.Context) {
	s.running.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-s.wake:
			}
			if err := s.flush(ctx); err != nil && ctx.Err() == nil {
				s.o.Log.Warn("the state of plugins was not written", "error", err)
			}
		}
	})
}

// Stop waits for the end of Start, whose context has ended.
func (s *Service) Stop() { s.running.Wait() }

// flush writes the rows that have changed.
func (s *Service) flush(ctx context.Context) error {
	s.mu.Lock()
	changed := s.changed
	s.changed = map[string]bool{}
	s.mu.Unlock()
	return s.store.Update(ctx, func(tx *store.Tx) error {
		return s.saveKnown(ctx, tx, func(name string) bool { return changed[name] })
	})
}
