package part

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func needs(name string, needed ...string) Part { return Part{Name: name, Needs: needed} }

func TestOrder(t *testing.T) {
	for _, c := range []struct {
		what  string
		given []Part
		want  string // names, or the error
	}{
		{"none", nil, ""},
		{"as given", []Part{needs("b"), needs("a")}, "b a"},
		{"needed first", []Part{needs("guests", "disks", "nets"), needs("disks", "hosts"), needs("hosts"), needs("nets", "hosts")}, "hosts disks nets guests"},
		{"a chain backwards", []Part{needs("c", "b"), needs("b", "a"), needs("a")}, "a b c"},
		{"a missing one", []Part{needs("hosts"), needs("compute", "hosts", "storage")}, `part "compute" needs "storage", which nobody brings`},
		{"itself", []Part{needs("a", "a")}, `parts need each other: "a" needs "a"`},
		{"a circle", []Part{needs("x", "a"), needs("a", "free", "b"), needs("b", "c"), needs("c", "a"), needs("free")}, `parts need each other: "a" needs "b" needs "c" needs "a"`},
		{"twice", []Part{needs("a"), needs("b"), needs("a")}, `two parts are called "a"`},
	} {
		ordered, err := Order(c.given...)
		got := strings.Join(Names(ordered...), " ")
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.what, got, c.want)
		}
	}
}

// diary is what parts write down of what they are asked.
type diary []string

func (d *diary) part(fails string, name string, needed ...string) Part {
	did := func(what string) error {
		*d = append(*d, what+" "+name)
		if what == fails {
			return errors.New("no luck")
		}
		return nil
	}
	with := func(what string) func(context.Context) error { return func(context.Context) error { return did(what) } }
	return Part{Name: name, Needs: needed, Register: func() error { return did("register") }, Prepare: with("prepare"), Start: with("start"), Stop: with("stop")}
}

// live asks parts for all that a server asks them.
func live(t *testing.T, p Parts) (errs []string) {
	for _, err := range []error{p.Register(), p.Prepare(t.Context()), p.Start(t.Context()), p.Stop(t.Context())} {
		if err != nil {
			errs = append(errs, err.Error())
		}
	}
	return errs
}

func TestAllInOrder(t *testing.T) {
	var d diary
	p, err := Order(d.part("", "b", "a"), needs("idle", "b"), d.part("", "a"))
	if err != nil {
		t.Fatal(err)
	}
	if failed := live(t, p); len(failed) != 0 {
		t.Error(failed)
	}
	want := "register a, register b, prepare a, prepare b, start a, start b, stop b, stop a"
	if got := strings.Join(d, ", "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// The first part that cannot go on ends registering, preparing and starting;
// stopping goes on.
func TestFailures(t *testing.T) {
	for fails, want := range map[string]string{
		"register": "register a",
		"prepare":  "prepare a",
		"start":    "start a",
		"stop":     "stop b, stop a",
	} {
		var d diary
		p, err := Order(d.part(fails, "a"), d.part(fails, "b", "a"))
		if err != nil {
			t.Fatal(err)
		}
		failed := live(t, p)
		var did []string
		for _, line := range d {
			if strings.HasPrefix(line, fails) {
				did = append(did, line)
			}
		}
		if got := strings.Join(did, ", "); got != want {
			t.Errorf("%s: done was %s, want %s", fails, got, want)
		}
		if len(failed) != 1 || !strings.Contains(failed[0], "no luck") {
			t.Errorf("%s: the error is %q", fails, failed)
		}
	}
}
