package fault

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// FileName is the name of the rules file in the plugin's data folder.
const FileName = "faults"

// maxFile bounds the rules file.
const maxFile = 1 << 20

// Injector applies rules to calls. Its methods can be used from any number of
// goroutines.
type Injector struct {
	path    string
	methods map[string]bool
	fixed   []*active

	// set is replaced as a whole when the file changes; reload keeps two
	// callers from reading the same change.
	set    atomic.Pointer[ruleSet]
	reload sync.Mutex
	crash  func()
}

// ruleSet is the rules of the setting and of one version of the file.
type ruleSet struct {
	version fileVersion
	rules   []*active
	err     error
}

// fileVersion tells one state of the file from another; its zero value means
// that there is no file.
type fileVersion struct {
	inode uint64
	size  int64
	mtime int64
}

// active is a rule with its counter and its random numbers.
type active struct {
	Rule
	seen atomic.Uint64
	mu   sync.Mutex
	rnd  *rand.Rand
}

// New returns an injector of the rules in text, which never change, and of
// those in the file FileName in dir, which is read again whenever it changes
// and need not exist. The counters of the file's rules start anew with each
// version of the file. Errors: Invalid for text that cannot be read.
func New(text, dir string, methods map[string]bool) (*Injector, error) {
	rules, err := Parse(text, methods)
	if err != nil {
		return nil, err
	}
	in := &Injector{path: filepath.Join(dir, FileName), methods: methods, fixed: activate(rules), crash: killSelf}
	in.set.Store(&ruleSet{rules: in.fixed})
	return in, nil
}

func activate(rules []Rule) []*active {
	out := make([]*active, len(rules))
	for i, r := range rules {
		out[i] = &active{Rule: r, rnd: rand.New(rand.NewPCG(max(r.Seed, 1), 0))}
	}
	return out
}

// Write replaces the rules file in a plugin's data folder in one step, so that
// a running plugin never sees half of it; an empty text removes the rules.
func Write(dir, text string) error {
	f, err := os.CreateTemp(dir, FileName+".*")
	if err != nil {
		return errs.Wrap(errs.Internal, "faults file in "+dir, err, "cannot be made")
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, FileName))
	}
	if err != nil {
		return errs.Wrap(errs.Internal, "faults file in "+dir, errors.Join(err, os.Remove(f.Name())), "cannot be written")
	}
	return nil
}

// Plan is what the rules say about one call. Its zero value changes nothing.
type Plan struct {
	method        string
	before, after []step
	crash         func()
}

type step struct {
	rule *active
	wait time.Duration
}

// Plan counts one call of method, which concerns the objects in ids, and
// decides what happens to it. Errors: Invalid as long as the rules file cannot
// be read, so that a mistake in it is seen.
func (in *Injector) Plan(method string, ids ...string) (Plan, error) {
	set := in.current()
	if set.err != nil {
		return Plan{}, set.err
	}
	p := Plan{method: method, crash: in.crash}
	for _, r := range set.rules {
		if r.Method != "*" && r.Method != method || r.On != "" && !slices.Contains(ids, r.On) {
			continue
		}
		s, hit := r.decide()
		switch {
		case !hit:
		case r.After:
			p.after = append(p.after, s)
		default:
			p.before = append(p.before, s)
		}
	}
	return p, nil
}

// decide counts one call and draws the rule's random numbers for it.
func (r *active) decide() (step, bool) {
	n := r.seen.Add(1)
	s := step{rule: r, wait: r.Min}
	if r.Nth > 0 && n != r.Nth || r.First > 0 && n > r.First {
		return s, false
	}
	if r.Rate == 0 && r.Min == r.Max {
		return s, true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Rate > 0 && r.rnd.Float64() >= r.Rate {
		return s, false
	}
	if r.Max > r.Min {
		s.wait += time.Duration(r.rnd.Int64N(int64(r.Max-r.Min) + 1))
	}
	return s, true
}

// Before acts before the call's effect; an error means that the effect must
// not happen.
func (p Plan) Before(ctx context.Context) error { return p.run(ctx, p.before) }

// After acts when the call has had its effect; an error takes the place of the
// call's answer.
func (p Plan) After(ctx context.Context) error { return p.run(ctx, p.after) }

func (p Plan) run(ctx context.Context, steps []step) error {
	for _, s := range steps {
		switch s.rule.Action {
		case Crash:
			p.crash()
		case Fail:
			return errs.New(s.rule.Class, p.method, "injected by the fault rule %s", s.rule)
		default:
			if err := sleep(ctx, s.wait); err != nil {
				return errs.Wrap(errs.ClassOf(err), p.method, err, "cut short in the fault rule %s", s.rule)
			}
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// current returns the rules in force and reads the file when it has changed.
func (in *Injector) current() *ruleSet {
	set := in.set.Load()
	version, err := stat(in.path)
	if err == nil && version == set.version {
		return set
	}
	in.reload.Lock()
	defer in.reload.Unlock()
	set = in.set.Load()
	if version, err = stat(in.path); err == nil && version == set.version {
		return set
	}
	next := &ruleSet{version: version, rules: in.fixed, err: err}
	if err == nil && version != (fileVersion{}) {
		var rules []Rule
		if rules, next.err = in.read(); next.err == nil {
			next.rules = append(slices.Clip(in.fixed), activate(rules)...)
		}
	}
	in.set.Store(next)
	return next
}

func (in *Injector) read() ([]Rule, error) {
	info, err := os.Stat(in.path)
	if err == nil && info.Size() > maxFile {
		return nil, errs.New(errs.Invalid, "faults file "+in.path, "larger than %d bytes", maxFile)
	}
	text, err := os.ReadFile(in.path)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, "faults file "+in.path, err, "cannot be read")
	}
	return Parse(string(text), in.methods)
}

func stat(path string) (fileVersion, error) {
	var st syscall.Stat_t
	err := syscall.Stat(path, &st)
	if errors.Is(err, fs.ErrNotExist) {
		return fileVersion{}, nil
	}
	if err != nil {
		return fileVersion{}, errs.Wrap(errs.Invalid, "faults file "+path, err, "cannot be looked at")
	}
	return fileVersion{inode: st.Ino, size: st.Size, mtime: st.Mtim.Nano()}, nil
}

// killSelf ends the process as kill -9 does: no deferred call, no flush.
func killSelf() {
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL) // it cannot fail for the own process
	select {}
}
