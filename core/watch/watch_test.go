package watch

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// rounds yields n times.
func rounds(n int) func(func(time.Duration) bool) {
	return func(yield func(time.Duration) bool) {
		for range n {
			if !yield(time.Second) {
				return
			}
		}
	}
}

func all(string) bool { return true }

// What another node looks after is neither checked nor lost here, from the moment
// on at which it is the other node's.
func TestOwns(t *testing.T) {
	var asked, checked, lost []string
	owned := map[string]bool{"mine": true, "store": true, "leaving": true}
	l := Loop{Parallel: 1, Timeout: time.Minute, Failures: func() int64 { return 1 }, Broken: func(err error) { t.Error(err) },
		List: func(context.Context) ([]Target, error) {
			return []Target{{Key: "mine", Connected: true}, {Key: "theirs", Connected: true}, {Key: "link", Of: "store", Connected: true},
				{Key: "store", Of: "theirs", Connected: true}, {Key: "leaving", Connected: true}}, nil
		},
		Owns: func(uuid string) bool { asked = append(asked, uuid); return owned[uuid] },
		Check: func(_ context.Context, key string) error {
			checked = append(checked, key)
			if key == "leaving" {
				owned[key] = false
			}
			return errors.New(key)
		},
		Lost: func(_ context.Context, key string, _ error) { lost = append(lost, key) }}
	l.Round(t.Context())
	if got := fmt.Sprint(checked, lost); got != "[mine link leaving] [mine link]" {
		t.Errorf("checked and lost %s, asked of %v", got, asked)
	}
}

// A target is lost after so many failures in a row, once, and not while it is
// thought to be lost already.
func TestLost(t *testing.T) {
	connected := map[string]bool{"good": true, "bad": true, "flaps": true, "away": false}
	checks := map[string]int{}
	var mu sync.Mutex
	var lost []string
	broken := 0
	l := Loop{Parallel: 2, Timeout: time.Minute, Failures: func() int64 { return 3 }, Owns: all,
		Broken: func(error) { broken++ },
		List: func(context.Context) (list []Target, err error) {
			if len(checks) > 0 && checks["good"] == 2 && broken == 0 {
				return nil, errors.New("no database")
			}
			for key, c := range connected {
				list = append(list, Target{Key: key, Connected: c})
			}
			return list, nil
		},
		Check: func(_ context.Context, key string) error {
			mu.Lock()
			defer mu.Unlock()
			checks[key]++
			if key == "good" || key == "flaps" && checks[key]%3 == 0 {
				return nil
			}
			return errors.New(key)
		},
		Lost: func(_ context.Context, key string, cause error) {
			mu.Lock()
			defer mu.Unlock()
			lost, connected[key] = append(lost, key+": "+cause.Error()), false
		}}
	l.Run(t.Context(), rounds(6))
	if !reflect.DeepEqual(lost, []string{"bad: bad"}) {
		t.Errorf("lost %v", lost)
	}
	if checks["good"] != 6 || broken != 1 {
		t.Errorf("checks %v, %d rounds without a list", checks, broken)
	}
}

// No more checks than allowed run at once, each ends in time, and the end of the
// context is nobody's failure.
func TestBounds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var running, most, cut atomic.Int64
	l := Loop{Parallel: 3, Timeout: 10 * time.Millisecond, Failures: func() int64 { return 1 }, Owns: all,
		Broken: func(err error) { t.Error(err) },
		List: func(context.Context) ([]Target, error) {
			list := make([]Target, 12)
			for i := range list {
				list[i] = Target{Key: string(rune('a' + i)), Connected: true}
			}
			return list, nil
		},
		Check: func(ctx context.Context, _ string) error {
			n := running.Add(1)
			defer running.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			<-ctx.Done()
			return ctx.Err()
		},
		Lost: func(_ context.Context, _ string, cause error) {
			if errors.Is(cause, context.DeadlineExceeded) && cut.Add(1) == 6 {
				cancel()
			}
		}}
	l.Run(ctx, rounds(0))
	if most.Load() > 3 || cut.Load() < 6 || cut.Load() > 8 {
		t.Errorf("%d at once, %d were lost", most.Load(), cut.Load())
	}
}
