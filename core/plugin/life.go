package plugin

import (
	"context"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Recall tells, before Start, what is known of a plugin from an earlier life of the
// core: whether it is enabled, whatever Config.Enabled says, and what it declared
// then (nil: not known). What a plugin that is off declared stays declared. Errors:
// those of a binary that cannot be used, for one that is enabled.
func (m *Manager) Recall(name string, enabled bool, manifest *pluginv1.Manifest) error {
	s, err := m.plugin(name)
	if err != nil {
		s = newSupervised(m, name, binary{path: m.Path(name)})
		if enabled {
			if s.bin, err = readBinary(s.bin.path); err != nil {
				return err
			}
		}
		m.add(s)
	}
	if !enabled {
		s.off = Disabled
		s.manifest.Store(manifest)
	}
	return nil
}

// Path is where the binary of a plugin is.
func (m *Manager) Path(name string) string { return Path(m.cfg.Dir, name) }

// Path is where the binary of a plugin is in a folder.
func Path(dir, name string) string { return filepath.Join(dir, filePrefix+name) }

// enter waits until nobody else starts or ends the plugin by command.
func (s *supervised) enter(ctx context.Context) error {
	select {
	case s.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return errs.Wrap(errs.ClassOf(ctx.Err()), "plugin "+s.name, ctx.Err(), "waiting for what else is done with it")
	}
}

func (s *supervised) leave() { <-s.busy }

// alone does something with a plugin while nobody else starts or ends it. Errors:
// NotFound, and those of f.
func (m *Manager) alone(ctx context.Context, name string, f func(*supervised) error) error {
	s, err := m.plugin(name)
	if err != nil {
		return err
	}
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	return f(s)
}

// Enable starts a plugin that is off, from the binary that is in the folder now, and
// returns when it takes calls; one that was not known becomes so. When it fails,
// nothing has changed. A plugin that runs is a success. Errors: NotFound for one that
// is not in the folder, Refused for one that asks for more than it is granted or
// declares what cannot be declared while the core runs.
func (m *Manager) Enable(ctx context.Context, name string) error {
	if !validName.MatchString(name) {
		return errs.New(errs.Invalid, "plugin "+name, "this is not a plugin's name: lower-case letters, digits and hyphens, at most 31")
	}
	s, err := m.plugin(name)
	if err != nil {
		bin, err := readBinary(m.Path(name))
		if err != nil {
			return err
		}
		s = newSupervised(m, name, bin)
		s.off = Disabled
		m.mu.Lock()
		if known, err := m.plugin(name); err == nil {
			s = known
		} else {
			m.add(s)
		}
		m.mu.Unlock()
	}
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	if s.halt != nil {
		return nil
	}
	return m.raise(ctx, s)
}

// raise starts a plugin that is off. s is entered.
func (m *Manager) raise(ctx context.Context, s *supervised) error {
	bin, err := readBinary(m.Path(s.name))
	if err != nil {
		return err
	}
	p, err := m.launcher.launch(ctx, s, bin)
	if err != nil {
		s.fail(err)
		return err
	}
	if err := m.accept(ctx, s, p); err != nil {
		s.fail(err)
		return err
	}
	m.mu.Lock()
	if m.life == nil || m.life.Err() != nil {
		m.mu.Unlock()
		p.kill()
		return errs.New(errs.Refused, "plugin "+s.name, "the core is starting or ending")
	}
	s.mu.Lock()
	s.bin, s.off, s.stopped, s.lastErr = bin, "", false, nil
	s.mu.Unlock()
	s.use(p)
	m.watch(s)
	m.mu.Unlock()
	s.log.Info("plugin enabled", "version", p.manifest.Load().Version, "pid", p.runner.ID())
	m.restarted(s.name)
	return nil
}

// Disable lets a plugin end the calls that it has, and ends it. What it declared
// stays declared, and is answered with errs.Unavailable until Enable. A plugin that
// is disabled is a success. Errors: NotFound.
func (m *Manager) Disable(ctx context.Context, name string) error {
	return m.alone(ctx, name, func(s *supervised) error {
		s.lower(ctx, Disabled)
		return nil
	})
}

// Purge has a plugin that runs take away what no row tells of. One of an SDK that has no
// such call has nothing. Errors: NotFound, Refused for one that is off, the plugin's own.
func (m *Manager) Purge(ctx context.Context, name string) error {
	s, err := m.plugin(name)
	if err == nil {
		err = m.Ready(name)
	}
	if err != nil {
		return err
	}
	_, err = pluginv1.NewPluginServiceClient(handle{s}).Purge(ctx, &pluginv1.PurgeRequest{})
	if errs.ClassOf(err) == errs.Unsupported {
		return nil
	}
	return err
}

// Forget drops what a plugin that is off has declared. Errors: Refused for one that runs.
func (m *Manager) Forget(ctx context.Context, name string) error {
	return m.alone(ctx, name, func(s *supervised) error {
		if s.halt != nil {
			return errs.New(errs.Refused, "plugin "+name, "it runs").WithAdvice("disable it first")
		}
		s.manifest.Store(nil)
		return nil
	})
}

// lower ends a plugin, if it runs. s is entered.
func (s *supervised) lower(ctx context.Context, why string) {
	if s.halt != nil {
		s.halt()
		s.halt = nil
	}
	s.end(ctx, why)
	s.log.Info("plugin ended", "state", why)
}

// Restart starts a new process of the same binary and lets the old one end the calls
// that it has. Errors: NotFound; Refused for a plugin that is off.
func (m *Manager) Restart(ctx context.Context, name string) error {
	return m.alone(ctx, name, func(s *supervised) error { return m.again(ctx, s) })
}

// again is Restart. s is entered.
func (m *Manager) again(ctx context.Context, s *supervised) error {
	if err := m.runs(s); err != nil {
		return err
	}
	bin := s.binary()
	p, err := m.launcher.launch(ctx, s, bin)
	if err != nil {
		return err
	}
	if err := m.accept(ctx, s, p); err != nil {
		return err
	}
	s.mu.Lock()
	s.restarts++
	s.mu.Unlock()
	s.mu.Lock()
	before := s.former // a restart proves nothing
	s.mu.Unlock()
	return m.takeOver(ctx, s, swap{next: p, bin: bin, former: before})
}

// accept sees what a new process declares, and kills it when that cannot be.
func (m *Manager) accept(ctx context.Context, s *supervised, p *process) error {
	old, next := s.manifest.Load(), p.manifest.Load()
	if old != nil && proto.Equal(old, next) {
		return nil
	}
	err := m.fits(next)
	if err == nil && m.cfg.Accept != nil {
		err = m.cfg.Accept(ctx, next)
	}
	if err != nil {
		p.kill()
	}
	return err
}
