package dataplane

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// A change is made to the state that it was computed for, or not at all, and the
// revision is lost with what it is of.
func TestRevisions(t *testing.T) {
	folder := stateFolder(t)
	e := openEngine(t, folder)
	t.Cleanup(func() { purge(t, e) })
	at := func(base, revision string) Revisions { return Revisions{base, revision} }
	apply := func(r Revisions, key string) error {
		return e.Apply(t.Context(), "flat", r, []*hostv1.Fragment{bridge(key, "br_"+key, "")}, nil)
	}
	stale := func(r Revisions) {
		t.Helper()
		if err := apply(r, "wrong"); !errors.Is(err, ErrStale) {
			t.Errorf("%v: %v", r, err)
		}
		if e.store.sets["flat"]["wrong"] != nil {
			t.Errorf("%v: it was changed", r)
		}
	}
	sync := func(ctx context.Context, revision string, fragments ...*hostv1.Fragment) error {
		_, err := e.Sync(ctx, "flat", revision, fragments, nil)
		return err
	}
	reopen := func() {
		must(t, e.Close())
		e = openEngine(t, folder)
	}
	stale(at("1", "2"))
	must(t, apply(at("", "1"), "a"))
	must(t, apply(at("1", "2"), "b"))
	must(t, apply(at("1", "2"), "b")) // as its answer was lost
	stale(at("1", "3"))
	stale(at("", "3"))
	must(t, apply(Revisions{}, "c"))
	must(t, apply(at("2", "2"), "d"))
	must(t, e.Apply(t.Context(), "other", at("", "9"), nil, nil))
	reopen()
	stale(at("1", "3"))
	must(t, apply(at("2", "2"), "d"))

	must(t, sync(t.Context(), "5", bridge("a", "br_a", "")))
	stale(at("2", "3"))
	must(t, apply(at("5", "5"), "b"))
	over, cancel := context.WithCancel(t.Context())
	if err := e.Apply(t.Context(), "flat", at("5", "6"), []*hostv1.Fragment{bridge("e", "br_e", "none0")}, nil); err == nil {
		t.Error("a bridge over a device that is not there")
	}
	stale(at("6", "7"))
	must(t, e.take(t.Context()))
	cancel()
	if err := sync(over, "7"); errs.ClassOf(err) != errs.Cancelled {
		t.Errorf("a sync that has not begun: %v", err)
	}
	e.release()
	must(t, apply(at("5", "5"), "b"))
	must(t, sync(t.Context(), ""))
	stale(at("5", "5"))

	must(t, sync(t.Context(), "8", bridge("a", "br_a", "")))
	must(t, os.WriteFile(e.store.file("flat", "a"), []byte("damaged"), 0o600))
	reopen()
	stale(at("8", "8"))
	reopen()
	stale(at("8", "8"))
	must(t, sync(t.Context(), "8", bridge("a", "br_a", "")))
	must(t, e.Close())
	must(t, os.RemoveAll(filepath.Join(folder, "fragments")))
	e = openEngine(t, folder)
	stale(at("8", "8"))
	must(t, sync(t.Context(), "8", bridge("a", "br_a", "")))
	if err := sync(t.Context(), string(make([]byte, maxRevision+1))); errs.ClassOf(err) != errs.Invalid {
		t.Errorf("a revision that is too long: %v", err)
	}
	must(t, e.Purge(t.Context()))
	stale(at("8", "8"))
	must(t, e.Close())
	e = openEngine(t, folder)
	stale(at("8", "8"))
}
