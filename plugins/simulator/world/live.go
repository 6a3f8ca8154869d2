package world

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Limits say how far a simulated world may be overbooked. A limit of 0 stands
// for 1.
type Limits struct {
	// CPU and Memory bound the sums over the active guests of a host, as
	// multiples of what it has.
	CPU, Memory float64
	// StrictNICs refuses a guest whose NIC the network services have not
	// prepared although its bridge belongs to a network with services.
	StrictNICs bool
}

// Live is a world in use. Its methods can be called from any number of
// goroutines. One lock guards its maps; it is held for the few map accesses of
// a call, which take less than a microsecond each, never for reading or writing
// files: finer locks would cost more than they save, since a guest's start
// touches its host, its volumes and its bindings together.
type Live struct {
	limits  Limits
	journal *journal
	lock    *os.File

	mu       sync.Mutex
	w        World
	x        index
	watchers map[string]map[*Watch]struct{}

	compacting atomic.Bool
	background sync.WaitGroup
	compactErr atomic.Pointer[error]
}

// Open reads the world in dir, which must exist, and goes on with it. It waits
// for the process that uses it now to end. Errors: Internal for a damaged log
// or a folder that cannot be used.
func Open(dir string, limits Limits) (*Live, error) {
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "world in "+dir, err, "cannot be locked")
	}
	l := &Live{limits: limits, lock: lock, w: newWorld(), x: newIndex(), watchers: map[string]map[*Watch]struct{}{}}
	l.journal, err = l.openJournal(dir)
	if err != nil {
		return nil, errors.Join(errs.Wrap(errs.Internal, "world in "+dir, err, "cannot be opened"), lock.Close())
	}
	return l, nil
}

func (l *Live) openJournal(dir string) (*journal, error) {
	p, err := read(dir, &l.w, func(e entry) { l.x.change(&l.w, e) })
	if err != nil {
		return nil, err
	}
	if p.generation == 0 {
		p.generation = 1
	} else if err = os.Truncate(filepath.Join(dir, logPrefix+strconv.Itoa(p.generation)), p.size); err != nil {
		return nil, err
	}
	f, err := openLog(dir, p.generation)
	if err != nil {
		return nil, err
	}
	return &journal{dir: dir, lead: make(chan struct{}, 1), file: f, generation: p.generation,
		size: p.size, compactAt: max(minCompact, p.snapshot)}, nil
}

// lockFolder waits for the right to use a folder; the kernel gives it back
// when the process ends.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "world.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(err, f.Close())
		}
	}
}

// Close writes what is pending and lets another process use the folder. Calls
// after it fail with Unavailable.
func (l *Live) Close() error {
	l.background.Wait()
	err := l.journal.close()
	if p := l.compactErr.Load(); p != nil {
		err = errors.Join(err, *p)
	}
	return errors.Join(err, l.lock.Close())
}

// do runs f with the lock, makes the changes that it returns and comes back
// when they are in the log. An error of f changes nothing. Without changes it
// waits for those that f may have seen.
func (l *Live) do(f func() ([]entry, error)) error {
	b, err := l.change(f)
	if err != nil {
		return err
	}
	if err = l.journal.flush(b); err != nil {
		return err
	}
	if l.journal.due() && l.compacting.CompareAndSwap(false, true) {
		l.background.Go(l.compact)
	}
	return nil
}

func (l *Live) change(f func() ([]entry, error)) (*batch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	changes, err := f()
	if err != nil {
		return nil, err
	}
	if len(changes) == 0 {
		return l.journal.lastBatch(), nil
	}
	b, err := l.journal.appendEntries(changes)
	if err != nil {
		return nil, err
	}
	for _, e := range changes {
		l.x.change(&l.w, e)
		l.notify(e)
		if err := l.w.apply(e); err != nil {
			return nil, fmt.Errorf("own entry: %w", err)
		}
	}
	return b, nil
}

// compact replaces the log by a snapshot. It runs beside the calls: what they
// change meanwhile is in the new log, and entries can be read twice.
func (l *Live) compact() {
	defer l.compacting.Store(false)
	n, err := l.journal.rotate()
	if err == nil {
		l.mu.Lock()
		entries := l.w.entries()
		l.mu.Unlock()
		err = l.journal.writeSnapshot(n, entries)
	}
	if err != nil {
		err = errs.Wrap(errs.Internal, "world in "+l.journal.dir, err, "log cannot be replaced by a snapshot")
		l.compactErr.Store(&err)
	}
}

// Snapshot returns the world as it is.
func (l *Live) Snapshot() World {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := newWorld()
	for _, e := range l.w.entries() {
		_ = w.apply(e) // entries returns only what apply knows
	}
	return w
}
