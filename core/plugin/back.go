package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// former is the version that an upgrade has replaced. It is kept until the new one has
// proven itself (Config.Proving), and returns when that fails before.
type former struct {
	binary  // a copy in the plugin's data folder
	version string
}

// keep copies the binary that a process runs for when the next version fails.
func (s *supervised) keep(p *process) (*former, error) {
	bin, err := s.copyOf(p, "former")
	if granted := p.granted.Load(); granted != nil {
		bin.granted = slices.Clone(*granted)
	}
	return &former{bin, p.manifest.Load().GetVersion()}, err
}

// copyOf copies the binary that a process runs, whose file may have been replaced
// already, into a file of the data folder.
func (s *supervised) copyOf(p *process, file string) (binary, error) {
	var none binary
	object := "plugin " + s.name
	path := filepath.Join(s.m.cfg.DataDir, s.name, file)
	in, err := os.Open("/proc/" + strconv.Itoa(p.runner.pidOf()) + "/exe")
	if err != nil {
		return none, errs.Wrap(errs.Internal, object, err, "its binary cannot be kept")
	}
	defer func() { _ = in.Close() }() // only read
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o700)
	if err != nil {
		return none, errs.Wrap(errs.Internal, object, err, "its binary cannot be kept")
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return none, errs.Wrap(errs.Internal, object, errors.Join(err, os.Remove(path)), "its binary cannot be kept")
	}
	bin, err := readBinary(path)
	if err == nil && !bytes.Equal(bin.sum, s.binary().sum) {
		err = errs.New(errs.Internal, object, "what it runs is not its binary")
	}
	return bin, err
}

// proven forgets the version before, when there is one and the process has run for long
// enough.
func (s *supervised) proven(p *process) {
	s.mu.Lock()
	f := s.former
	if f != nil && time.Since(p.started) < s.m.cfg.Proving {
		f = nil
	}
	if f != nil {
		s.former = nil
	}
	s.mu.Unlock()
	if f != nil {
		f.remove(s)
	}
}

func (f *former) remove(s *supervised) {
	if err := os.Remove(f.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.log.Warn("the binary of the version before is left", "path", f.path, "error", err)
	}
}

// goBack has the version before an upgrade take the place of one that has failed before
// it was proven: in the folder, too, where the other one stays as <name>.failed.
func (s *supervised) goBack(p *process, cause error) bool {
	s.mu.Lock()
	f := s.former
	s.former = nil
	s.mu.Unlock()
	if f == nil {
		return false
	}
	if time.Since(p.started) >= s.m.cfg.Proving {
		f.remove(s)
		return false
	}
	back := f.binary
	if err := f.putBack(s.m.Path(s.name)); err != nil {
		s.log.Error("the binary of the version before is not in the folder; it runs from where it was kept", "path", f.path, "error", err)
	} else {
		back.path = s.m.Path(s.name)
	}
	s.mu.Lock()
	s.bin = back
	s.mu.Unlock()
	s.fail(errs.New(errs.Unavailable, "plugin "+s.name, "version %s failed %s after the upgrade, and version %s is back: %v",
		p.manifest.Load().GetVersion(), time.Since(p.started).Round(time.Millisecond), f.version, cause))
	s.log.Error("plugin returns to the version before the upgrade", "failed", p.manifest.Load().GetVersion(), "back", f.version, "error", cause)
	return true
}

func (f *former) putBack(target string) error {
	staged, err := stage(f.path, target)
	if err != nil {
		return err
	}
	if err := os.Rename(target, target+".failed"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return errors.Join(err, os.Remove(staged))
	}
	if err := os.Rename(staged, target); err != nil {
		return errors.Join(err, os.Remove(staged))
	}
	return os.Remove(f.path)
}

// grants tells what a binary is granted: what of tells, and what it was granted when it
// ran before an upgrade.
func (b binary) grants(of func(context.Context, string, []byte, []string) ([]string, error)) func(context.Context, string, []byte, []string) ([]string, error) {
	if of == nil || b.granted == nil {
		return of
	}
	return func(ctx context.Context, name string, sum []byte, asked []string) ([]string, error) {
		granted, err := of(ctx, name, sum, asked)
		if err != nil {
			return nil, fmt.Errorf("grants of plugin %s: %w", name, err)
		}
		return append(granted, b.granted...), nil
	}
}
