package world

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// A world's folder holds world.snapshot.N, the whole world in entries, and
// world.log.N, what happened since that snapshot was begun; while snapshot N is
// being made there are the older snapshot and log as well. One line is a JSON
// list of entries that happened together. A snapshot ends with an empty list;
// a log may end in half a line, which a killed process left.
const (
	logPrefix      = "world.log."
	snapshotPrefix = "world.snapshot."
	// minCompact is the size of a log from which on it is replaced by a
	// snapshot, unless the last snapshot was larger.
	minCompact = 16 << 20
	maxLine    = 256 << 20
)

// journal appends lines to the current log. Callers that append at the same
// time share one write; no lock is held during it.
type journal struct {
	dir string
	// lead is the right to use file; it has one token.
	lead chan struct{}
	file *os.File

	mu         sync.Mutex
	generation int
	size       int64
	compactAt  int64
	pending    *batch
	last       *batch
	failed     error
}

// batch is what one write writes.
type batch struct {
	buf  bytes.Buffer
	done chan struct{}
	err  error
}

// appendEntries adds a line to the batch that is written next and returns it.
func (j *journal) appendEntries(entries []entry) (*batch, error) {
	line, err := json.Marshal(entries)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "world in "+j.dir, err, "change cannot be written")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed != nil {
		return nil, j.failed
	}
	if j.pending == nil {
		j.pending = &batch{done: make(chan struct{})}
		j.last = j.pending
	}
	j.pending.buf.Write(line)
	j.pending.buf.WriteByte('\n')
	return j.pending, nil
}

// lastBatch returns the newest batch, nil before the first.
func (j *journal) lastBatch() *batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}

// flush returns when b is in the log; one of those who wait writes for all.
func (j *journal) flush(b *batch) error {
	if b == nil {
		return nil
	}
	select {
	case <-b.done:
		return b.err
	default:
	}
	select {
	case <-b.done:
		return b.err
	case j.lead <- struct{}{}:
	}
	j.writePending()
	<-j.lead
	<-b.done
	return b.err
}

// writePending writes the pending batch, if there is one; the caller leads.
func (j *journal) writePending() {
	j.mu.Lock()
	b := j.pending
	j.pending = nil
	failed := j.failed
	j.mu.Unlock()
	if b == nil {
		return
	}
	n := 0
	if b.err = failed; failed == nil {
		var err error
		if n, err = j.file.Write(b.buf.Bytes()); err != nil {
			b.err = errs.Wrap(errs.Internal, "world in "+j.dir, err, "log cannot be written").
				WithAdvice("make room on the disk and restart the plugin")
		}
	}
	b.buf = bytes.Buffer{}
	j.mu.Lock()
	j.size += int64(n)
	j.failed = b.err
	j.mu.Unlock()
	close(b.done)
}

// due reports whether the log has become so large that it should be replaced.
func (j *journal) due() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed == nil && j.size > j.compactAt
}

// rotate begins a new log and returns its number. What is appended from now on
// goes there.
func (j *journal) rotate() (int, error) {
	j.lead <- struct{}{}
	defer func() { <-j.lead }()
	j.writePending()
	next := j.generation + 1
	f, err := openLog(j.dir, next)
	if err != nil {
		return 0, err
	}
	old := j.file
	j.file = f
	j.mu.Lock()
	j.generation, j.size = next, 0
	j.mu.Unlock()
	return next, old.Close()
}

// writeSnapshot puts the entries into snapshot n and removes what it makes
// superfluous.
func (j *journal) writeSnapshot(n int, entries []entry) error {
	path := filepath.Join(j.dir, snapshotPrefix+strconv.Itoa(n))
	f, err := os.Create(path + ".tmp")
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	enc := json.NewEncoder(w)
	for _, e := range entries {
		if err = enc.Encode([]entry{e}); err != nil {
			break
		}
	}
	if err == nil {
		_, err = w.WriteString("[]\n")
	}
	err = errors.Join(err, w.Flush())
	size, seekErr := f.Seek(0, io.SeekEnd)
	if err = errors.Join(err, seekErr, f.Close()); err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(path+".tmp"))
	}
	j.mu.Lock()
	j.compactAt = max(minCompact, size)
	j.mu.Unlock()
	return removeBefore(j.dir, n)
}

func (j *journal) close() error {
	j.lead <- struct{}{}
	defer func() { <-j.lead }()
	j.writePending()
	j.mu.Lock()
	if j.failed == nil {
		j.failed = errs.New(errs.Unavailable, "world in "+j.dir, "closed")
	}
	j.mu.Unlock()
	return j.file.Close()
}

func openLog(dir string, n int) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, logPrefix+strconv.Itoa(n)), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

// files are the numbers of a folder's snapshots and logs, ascending.
type files struct{ snapshots, logs []int }

func list(dir string) (files, error) {
	var f files
	names, err := os.ReadDir(dir)
	if err != nil {
		return f, err
	}
	for _, e := range names {
		if n, ok := number(e.Name(), snapshotPrefix); ok {
			f.snapshots = append(f.snapshots, n)
		} else if n, ok := number(e.Name(), logPrefix); ok {
			f.logs = append(f.logs, n)
		}
	}
	slices.Sort(f.snapshots)
	slices.Sort(f.logs)
	return f, nil
}

func number(name, prefix string) (int, bool) {
	text, ok := strings.CutPrefix(name, prefix)
	n, err := strconv.Atoi(text)
	return n, ok && err == nil && n > 0
}

func removeBefore(dir string, n int) error {
	f, err := list(dir)
	for _, m := range f.snapshots {
		if m < n {
			err = errors.Join(err, os.Remove(filepath.Join(dir, snapshotPrefix+strconv.Itoa(m))))
		}
	}
	for _, m := range f.logs {
		if m < n {
			err = errors.Join(err, os.Remove(filepath.Join(dir, logPrefix+strconv.Itoa(m))))
		}
	}
	return err
}

// position is where reading ended: the last log and the bytes of whole lines
// in it.
type position struct {
	generation int
	size       int64
	snapshot   int64
}

// read brings w up to date from a folder; observe sees each entry before it is
// applied.
func read(dir string, w *World, observe func(entry)) (position, error) {
	var p position
	f, err := list(dir)
	if err != nil {
		return p, err
	}
	first := 1
	if len(f.snapshots) > 0 {
		first = f.snapshots[len(f.snapshots)-1]
		if p.snapshot, err = readFile(filepath.Join(dir, snapshotPrefix+strconv.Itoa(first)), w, observe); err != nil {
			return p, err
		}
	}
	for i := slices.Index(f.logs, first); i >= 0 && i < len(f.logs); i++ {
		p.generation = f.logs[i]
		if p.size, err = readFile(filepath.Join(dir, logPrefix+strconv.Itoa(p.generation)), w, observe); err != nil {
			return p, err
		}
	}
	if p.generation == 0 && (len(f.logs) > 0 || first > 1) {
		return p, fmt.Errorf("log %d of %s: %w", first, dir, fs.ErrNotExist)
	}
	return p, nil
}

// readFile applies the whole lines of a file and returns their length.
func readFile(path string, w *World, observe func(entry)) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close() // it was only read
	s := bufio.NewScanner(f)
	s.Buffer(make([]byte, 1<<20), maxLine)
	s.Split(wholeLines)
	var size int64
	for line := 1; s.Scan(); line++ {
		var entries []entry
		if err = json.Unmarshal(s.Bytes(), &entries); err != nil {
			return size, errs.Wrap(errs.Internal, fmt.Sprintf("%s, line %d", path, line), err, "damaged")
		}
		for _, e := range entries {
			observe(e)
			if err = w.apply(e); err != nil {
				return size, errs.Wrap(errs.Internal, fmt.Sprintf("%s, line %d", path, line), err, "damaged")
			}
		}
		size += int64(len(s.Bytes())) + 1
	}
	return size, s.Err()
}

// wholeLines is bufio.ScanLines without a last line that has no end.
func wholeLines(data []byte, _ bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	return 0, nil, nil
}

// Load reads the world in a folder, which a plugin may be using meanwhile: it
// has all that was answered before the call. A folder without one is an empty
// world. Errors: Internal for a damaged log.
func Load(dir string) (World, error) {
	for attempt := 0; ; attempt++ {
		w := newWorld()
		_, err := read(dir, &w, func(entry) {})
		// A file can go between listing and reading, when a log is replaced.
		if err == nil || attempt == 10 || !errors.Is(err, fs.ErrNotExist) {
			return w, err
		}
		if _, statErr := os.Stat(dir); statErr != nil {
			return w, statErr
		}
	}
}

// Find returns the folders below root that hold a world.
func Find(root string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went while we looked
		}
		if err != nil {
			return err
		}
		if _, ok := number(d.Name(), logPrefix); ok && !slices.Contains(found, filepath.Dir(path)) {
			found = append(found, filepath.Dir(path))
		}
		return nil
	})
	return found, err
}
