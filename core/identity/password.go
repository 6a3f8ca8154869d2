package identity

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/sync/singleflight"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Cost of one hash: the second choice of RFC 9106 scaled to 19 MiB, which
// OWASP's password cheat sheet recommends for servers; about 25 ms of one core.
const (
	hashMemory = 19 << 10 // KiB
	hashTime   = 2
	hashSalt   = 16
	hashKey    = 32
)

// wirePassword is what clients send for a password: the SHA-512 as lower-case
// hex digits.
func wirePassword(plain string) string {
	sum := sha512.Sum512([]byte(plain))
	return hex.EncodeToString(sum[:])
}

// hasher checks passwords without melting the machine: few hashes at once, a
// bounded number of waiters, and no repeated work for a password that was
// right a short while ago.
type hasher struct {
	line   *line // hashes at once, and callers in line
	once   singleflight.Group
	secret []byte // keys known, so that it holds nothing to guess from
	giving atomic.Bool

	mu    sync.Mutex
	known map[[sha256.Size]byte]time.Time // proofs of right passwords, until
	now   func() time.Time
}

const (
	maxHashes  = 2
	maxWaiting = 4096
	maxKnown   = 4096
	knownFor   = 10 * time.Minute
)

func newHasher(now func() time.Time) *hasher {
	h := &hasher{line: newLine(maxHashes, maxWaiting), secret: make([]byte, 32), known: map[[sha256.Size]byte]time.Time{}, now: now}
	_, _ = rand.Read(h.secret) // never fails: crypto/rand ends the process instead
	return h
}

// hash returns the stored form of a wire password. by is who wants it, who has
// proved who that is.
func (h *hasher) hash(ctx context.Context, by, wire string) (string, error) {
	salt := make([]byte, hashSalt)
	_, _ = rand.Read(salt) // never fails
	key, err := h.key(ctx, place{"account " + by, true}, wire, salt, hashTime, hashMemory, hashKey)
	if err != nil {
		return "", err
	}
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s", argon2.Version, hashMemory, hashTime, b64(salt), b64(key)), nil
}

// key computes Argon2id in one of the slots. errs.Unavailable when too many
// wait.
func (h *hasher) key(ctx context.Context, p place, wire string, salt []byte, rounds, memory, size uint32) ([]byte, error) {
	if err := h.line.enter(ctx, p); err != nil {
		return nil, err
	}
	defer func() {
		if last := h.line.leave(); last {
			h.giveBack()
		}
	}()
	return argon2.IDKey([]byte(wire), salt, rounds, memory, 1, size), nil
}

// giveBackPause is how long memory is collected for one return: each looks at the
// whole heap, and whoever guesses passwords must not be able to have that often.
const giveBackPause = time.Second

// giveBack returns the memory of hashes to the machine, in the background: one needs
// as much as all that lives in a small server, which would be kept until as much
// again has been used for other things.
func (h *hasher) giveBack() {
	if h.giving.CompareAndSwap(false, true) {
		time.AfterFunc(giveBackPause, func() {
			h.giving.Store(false)
			debug.FreeOSMemory()
		})
	}
}

// proof identifies a pair of stored hash and password.
func (h *hasher) proof(stored, wire string) (out [sha256.Size]byte) {
	m := hmac.New(sha256.New, h.secret)
	m.Write([]byte(stored))
	m.Write([]byte{0})
	m.Write([]byte(wire))
	copy(out[:], m.Sum(nil))
	return out
}

// remembered reports whether the pair was found right lately, in constant time
// for its content.
func (h *hasher) remembered(stored, wire string) bool {
	p := h.proof(stored, wire)
	h.mu.Lock()
	defer h.mu.Unlock()
	until, ok := h.known[p]
	return ok && h.now().Before(until)
}

// verify reports whether wire is the password of a stored hash. At once asked
// again for the same pair, it hashes once. p is where the caller waits.
func (h *hasher) verify(ctx context.Context, p place, stored, wire string) (bool, error) {
	if h.remembered(stored, wire) {
		return true, nil
	}
	pair := h.proof(stored, wire)
	ch := h.once.DoChan(string(pair[:]), func() (any, error) {
		// The work serves all who wait, so it does not end with the first.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		ok, err := h.compute(ctx, p, stored, wire)
		if ok {
			h.remember(pair)
		}
		return ok, err
	})
	select {
	case r := <-ch:
		ok, _ := r.Val.(bool)
		return ok, r.Err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

func (h *hasher) compute(ctx context.Context, p place, stored, wire string) (bool, error) {
	parts := strings.Split(stored, "$")
	var version, memory, rounds, threads uint32
	if len(parts) != 6 || parts[1] != "argon2id" {
		return false, errs.New(errs.Internal, "stored password", "it has an unknown form")
	}
	if _, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &memory, &rounds, &threads); err != nil ||
		version != argon2.Version || threads != 1 || memory > 1<<20 || rounds > 64 {
		return false, errs.New(errs.Internal, "stored password", "it has unknown parameters")
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	want, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(want) == 0 {
		return false, errs.New(errs.Internal, "stored password", "it is damaged")
	}
	got, err := h.key(ctx, p, wire, salt, rounds, memory, uint32(len(want)))
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

func (h *hasher) remember(p [sha256.Size]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if len(h.known) >= maxKnown {
		for k, until := range h.known {
			if now.After(until) {
				delete(h.known, k)
			}
		}
	}
	if len(h.known) >= maxKnown { // all fresh: any tenth may go
		for k := range h.known {
			if delete(h.known, k); len(h.known) < maxKnown*9/10 {
				break
			}
		}
	}
	h.known[p] = now.Add(knownFor)
}

// throttle slows down who guesses passwords: an account from one network may be
// wrong burst times, then once each refill.
type throttle struct {
	mu   sync.Mutex
	seen map[string]*bucket
	now  func() time.Time
}

type bucket struct {
	tokens float64
	at     time.Time
	open   float64       // guesses that are being looked at
	ended  chan struct{} // closed when the next of them has been, nil when nobody waits
}

const (
	guessBurst  = 10.0
	guessRefill = 3 * time.Second
	maxBuckets  = 16384
)

func newThrottle(now func() time.Time) *throttle {
	return &throttle{seen: map[string]*bucket{}, now: now}
}

// begin reports whether a guess may be looked at; end must follow then. Guesses
// that come at once are as many as those that come one after another: those
// beyond what may be wrong wait for the others, or for the end of ctx.
func (t *throttle) begin(ctx context.Context, key string) bool {
	for {
		t.mu.Lock()
		b := t.seen[key]
		if b == nil {
			t.forgetOld()
			b = &bucket{tokens: guessBurst, at: t.now()}
			t.seen[key] = b
		}
		t.fill(b)
		if b.tokens-b.open >= 1 {
			b.open++
			t.mu.Unlock()
			return true
		}
		if b.open == 0 {
			t.mu.Unlock()
			return false
		}
		if b.ended == nil {
			b.ended = make(chan struct{})
		}
		ended := b.ended
		t.mu.Unlock()
		select {
		case <-ended:
		case <-ctx.Done():
			return false
		}
	}
}

// What became of a guess: a wrong one counts, a right one forgets the wrong ones,
// and one that was not looked at is none.
type outcome int

const (
	unseen outcome = iota
	wrong
	right
)

// outcomeOf is what a check of a password came to.
func outcomeOf(ok bool, err error) outcome {
	switch {
	case ok:
		return right
	case errs.ClassOf(err) == errs.Unavailable:
		return unseen
	}
	return wrong // also when the caller has gone: it may come again for the answer
}

// end tells what became of a guess.
func (t *throttle) end(key string, was outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.seen[key]
	if b == nil {
		return
	}
	t.fill(b)
	b.open--
	switch was {
	case right:
		b.tokens = guessBurst
	case wrong:
		b.tokens--
	}
	if b.ended != nil {
		close(b.ended)
		b.ended = nil
	}
	if b.open == 0 && b.tokens >= guessBurst {
		delete(t.seen, key)
	}
}

// forgive forgets the wrong guesses at an account, from wherever they came.
func (t *throttle) forgive(account string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, b := range t.seen {
		if strings.HasSuffix(k, " "+account) {
			b.tokens = guessBurst
		}
	}
}

func (t *throttle) fill(b *bucket) {
	now := t.now()
	b.tokens = min(guessBurst, b.tokens+now.Sub(b.at).Seconds()/guessRefill.Seconds())
	b.at = now
}

// forgetOld keeps the number of buckets bounded: full ones say nothing, and
// when nearly all say something any tenth may go, so that it runs seldom.
func (t *throttle) forgetOld() {
	if len(t.seen) < maxBuckets {
		return
	}
	for k, b := range t.seen {
		if t.fill(b); b.tokens >= guessBurst && b.open == 0 {
			delete(t.seen, k)
		}
	}
	for k, b := range t.seen {
		if len(t.seen) < maxBuckets*9/10 {
			return
		}
		if b.open == 0 {
			delete(t.seen, k)
		}
	}
}
