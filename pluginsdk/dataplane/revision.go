package dataplane

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// This file keeps at which revision an owner's state is: which state it is that the
// owner builds on. It is kept with the fragments, so that it is lost where they are.

// Revisions makes a change conditional: it is made to a state that is at Base, or at
// Revision already, for a repeat, and leaves it at Revision. Without a Revision it is
// made in any case, and the state stays at the revision that it has.
type Revisions struct{ Base, Revision string }

// ErrStale is that the state is at another revision than a change builds on. Nothing
// was changed; a Sync is what makes it right.
var ErrStale = errors.New("the network state is at another revision")

// maxRevision bounds what an owner may call a revision.
const maxRevision = 64

func (r Revisions) fit(has string) bool {
	return r.Revision == "" || has == r.Base || has == r.Revision
}

func checkRevision(revision string) error {
	if len(revision) > maxRevision {
		return errs.New(errs.Invalid, "revision "+quote(revision[:maxRevision]), "it has more than %d bytes", maxRevision)
	}
	return nil
}

// revisionFile is beside the fragments; its name has no ending, by which those are found.
func (s *store) revisionFile(owner string) string { return filepath.Join(s.folder, owner, "revision") }

// readRevisions reads those of all owners but those with damaged fragments.
func (s *store) readRevisions(damaged map[string]bool) error {
	for owner := range damaged {
		if err := s.setRevision(owner, ""); err != nil {
			return err
		}
	}
	files, err := filepath.Glob(s.revisionFile("*"))
	if err != nil {
		return fmt.Errorf("list the revisions: %w", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read a revision: %w", err)
		}
		s.revisions[filepath.Base(filepath.Dir(file))] = string(text)
	}
	return nil
}

// setRevision says at which revision an owner's state is; "" is at none. A crash never
// leaves a revision that the state is not at: Sync takes it away before it begins, and
// what Apply did in part is done again by its repeat.
func (s *store) setRevision(owner, revision string) error {
	if s.revisions[owner] == revision && revision != "" {
		return nil
	}
	delete(s.revisions, owner)
	if err := os.Remove(s.revisionFile(owner)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the revision of %s: %w", owner, err)
	}
	if revision == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(s.revisionFile(owner)), 0o700); err != nil {
		return fmt.Errorf("save the revision of %s: %w", owner, err)
	}
	if err := writeFile(s.revisionFile(owner), []byte(revision), 0o600); err != nil {
		return fmt.Errorf("save the revision of %s: %w", owner, err)
	}
	s.revisions[owner] = revision
	return nil
}
