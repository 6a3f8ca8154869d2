package batch

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
)

// reader notes what is asked for, and answers how much that is.
type reader struct {
	mu   sync.Mutex
	asks [][]string
	err  error
}

func (r *reader) read(members []string) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asks = append(r.asks, slices.Sorted(slices.Values(members)))
	return len(members), r.err
}

// TestDo has some come before a reading begins, and one after it.
func TestDo(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		end  bool // the first one's context, before it reads
		fail error
		want [][]string // readings
	}{
		"one reading":           {want: [][]string{{"0", "1", "2"}}},
		"it fails":              {fail: broken, want: [][]string{{"0", "1", "2"}}},
		"the first one is gone": {end: true, want: [][]string{{"0", "1", "2"}, {"1"}, {"1"}, {"2"}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				var gs Groups[int]
				r := &reader{err: c.fail}
				gs.ready = func() {
					gs.ready = func() {}
					for _, m := range []string{"1", "2", "1"} {
						go func() {
							want := len(c.want[0])
							if c.end {
								want = 1
							}
							if n, err := gs.Do(context.Background(), "k", m, r.read); n != want || !errors.Is(err, c.fail) {
								t.Errorf("%s got %d, %v", m, n, err)
							}
						}()
					}
					go func() { // another key is another group
						if n, err := gs.Do(context.Background(), "other", "", func(m []string) (int, error) { return -len(m), nil }); n != -1 || err != nil {
							t.Errorf("the other group got %d, %v", n, err)
						}
					}()
					synctest.Wait()
					if c.end {
						cancel()
					}
				}
				if n, err := gs.Do(ctx, "k", "0", r.read); n != 3 || !errors.Is(err, c.fail) {
					t.Errorf("the first one got %d, %v", n, err)
				}
				synctest.Wait()
				slices.SortFunc(r.asks[1:], slices.Compare)
				if !slices.EqualFunc(r.asks, c.want, slices.Equal) {
					t.Errorf("readings of %v, want %v", r.asks, c.want)
				}
				if n, _ := gs.Do(context.Background(), "k", "0", r.read); n != 1 || len(gs.waiting) > 0 {
					t.Errorf("who came later got %d; %d groups are left", n, len(gs.waiting))
				}
			})
		})
	}
}

// TestBounds proves that a group takes a bounded number of members, and that the
// end of a caller's context ends its wait.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gs Groups[int]
		var r reader
		second := make(chan struct{})
		gs.ready = func() {
			gs.ready = func() { <-second }
			for i := range maxMembers + 5 {
				go func() { _, _ = gs.Do(context.Background(), "k", strconv.Itoa(i), r.read) }()
			}
			synctest.Wait()
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if _, err := gs.Do(ctx, "k", "gone", r.read); !errors.Is(err, context.Canceled) {
				t.Errorf("whose context has ended got %v", err)
			}
			close(second)
		}
		_, _ = gs.Do(context.Background(), "k", "first", r.read)
		synctest.Wait()
		if sizes := []int{len(r.asks[0]), len(r.asks[1])}; len(r.asks) != 2 || min(sizes[0], sizes[1]) != 7 || max(sizes[0], sizes[1]) != maxMembers {
			t.Errorf("%d readings, of %v", len(r.asks), sizes)
		}
	})
}

// TestPanic proves that those who wait are told.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gs Groups[int]
		var err error
		gs.ready = func() {
			go func() { _, err = gs.Do(context.Background(), "k", "", nil) }()
			synctest.Wait()
		}
		func() {
			defer func() { _ = recover() }()
			_, _ = gs.Do(context.Background(), "k", "", func([]string) (int, error) { panic("lost") })
		}()
		synctest.Wait()
		if err == nil {
			t.Error("no error")
		}
	})
}
