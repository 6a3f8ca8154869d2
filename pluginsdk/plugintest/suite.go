package plugintest

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

const (
	// callTimeout bounds each call of a suite.
	callTimeout = 2 * time.Minute
	// promptly is how soon a call must return once its context has ended.
	promptly = 5 * time.Second
	// defaultParallel is how many objects the parallel checks work on at once.
	defaultParallel = 8
)

// suite runs checks as subtests and prints a table of them at the end.
type suite struct {
	t    *testing.T
	conn *Conn
	rows []row
}

type row struct {
	check, result string
	took          time.Duration
}

// newSuite prints the table when t ends, whatever happened.
func newSuite(t *testing.T, conn *Conn) *suite {
	t.Helper()
	if conn == nil {
		t.Fatal("the fixture has no connection to a plugin")
	}
	s := &suite{t: t, conn: conn}
	t.Cleanup(s.print)
	return s
}

// check runs f as a subtest; it reports whether f passed.
func (s *suite) check(name string, f func(t *testing.T)) bool {
	s.t.Helper()
	began := time.Now()
	ok := s.t.Run(name, f)
	result := "ok"
	if !ok {
		result = "FAILED"
	}
	s.rows = append(s.rows, row{name, result, time.Since(began)})
	return ok
}

func (s *suite) print() {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "check\tresult\ttime\n")
	for _, r := range s.rows {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.check, r.result, r.took.Round(100*time.Microsecond))
	}
	if err := w.Flush(); err != nil {
		s.t.Errorf("report: %v", err)
	}
	s.t.Logf("conformance of plugin %s %s\n%s", s.conn.Manifest.Name, s.conn.Manifest.Version, b.String())
}

// pair is a call that makes something, and the one that undoes it.
type pair struct {
	name, undoName string
	do             func(ctx context.Context, conn grpc.ClientConnInterface, id string) (proto.Message, error)
	undo           func(ctx context.Context, conn grpc.ClientConnInterface, id string) error
	// exists asks for what do made; nil when the contract has no way to ask.
	exists func(ctx context.Context, id string) (bool, error)
	// same compares the answers of do and of its repeat; nil compares all.
	same     func(a, b proto.Message) bool
	parallel int
}

// pair checks all that the contract promises of a call and its undo.
func (s *suite) pair(p pair) {
	s.t.Helper()
	if p.same == nil {
		p.same = proto.Equal
	}
	p.parallel = cmp.Or(p.parallel, defaultParallel)
	s.check(p.name+" and "+p.undoName, func(t *testing.T) {
		id := p.fresh(t, s.conn)
		p.make(t, s.conn, id)
		p.want(t, id, true)
		p.remove(t, s.conn, id)
		p.want(t, id, false)
	})
	s.check(p.name+" repeated", func(t *testing.T) {
		id := p.fresh(t, s.conn)
		first := p.make(t, s.conn, id)
		if second := p.make(t, s.conn, id); !p.same(first, second) {
			t.Errorf("the repeat answered differently: %v, at first %v", second, first)
		}
		p.want(t, id, true)
	})
	s.check(p.undoName+" repeated", func(t *testing.T) {
		id := p.fresh(t, s.conn)
		p.make(t, s.conn, id)
		p.remove(t, s.conn, id)
		p.remove(t, s.conn, id)
		p.want(t, id, false)
	})
	s.check(p.undoName+" of what never was", func(t *testing.T) {
		p.remove(t, s.conn, p.fresh(t, s.conn))
	})
	s.check(p.name+" in parallel", func(t *testing.T) { p.inParallel(t, s.conn) })
	s.check(p.name+" cancelled", func(t *testing.T) { p.cancelled(t, s.conn) })
	s.check(p.name+", answer lost", func(t *testing.T) { p.answerLost(t, s.conn) })
	s.check(p.undoName+", answer lost", func(t *testing.T) {
		id := p.fresh(t, s.conn)
		p.make(t, s.conn, id)
		ctx := call(t)
		wantLost(t, p.undo(ctx, DropAnswer(s.conn, 1), id))
		p.remove(t, s.conn, id)
		p.want(t, id, false)
	})
}

// fresh returns a new UUID and sees to it that nothing of it is left.
func (p pair) fresh(t *testing.T, conn grpc.ClientConnInterface) string {
	t.Helper()
	id := NewUUID()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		if err := p.undo(ctx, conn, id); err != nil {
			t.Errorf("%s %s after the check: %v", p.undoName, id, err)
		}
	})
	return id
}

func (p pair) make(t *testing.T, conn grpc.ClientConnInterface, id string) proto.Message {
	t.Helper()
	m, err := p.do(call(t), conn, id)
	if err != nil {
		t.Fatalf("%s %s: %v", p.name, id, err)
	}
	return m
}

func (p pair) remove(t *testing.T, conn grpc.ClientConnInterface, id string) {
	t.Helper()
	if err := p.undo(call(t), conn, id); err != nil {
		t.Fatalf("%s %s: %v", p.undoName, id, err)
	}
}

func (p pair) want(t *testing.T, id string, want bool) {
	t.Helper()
	if p.exists == nil {
		return
	}
	got, err := p.exists(call(t), id)
	if err != nil {
		t.Fatalf("ask for %s: %v", id, err)
	}
	if got != want {
		t.Fatalf("%s exists: %t, want %t", id, got, want)
	}
}

func (p pair) inParallel(t *testing.T, conn grpc.ClientConnInterface) {
	ids := make([]string, p.parallel)
	for i := range ids {
		ids[i] = p.fresh(t, conn)
	}
	together(ids, func(id string) {
		if _, err := p.do(call(t), conn, id); err != nil {
			t.Errorf("%s %s: %v", p.name, id, err)
		}
	})
	if t.Failed() {
		return
	}
	for _, id := range ids {
		p.want(t, id, true)
	}
	together(ids, func(id string) {
		if err := p.undo(call(t), conn, id); err != nil {
			t.Errorf("%s %s: %v", p.undoName, id, err)
		}
	})
	if !t.Failed() {
		for _, id := range ids {
			p.want(t, id, false)
		}
	}
}

func together(ids []string, f func(id string)) {
	var all sync.WaitGroup
	for _, id := range ids {
		all.Go(func() { f(id) })
	}
	all.Wait()
}

// cancelled gives a call up at several points. Whatever it had done by then,
// the undo must take back, or another do must complete.
func (p pair) cancelled(t *testing.T, conn grpc.ClientConnInterface) {
	for _, after := range []time.Duration{0, time.Millisecond, 20 * time.Millisecond} {
		id := p.fresh(t, conn)
		ctx, cancel := context.WithCancel(call(t))
		timer := time.AfterFunc(after, cancel)
		began := time.Now()
		_, err := p.do(ctx, conn, id)
		timer.Stop()
		cancel()
		if took := time.Since(began); took > after+promptly && err != nil {
			t.Errorf("cancelled after %s it returned after %s", after, took)
		}
		if err != nil && !errors.Is(err, errs.Cancelled) {
			t.Errorf("cancelled after %s: got %v, want %s", after, err, errs.Cancelled)
		}
		p.make(t, conn, id)
		p.want(t, id, true)
		p.remove(t, conn, id)
		p.want(t, id, false)
	}
}

func (p pair) answerLost(t *testing.T, conn grpc.ClientConnInterface) {
	id := p.fresh(t, conn)
	_, err := p.do(call(t), DropAnswer(conn, 1), id)
	wantLost(t, err)
	p.make(t, conn, id)
	p.want(t, id, true)

	id = p.fresh(t, conn)
	_, err = p.do(call(t), DropAnswer(conn, 1), id)
	wantLost(t, err)
	p.remove(t, conn, id)
	p.want(t, id, false)
}

func wantLost(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, errs.Unavailable) || !errors.Is(err, pluginsdk.ErrConnectionLost) {
		t.Fatalf("the call did not happen: %v", err)
	}
}

// refused checks that wrong input is errs.Invalid and that the error names the
// object it is about.
func (s *suite) refused(what string, f func(ctx context.Context) error) {
	s.t.Helper()
	s.check(what+" is refused", func(t *testing.T) {
		err := f(call(t))
		if !errors.Is(err, errs.Invalid) {
			t.Fatalf("got %v, want %s", err, errs.Invalid)
		}
		var e *errs.Error
		if !errors.As(err, &e) || e.Object == "" {
			t.Errorf("the error names no object: %v", err)
		}
	})
}

// ok checks that a call succeeds, and so does its repeat.
func (s *suite) ok(name string, f func(ctx context.Context) error) {
	s.t.Helper()
	s.check(name, func(t *testing.T) {
		for _, turn := range []string{"", " repeated"} {
			if err := f(call(t)); err != nil {
				t.Fatalf("%s%s: %v", name, turn, err)
			}
		}
	})
}

// unsupported checks that an optional call which is not declared says so.
func (s *suite) unsupported(name string, f func(ctx context.Context) error) {
	s.t.Helper()
	s.check(name+" is not offered", func(t *testing.T) {
		if err := f(call(t)); !errors.Is(err, errs.Unsupported) {
			t.Errorf("got %v, want %s", err, errs.Unsupported)
		}
	})
}

// call is the context of one call, with an operation ID of its own.
func call(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	t.Cleanup(cancel)
	return pluginsdk.WithOperationID(ctx, NewUUID())
}

// NewUUID returns a random UUID as Kumo writes them: 32 lower-case hex digits.
func NewUUID() string {
	var b [16]byte
	// Read never fails: see crypto/rand.
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
