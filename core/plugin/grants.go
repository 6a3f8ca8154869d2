package plugin

import (
	"context"
	"errors"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// lacking is why a plugin that asks for more than it is granted does not start.
type lacking struct {
	manifest *pluginv1.Manifest
	missing  []string
}

// Error names what is missing and what to do.
func (l *lacking) Error() string { return l.refusal().Error() }

// Unwrap gives the class.
func (l *lacking) Unwrap() error { return l.refusal() }

func (l *lacking) refusal() *errs.Error {
	name := l.manifest.GetName()
	return errs.New(errs.Refused, "plugin "+name, "it asks for what it is not granted: %s", strings.Join(l.missing, ", ")).
		WithAdvice("grant it: kumo plugin grant %s --permissions %s; or have plugin-grants in the configuration", name, strings.Join(l.missing, ","))
}

// grant asks what the process may do; *lacking when that is less than it asks for.
func (p *process) grant(ctx context.Context, of func(context.Context, string, []byte, []string) ([]string, error), sum []byte) error {
	m := p.manifest.Load()
	for _, perm := range m.GetPermissions() {
		if err := pluginsdk.CheckPermission(perm); err != nil {
			return err
		}
	}
	granted := m.GetPermissions()
	if of != nil {
		var err error
		if granted, err = of(ctx, p.name, sum, granted); err != nil {
			return err
		}
	}
	p.granted.Store(&granted)
	if missing := pluginsdk.Lacks(m.GetPermissions(), granted); len(missing) > 0 {
		return &lacking{m, missing}
	}
	return nil
}

// allows refuses what the process is not granted, at each of its calls.
func (p *process) allows(permission string) error {
	if granted := p.granted.Load(); granted != nil && pluginsdk.Allows(*granted, permission) {
		return nil
	}
	return errs.New(errs.Denied, "plugin "+p.name, "it is not granted %q", permission).
		WithAdvice("kumo plugin grant %s --permissions %s", p.name, permission)
}

// Regrant looks again at what a plugin is granted: a call for what it has lost is
// refused at once, then the plugin ends; one that was off for want of grants starts
// when it has them all. Errors: NotFound, and those of a start.
func (m *Manager) Regrant(ctx context.Context, name string) error {
	return m.alone(ctx, name, func(s *supervised) error { return m.regrant(ctx, s) })
}

// regrant is Regrant. s is entered.
func (m *Manager) regrant(ctx context.Context, s *supervised) error {
	var lacks *lacking
	if c := s.canary.Load(); c != nil { // it has its zones until it is granted less than it asks for
		if err := c.grant(ctx, m.cfg.Granted, c.bin.sum); err != nil {
			s.fail(err)
			s.dropCanary(ctx)
		}
	}
	if p := s.current.Load(); p != nil {
		bin := s.binary()
		err := p.grant(ctx, bin.grants(m.cfg.Granted), bin.sum)
		if errors.As(err, &lacks) {
			s.fail(lacks)
			s.lower(ctx, NotGranted)
			return nil
		}
		return err
	}
	if s.off != NotGranted {
		return nil
	}
	if err := m.raise(ctx, s); !errors.As(err, &lacks) {
		return err
	}
	return nil
}
