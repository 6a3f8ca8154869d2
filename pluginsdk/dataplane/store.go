package dataplane

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/protojson"

	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// store keeps one file for each fragment, <folder>/<owner>/<hash of key>.json:
// a change of one guest writes one small file, however many there are. User
// data may hold secrets, so the folder is closed to others.
type store struct {
	folder string
	sets   map[string]set
	// revisions are those that the owners gave to what they have (revision.go).
	revisions map[string]string
	// lost are files of fragments that others have removed.
	lost map[string]bool
}

// openStore reads what an earlier run saved. A file that cannot be read is set
// aside and told: it must not keep the agent from starting, and the next Sync
// brings its fragment again. Its owner's state is at no revision until then.
func openStore(folder string, log hclog.Logger) (*store, error) {
	s := &store{folder: folder, sets: map[string]set{}, revisions: map[string]string{}}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the network state: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*", "*.json"))
	if err != nil {
		return nil, fmt.Errorf("list the network state: %w", err)
	}
	damaged := map[string]bool{}
	for _, file := range files {
		owner := filepath.Base(filepath.Dir(file))
		f, err := readFragment(file)
		if err != nil {
			damaged[owner] = true
			log.Warn("a saved fragment is damaged and was set aside", "file", file, "error", err)
			if err := os.Rename(file, file+".damaged"); err != nil {
				return nil, fmt.Errorf("set a damaged fragment aside: %w", err)
			}
			continue
		}
		if s.sets[owner] == nil {
			s.sets[owner] = set{}
		}
		s.sets[owner][f.GetKey()] = f
	}
	return s, s.readRevisions(damaged)
}

func readFragment(file string) (*hostv1.Fragment, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	f := &hostv1.Fragment{}
	if err := protojson.Unmarshal(data, f); err != nil {
		return nil, err
	}
	return f, CheckFragment(f)
}

// set returns a copy of what the owner has, which later changes leave alone.
func (s *store) set(owner string) set {
	if s.sets[owner] == nil {
		return set{}
	}
	return maps.Clone(s.sets[owner])
}

func (s *store) owners() []string { return slices.Sorted(maps.Keys(s.sets)) }

func (s *store) file(owner, key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(s.folder, owner, hex.EncodeToString(sum[:20])+".json")
}

// put saves a fragment; nil removes it. One that is saved already costs nothing: a
// network has thousands, of which a change is about one.
func (s *store) put(owner, key string, f *hostv1.Fragment) error {
	file := s.file(owner, key)
	if f == nil {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget fragment %s: %w", key, err)
		}
		delete(s.sets[owner], key)
		return nil
	}
	if same(s.sets[owner][key], f) && !s.lost[file] {
		return nil
	}
	data, err := protojson.Marshal(f)
	if err != nil {
		return fmt.Errorf("save fragment %s: %w", key, err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("save fragment %s: %w", key, err)
	}
	if err := writeFile(file, data, 0o600); err != nil {
		return fmt.Errorf("save fragment %s: %w", key, err)
	}
	delete(s.lost, file)
	if s.sets[owner] == nil {
		s.sets[owner] = set{}
	}
	s.sets[owner][key] = f
	return nil
}

// look finds out which files of an owner's fragments are there: put writes the others.
func (s *store) look(owner string) error {
	entries, err := os.ReadDir(filepath.Join(s.folder, owner))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list the network state of %s: %w", owner, err)
	}
	there := make(map[string]bool, len(entries))
	for _, e := range entries {
		there[e.Name()] = true
	}
	s.lost = map[string]bool{}
	for key := range s.sets[owner] {
		if file := s.file(owner, key); !there[filepath.Base(file)] {
			s.lost[file] = true
		}
	}
	return nil
}

// writeFile replaces a file in one step. The temporary name begins with a dot,
// which dnsmasq skips when it reads a folder. On a medium that is full a file can
// still become shorter, so that what is removed there needs no room.
func writeFile(file string, data []byte, mode fs.FileMode) error {
	temporary := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".new")
	err := os.WriteFile(temporary, data, mode)
	if err == nil {
		err = os.Rename(temporary, file)
	}
	if err == nil {
		return nil
	}
	_ = os.Remove(temporary) // it has taken what was left of the medium
	if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) || !shorten(file, data) {
		return err
	}
	return nil
}

// shorten writes data over a file that is at least as long, in the room that it has.
// One that is interrupted leaves a damaged file, which openStore sets aside.
func shorten(file string, data []byte) bool {
	info, err := os.Stat(file)
	if err != nil || info.Size() < int64(len(data)) {
		return false
	}
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return false
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Truncate(int64(len(data))), f.Close()) == nil
}
