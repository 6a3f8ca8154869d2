package fault

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want []Rule
	}{
		{"", nil},
		{" # nothing\n;;\n", nil},
		{"StartVM:fail=unavailable:nth=3:after", []Rule{{Method: "StartVM", Action: Fail, Class: errs.Unavailable, Nth: 3, After: true}}},
		{"*:latency=5ms", []Rule{{Method: "*", Action: Latency, Min: 5 * time.Millisecond, Max: 5 * time.Millisecond}}},
		{"*:latency=5ms-1s:rate=0.5:seed=7", []Rule{{Method: "*", Action: Latency, Min: 5 * time.Millisecond, Max: time.Second, Rate: 0.5, Seed: 7}}},
		{"StopVM : hang : on=ab12 ; StopVM:crash:first=2:before # why", []Rule{
			{Method: "StopVM", Action: Hang, Min: maxWait, Max: maxWait, On: "ab12"},
			{Method: "StopVM", Action: Crash, First: 2}}},
	} {
		got, err := Parse(c.text, nil)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("Parse(%q) = %v, %v; want %v", c.text, got, err, c.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	methods := map[string]bool{"StartVM": true}
	for text, want := range map[string]string{
		"StartVM":                           "action is missing",
		"StopVM:crash":                      "no method \"StopVM\"",
		"Start-VM:crash":                    "no method name",
		"StartVM:explode":                   "no action",
		"StartVM:fail=maybe":                "no error class",
		"StartVM:fail":                      "no error class",
		"StartVM:crash=1":                   "takes no value",
		"StartVM:latency=-1s":               "no duration",
		"StartVM:latency=2s-1s":             "ends before",
		"StartVM:latency=11m":               "no duration",
		"StartVM:crash:nth=0":               "above 0",
		"StartVM:crash:nth=1:nth=2":         "twice",
		"StartVM:crash:after:before":        "twice",
		"StartVM:crash:nth=1:first=2":       "exclude",
		"StartVM:crash:rate=2":              "at most 1",
		"StartVM:crash:rate=NaN":            "at most 1",
		"StartVM:crash:sometimes":           "no option",
		"StartVM:crash:after=1":             "takes no value",
		"StartVM:crash\nStartVM:crash:on=/": "line 2",
	} {
		_, err := Parse(text, methods)
		if !errors.Is(err, errs.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q): %v; want an Invalid with %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("StartVM:fail=unavailable:nth=3:after;*:latency=1ms-2ms:rate=0.1:seed=2")
	f.Add("A:hang=3s:on=x\nB:crash:first=1 # c")
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := Parse(text, nil)
		if err != nil {
			if !errors.Is(err, errs.Invalid) {
				t.Fatalf("%q: %v is not Invalid", text, err)
			}
			return
		}
		for _, r := range rules {
			again, err := Parse(r.String(), nil)
			if err != nil || len(again) != 1 || again[0] != r {
				t.Fatalf("%+v is written as %q and read as %+v, %v", r, r, again, err)
			}
		}
	})
}

func inject(t *testing.T, in *Injector, method string, ids ...string) (before, after error) {
	t.Helper()
	p, err := in.Plan(method, ids...)
	if err != nil {
		return err, err
	}
	return p.Before(t.Context()), p.After(t.Context())
}

func TestInjectorCounts(t *testing.T) {
	in, err := New("A:fail=unavailable:nth=2;A:fail=timeout:nth=3:after;B:fail=refused:first=1:on=x", t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct{ before, after errs.Class }{{}, {before: errs.Unavailable}, {after: errs.Timeout}, {}} {
		before, after := inject(t, in, "A")
		if errs.ClassOf(before) != want.before || errs.ClassOf(after) != want.after {
			t.Errorf("call %d of A: %v, %v; want %v", i+1, before, after, want)
		}
	}
	if before, _ := inject(t, in, "B", "y"); before != nil {
		t.Errorf("B on y: %v", before)
	}
	if before, _ := inject(t, in, "B", "y", "x"); !errors.Is(before, errs.Refused) {
		t.Errorf("B on x: %v", before)
	}
	if before, _ := inject(t, in, "B", "x"); before != nil {
		t.Errorf("second B on x: %v", before)
	}
}

func TestInjectorRateIsSeeded(t *testing.T) {
	count := func() (n int, last int) {
		in, err := New("A:fail=internal:rate=0.05:seed=3", t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10000 {
			if before, _ := inject(t, in, "A"); before != nil {
				n, last = n+1, i
			}
		}
		return
	}
	n, last := count()
	if n < 400 || n > 600 {
		t.Errorf("%d of 10000 calls failed at a rate of 0.05", n)
	}
	if n2, last2 := count(); n2 != n || last2 != last {
		t.Errorf("a second run failed %d calls up to %d, the first %d up to %d", n2, last2, n, last)
	}
}

func TestInjectorWaits(t *testing.T) {
	in, err := New("A:latency=20ms-30ms;H:hang", t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	inject(t, in, "A")
	if d := time.Since(begin); d < 20*time.Millisecond {
		t.Errorf("a call with 20 ms of latency took %s", d)
	}
	p, err := in.Plan("H")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := p.Before(ctx); !errors.Is(err, errs.Timeout) {
		t.Errorf("hang: %v; want Timeout when the caller gives up", err)
	}
}

func TestInjectorFollowsItsFile(t *testing.T) {
	dir := t.TempDir()
	in, err := New("B:crash", dir, map[string]bool{"A": true, "B": true})
	if err != nil {
		t.Fatal(err)
	}
	crashes := 0
	in.crash = func() { crashes++ }
	write := func(text string) {
		if err := Write(dir, text); err != nil {
			t.Fatal(err)
		}
	}
	if before, _ := inject(t, in, "A"); before != nil {
		t.Fatal(before)
	}
	for range 2 { // the same text again is a new version: counters start anew
		write("A:fail=denied:nth=1")
		if before, _ := inject(t, in, "A"); !errors.Is(before, errs.Denied) {
			t.Errorf("after the file was written: %v", before)
		}
		if before, _ := inject(t, in, "A"); before != nil {
			t.Errorf("second call: %v", before)
		}
	}
	write("C:crash")
	if before, _ := inject(t, in, "A"); !errors.Is(before, errs.Invalid) {
		t.Errorf("a wrong file: %v; want Invalid", before)
	}
	if err := os.Remove(filepath.Join(dir, FileName)); err != nil {
		t.Fatal(err)
	}
	inject(t, in, "A")
	inject(t, in, "B")
	if crashes != 1 {
		t.Errorf("%d crashes; want that of the setting", crashes)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestInjectorInParallel(t *testing.T) {
	dir := t.TempDir()
	in, err := New("A:fail=denied:nth=500", dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	failed := 0
	var wg sync.WaitGroup
	for g := range 10 {
		wg.Go(func() {
			for i := range 100 {
				if g == 0 && i%10 == 0 {
					if err := Write(dir, "B:crash"); err != nil {
						t.Error(err)
					}
				}
				if before, _ := inject(t, in, "A"); before != nil {
					mu.Lock()
					failed++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if failed != 1 {
		t.Errorf("%d of 1000 calls failed; want the 500th only", failed)
	}
}

func BenchmarkPlan(b *testing.B) {
	in, err := New("A:fail=denied:nth=1", b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := in.Plan("B", "x"); err != nil {
			b.Fatal(err)
		}
	}
}
