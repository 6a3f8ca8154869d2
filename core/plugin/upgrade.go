package plugin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// drainTimeout bounds how long a process that was replaced, or is stopped, may
// go on with its running calls. Those cut off are repeated on the new process.
const drainTimeout = 2 * time.Minute

// Upgrade puts newBinary in the place of a plugin's binary and lets a process
// of it take the calls, while the old process ends those that it has. When the
// new process does not start, the old one stays and nothing is changed; when it fails
// soon after (Config.Proving), the old version returns. With
// the path of the plugin's binary itself it takes what is there now, or the version that
// has some zones (Canary). Errors:
// NotFound for a plugin that is not enabled, Invalid for a binary that is not
// that plugin.
func (m *Manager) Upgrade(ctx context.Context, name, newBinary string) error {
	s, err := m.plugin(name)
	if err != nil {
		return err
	}
	target := m.Path(name)
	staged, err := stage(s.promoted(newBinary), target)
	if err != nil {
		return err
	}
	if staged != target {
		// Gone already when it was renamed into place.
		defer func() { _ = os.Remove(staged) }()
	}
	bin, err := readBinary(staged)
	if err != nil {
		return err
	}
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	if err := m.runs(s); err != nil {
		return err
	}
	p, err := m.launcher.launch(ctx, s, bin)
	if err != nil {
		return err
	}
	if err := m.accept(ctx, s, p); err != nil {
		return err
	}
	var before *former
	if old := s.current.Load(); old != nil && !bytes.Equal(bin.sum, s.binary().sum) {
		if before, err = s.keep(old); err != nil {
			p.kill()
			return err
		}
	}
	if staged != target {
		if err := os.Rename(staged, target); err != nil {
			p.kill()
			return errs.Wrap(errs.Internal, "plugin "+name, err, "put the new binary in place")
		}
		bin.path = target
	}
	if err := m.takeOver(ctx, s, swap{next: p, bin: bin, former: before}); err != nil {
		return err
	}
	s.dropCanary(ctx)
	s.log.Info("plugin upgraded", "version", p.manifest.Load().Version, "pid", p.runner.ID())
	return nil
}

// runs refuses what needs a plugin that is supervised. s is entered.
func (m *Manager) runs(s *supervised) error {
	m.mu.Lock()
	life := m.life
	m.mu.Unlock()
	if life == nil || life.Err() != nil || s.halt == nil {
		return errs.New(errs.Refused, "plugin "+s.name, "it does not run").
			WithAdvice("enable it; a new binary in the plugins' folder is used from then on")
	}
	return nil
}

// takeOver lets a process that was accepted take the calls of s, and ends the one
// before when that has answered those that it has. s is entered.
func (m *Manager) takeOver(ctx context.Context, s *supervised, sw swap) error {
	sw.old = make(chan *process, 1)
	if err := s.handOver(ctx, m.life, sw); err != nil {
		sw.next.kill()
		return err
	}
	old := <-sw.old
	m.restarted(s.name)
	if old != nil {
		s.retire(ctx, old)
	}
	return nil
}

// fits says whether a new manifest declares a type of another plugin.
func (m *Manager) fits(next *pluginv1.Manifest) error {
	manifests := []*pluginv1.Manifest{next}
	for _, old := range m.Manifests() {
		if old.Name != next.Name {
			manifests = append(manifests, old)
		}
	}
	return conflicts(manifests)
}

func (s *supervised) handOver(ctx, life context.Context, sw swap) error {
	var cause error
	select {
	case s.swaps <- sw:
		return nil
	case <-ctx.Done():
		cause = ctx.Err()
	case <-life.Done():
		cause = errs.New(errs.Refused, "plugin "+s.name, "it is being stopped")
	}
	return errs.Wrap(errs.ClassOf(cause), "plugin "+s.name, cause, "hand over to the new process").
		WithAdvice("the new binary is in place and is used from the next start on")
}

// stage copies a binary beside its target, so that a rename puts it in place
// at once. The target itself needs no copy.
func stage(source, target string) (string, error) {
	object := "plugin binary " + source
	info, err := os.Stat(source)
	if err != nil {
		return "", errs.Wrap(errs.NotFound, object, err, "it cannot be used")
	}
	if now, err := os.Stat(target); err == nil && os.SameFile(info, now) {
		return target, nil
	}
	if !info.Mode().IsRegular() {
		return "", errs.New(errs.Invalid, object, "it is not a file")
	}
	in, err := os.Open(source)
	if err != nil {
		return "", errs.Wrap(errs.Invalid, object, err, "it cannot be read")
	}
	defer func() { _ = in.Close() }() // only read
	out, err := os.CreateTemp(filepath.Dir(target), ".new-"+filepath.Base(target)+"-")
	if err != nil {
		return "", errs.Wrap(errs.Internal, object, err, "make room for it in the plugins' folder")
	}
	_, copyErr := io.Copy(out, in)
	if err := errors.Join(copyErr, out.Chmod(0o755), out.Sync(), out.Close()); err != nil {
		return "", errs.Wrap(errs.Internal, object, errors.Join(err, os.Remove(out.Name())), "copy it to the plugins' folder")
	}
	return out.Name(), nil
}
