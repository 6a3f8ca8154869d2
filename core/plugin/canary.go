package plugin

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// canary is a second process of a plugin, of another version, which takes the calls
// for the hosts of some zones while the plugin's own takes all others. It is tried, not
// kept: when it ends, hangs or outgrows its memory, and when the core restarts, its
// zones are the plugin's again. So its binary is in the data folder, and the folder of
// plugins has the version that runs everywhere else.
type canary struct {
	*process
	bin   binary
	zones []string
	// ended is closed when nobody watches the process any more; stop has that be.
	stop  context.CancelFunc
	ended chan struct{}
}

// Canary has a process of the binary that is in the plugins' folder now take the calls
// for hosts in some zones, in the place of another one that did so; the version that
// runs stays for the others, and is put back into the folder. Upgrade has the new
// version take all calls, Rollback ends it; so does its own failure. Errors: NotFound,
// Refused for a plugin that is off, for a binary that is the one which runs, and for
// one that declares other things than that: those cannot be there for some zones.
func (m *Manager) Canary(ctx context.Context, name string, zones []string) error {
	return m.alone(ctx, name, func(s *supervised) error {
		if err := m.runs(s); err != nil {
			return err
		}
		bin, fresh, err := s.candidate()
		if err != nil {
			return err
		}
		p, err := m.launcher.launch(ctx, s, bin)
		if err != nil {
			return err
		}
		err = s.alike(p.manifest.Load())
		if err == nil && fresh {
			bin.path, err = s.setAside(bin.path)
		}
		if err != nil {
			p.kill()
			return err
		}
		before := s.canary.Load()
		m.letSing(s, &canary{process: p, bin: bin, zones: slices.Clone(zones)})
		if before != nil {
			before.retire(ctx, s)
		}
		s.log.Info("plugin has another version for some zones", "version", p.manifest.Load().GetVersion(), "pid", p.runner.ID(), "zones", zones)
		return nil
	})
}

// candidate is the binary for a canary: what is in the plugins' folder, or, when that
// runs, the one of the canary that there is. fresh: it is in the folder.
func (s *supervised) candidate() (bin binary, fresh bool, err error) {
	if s.current.Load() == nil {
		return bin, false, s.unavailable(nil)
	}
	target := s.m.Path(s.name)
	if bin, err = readBinary(target); err != nil || !bytes.Equal(bin.sum, s.binary().sum) {
		return bin, true, err
	}
	if c := s.canary.Load(); c != nil {
		return c.bin, false, nil
	}
	return bin, false, errs.New(errs.Refused, "plugin "+s.name, "the binary in the plugins' folder is the one that runs").
		WithAdvice("put the new version's into %s first", target)
}

// setAside moves a binary from the plugins' folder to the data folder, and has what runs
// back in its place. It returns where the binary is.
func (s *supervised) setAside(target string) (string, error) {
	object, own := "plugin "+s.name, filepath.Join(s.m.cfg.DataDir, s.name, "canary")
	old := s.current.Load()
	if old == nil {
		return "", s.unavailable(nil)
	}
	kept, err := s.copyOf(old, "kept")
	if err != nil {
		return "", err
	}
	staged, err := stage(target, own)
	if err == nil {
		err = os.Rename(staged, own)
	}
	if err == nil {
		staged, err = stage(kept.path, target)
	}
	if err == nil {
		err = os.Rename(staged, target)
	}
	if err = errors.Join(err, os.Remove(kept.path)); err != nil {
		return "", errs.Wrap(errs.Internal, object, err, "take the new binary out of the folder, and put what runs back")
	}
	return own, nil
}

// alike refuses a version that declares other things than the one that runs.
func (s *supervised) alike(next *pluginv1.Manifest) error {
	same := func(m *pluginv1.Manifest) *pluginv1.Manifest {
		c := proto.CloneOf(m)
		c.Version, c.Description = "", ""
		return c
	}
	if proto.Equal(same(s.manifest.Load()), same(next)) {
		return nil
	}
	return errs.New(errs.Refused, "plugin "+s.name, "version %s declares other things than version %s, so it cannot be there for some zones only",
		next.GetVersion(), s.manifest.Load().GetVersion()).WithAdvice("upgrade all of it: kumo plugin upgrade %s", s.name)
}

// letSing has a canary take its calls until it fails. s is entered.
func (m *Manager) letSing(s *supervised, c *canary) {
	var ctx context.Context
	m.mu.Lock()
	ctx, c.stop = context.WithCancel(m.life)
	m.mu.Unlock()
	c.ended = make(chan struct{})
	s.canary.Store(c)
	m.running.Go(func() {
		defer close(c.ended)
		if err := c.fails(ctx, m.cfg); err != nil {
			s.fallen(c, err)
		}
	})
	m.told(s.name)
	s.cut(func(zone string) bool { return slices.Contains(c.zones, zone) })
}

// fails watches the process and tells what is wrong with it; nil: ctx has ended.
func (c *canary) fails(ctx context.Context, cfg Config) error {
	tick := time.NewTicker(cfg.HealthEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.runner.exited:
			return errEnded
		case <-tick.C:
			if err := c.health(ctx, cfg.HealthTimeout, cfg.MemoryLimit); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// fallen gives the zones of a canary that has failed back to the plugin.
func (s *supervised) fallen(c *canary, cause error) {
	if !s.canary.CompareAndSwap(c, nil) {
		return
	}
	c.kill()
	if errors.Is(cause, errEnded) {
		cause = errs.New(errs.Unavailable, "plugin "+s.name, "its process ended; last words: %s", c.words)
	}
	failed := c.manifest.Load().GetVersion()
	s.fail(errs.New(errs.Unavailable, "plugin "+s.name, "version %s failed after %s, and version %s serves its zones (%s) again: %v",
		failed, time.Since(c.started).Round(time.Millisecond), s.manifest.Load().GetVersion(), strings.Join(c.zones, ", "), cause))
	s.log.Error("plugin's version for some zones failed", "failed", failed, "zones", c.zones, "error", cause)
	s.cut(nil)
}

// retire ends a canary that takes no calls any more, when it has answered those that
// it has.
func (c *canary) retire(ctx context.Context, s *supervised) {
	c.stop()
	<-c.ended
	s.retire(ctx, c.process)
}

// dropCanary ends the canary, if there is one. s is entered, or ends.
func (s *supervised) dropCanary(ctx context.Context) bool {
	c := s.canary.Swap(nil)
	if c == nil {
		return false
	}
	s.m.told(s.name)
	s.cut(func(zone string) bool { return slices.Contains(c.zones, zone) })
	c.retire(ctx, s)
	return true
}

// promoted is the binary that an upgrade takes: for the plugins' folder, the canary's,
// unless there is another one in the folder than what runs.
func (s *supervised) promoted(source string) string {
	c := s.canary.Load()
	if c == nil || source != s.m.Path(s.name) {
		return source
	}
	if bin, err := readBinary(source); err != nil || !bytes.Equal(bin.sum, s.binary().sum) {
		return source
	}
	return c.bin.path
}

// Rollback takes a new version back: one that has some zones, or one that has replaced
// another and is not proven yet (Config.Proving). Errors: NotFound; Refused when there
// is nothing to go back to.
func (m *Manager) Rollback(ctx context.Context, name string) error {
	return m.alone(ctx, name, func(s *supervised) error {
		if err := m.runs(s); err != nil {
			return err
		}
		if s.dropCanary(ctx) {
			s.log.Info("plugin's version for some zones was taken back")
			return nil
		}
		return m.rollback(ctx, s)
	})
}

// rollback has the version before an upgrade take over again, in the folder too. s is
// entered.
func (m *Manager) rollback(ctx context.Context, s *supervised) error {
	s.mu.Lock()
	f := s.former
	s.former = nil // the one that is taken back does not return by itself
	s.mu.Unlock()
	if f == nil {
		return errs.New(errs.Refused, "plugin "+s.name, "no version before is kept: what runs has run for %s", m.cfg.Proving).
			WithAdvice("put the binary that you want into %s and upgrade", m.Path(s.name))
	}
	back := f.binary
	p, err := m.launcher.launch(ctx, s, back)
	if err == nil {
		err = m.accept(ctx, s, p)
	}
	if err != nil {
		s.mu.Lock()
		s.former = f
		s.mu.Unlock()
		return err
	}
	if err := f.putBack(m.Path(s.name)); err != nil {
		p.kill()
		return errs.Wrap(errs.Internal, "plugin "+s.name, err, "put the version before back into the folder")
	}
	back.path = m.Path(s.name)
	return m.takeOver(ctx, s, swap{next: p, bin: back})
}
