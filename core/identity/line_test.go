package identity

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// queue is a line whose only slot is taken, and those who wait in it.
type queue struct {
	*testing.T
	*line
	mu     sync.Mutex
	served []string
	left   []string // lost their places
	done   sync.WaitGroup
}

func newQueue(t *testing.T, most int) *queue {
	q := &queue{T: t, line: newLine(1, most)}
	if err := q.enter(t.Context(), place{}); err != nil {
		t.Fatal(err)
	}
	return q
}

func (q *queue) len() int {
	q.line.mu.Lock()
	defer q.line.mu.Unlock()
	return q.line.waiting
}

// wait puts somebody in the line, and returns when it is there or was refused.
func (q *queue) wait(ctx context.Context, name, network string, known bool) {
	ended := make(chan struct{})
	before := q.len()
	q.done.Go(func() {
		defer close(ended)
		err := q.enter(ctx, place{network, known})
		q.mu.Lock()
		defer q.mu.Unlock()
		if err != nil {
			q.left = append(q.left, name)
			return
		}
		q.served = append(q.served, name)
	})
	for q.len() <= before && before < q.most {
		select {
		case <-ended:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// serve gives the slot on until nobody waits, and returns the order.
func (q *queue) serve() []string {
	for n := 1; q.len() > 0; n++ {
		q.leave()
		for has := 0; has < n; {
			q.mu.Lock()
			has = len(q.served)
			q.mu.Unlock()
			time.Sleep(100 * time.Microsecond)
		}
	}
	q.leave()
	q.done.Wait()
	return q.served
}

// Whoever guesses waits behind who does not: 300 in line delay another network by
// one turn, and an account of the same network by two.
func TestGuessersWaitForThemselves(t *testing.T) {
	q := newQueue(t, maxWaiting)
	for i := range 300 {
		q.wait(t.Context(), fmt.Sprint("guess", i), "192.0.2.1", false)
	}
	q.wait(t.Context(), "beside", "192.0.2.1", true)
	q.wait(t.Context(), "elsewhere", "192.0.2.2", true)
	order := q.serve()
	if i := slices.Index(order, "elsewhere"); i < 0 || i > 1 {
		t.Errorf("another network came after %d others", i)
	}
	if i := slices.Index(order, "beside"); i < 0 || i > 2 {
		t.Errorf("an account of the guessers' network came after %d others", i)
	}
	if len(order) != 302 || len(q.sites) != 0 || q.turns.Len() != 0 || q.free != 1 {
		t.Errorf("%d were served, %d networks left, %d slots", len(order), len(q.sites), q.free)
	}
}

// A full line has places for those who are elsewhere, and for accounts.
func TestFullLine(t *testing.T) {
	q := newQueue(t, 4)
	for i := range 4 {
		q.wait(t.Context(), fmt.Sprint("guess", i), "a", false)
	}
	lost := func(want ...string) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			q.mu.Lock()
			left := slices.Clone(q.left)
			q.mu.Unlock()
			if slices.Equal(left, want) {
				return
			}
		}
		t.Fatalf("%v lost their places, want %v", q.left, want)
	}
	q.wait(t.Context(), "guess4", "a", false)
	lost("guess4")
	q.wait(t.Context(), "elsewhere", "b", false)
	lost("guess4", "guess3")
	q.wait(t.Context(), "account", "a", true)
	lost("guess4", "guess3", "guess2")
	ctx, cancel := context.WithCancel(t.Context())
	q.wait(ctx, "third", "c", true)
	lost("guess4", "guess3", "guess2", "guess1")
	cancel()
	lost("guess4", "guess3", "guess2", "guess1", "third")
	order := q.serve()
	if slices.Sort(order); !slices.Equal(order, []string{"account", "elsewhere", "guess0"}) {
		t.Errorf("served %v", order)
	}
}

func TestNetworkOf(t *testing.T) {
	for client, want := range map[string]string{"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8:1:2:3::4": "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64", "": "", "@": "@"} {
		if got := networkOf(client); got != want {
			t.Errorf("%q counts as %q, want %q", client, got, want)
		}
	}
}

// loginFrom signs in from an address.
func (f *fixture) loginFrom(ctx context.Context, client, name, password string) error {
	_, err := f.apiLogin(ctx, &action.Call{Client: client}, &loginParams{AccountName: name, Password: wirePassword(password)})
	return err
}

// A flood of guesses keeps nobody's first sign-in out, from another address or the
// same one; what was not looked at is not counted as wrong.
func TestFirstSignInBesideGuessers(t *testing.T) {
	f := setup(t)
	f.create("bob", "b")
	const most = 16
	f.hasher.line = newLine(maxHashes, most)
	for range maxHashes {
		if err := f.hasher.line.enter(t.Context(), place{}); err != nil {
			t.Fatal(err)
		}
	}
	var guessers, users sync.WaitGroup
	for i := range 3 * most {
		guessers.Go(func() {
			name := fmt.Sprint("guess", i)
			if err := f.loginFrom(t.Context(), "192.0.2.1", name, name); err == nil {
				t.Error("a guess was right")
			}
		})
	}
	q := &queue{T: t, line: f.hasher.line}
	for q.len() < most {
		time.Sleep(time.Millisecond)
	}
	for _, u := range [][3]string{{"192.0.2.1", "admin", "password"}, {"192.0.2.2", "bob", "b"}} {
		users.Go(func() {
			if err := f.loginFrom(t.Context(), u[0], u[1], u[2]); err != nil {
				t.Errorf("%s from %s: %v", u[1], u[0], err)
			}
		})
	}
	known := func() (n int) {
		q.line.mu.Lock()
		defer q.line.mu.Unlock()
		for _, s := range q.sites {
			n += s.waiting[1].Len()
		}
		return n
	}
	for end := time.Now().Add(20 * time.Second); known() < 2 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	for range maxHashes {
		f.hasher.line.leave()
	}
	users.Wait()
	guessers.Wait()
	// Refusals of the full line are no wrong passwords.
	f.hasher.line = newLine(0, 0)
	for range 3 * int(guessBurst) {
		if err := f.loginFrom(t.Context(), "192.0.2.3", "bob", "other"); errs.ClassOf(err) != errs.Unavailable {
			t.Fatal(err)
		}
	}
	f.hasher.line = newLine(maxHashes, most)
	if err := f.loginFrom(t.Context(), "192.0.2.3", "bob", "wrong"); errs.ClassOf(err) != errs.Unauthenticated {
		t.Errorf("after refusals of a full line: %v", err)
	}
	if n := len(f.guesses.seen); n > most+maxHashes+2 {
		t.Errorf("%d guesses are kept", n)
	}
}

// Guesses from one address never keep the right password from another out, and
// the addresses of one IPv6 network count as one.
func TestGuessesAreCountedByNetwork(t *testing.T) {
	f := setup(t)
	for i := range int(guessBurst) {
		if err := f.loginFrom(t.Context(), fmt.Sprintf("2001:db8::%x", i+1), "admin", "wrong"); errs.ClassOf(err) != errs.Unauthenticated {
			t.Fatalf("guess %d: %v", i, err)
		}
	}
	if err := f.loginFrom(t.Context(), "2001:db8::ffff", "ADMIN", "wrong"); errs.ClassOf(err) != errs.Unavailable {
		t.Errorf("another address of the same network: %v", err)
	}
	if err := f.loginFrom(t.Context(), "2001:db8:0:1::1", "admin", "password"); err != nil {
		t.Errorf("the right password from another network: %v", err)
	}
}
