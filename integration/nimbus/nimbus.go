package nimbus

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Key and Secret are the credentials of the cloud's one customer.
const (
	Key    = "nimbus-key"
	Secret = "nimbus-secret-4711"
)

// Thing is a region, a zone or an instance, by its kind.
type Thing struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// In is the region of a zone, the zone of an instance.
	In   string `json:"in,omitempty"`
	Size int64  `json:"size,omitempty"`
	// Token is what an instance was made with: again, it is the same instance.
	Token string `json:"token,omitempty"`
}

// Cloud is a running cloud. It is safe for concurrent use.
type Cloud struct {
	// URL is where it listens.
	URL string

	mu     sync.Mutex
	things map[string][]Thing // by kind
	made   int
	// throttle is how many of the next requests are asked to slow down.
	throttle int
	// hold, when it is set, is waited for before the n-th page from now is answered.
	holdAt int
	held   chan struct{}
	hold   chan struct{}
	inside int
	most   int
}

// perPage is how many things a page has.
const perPage = 2

// Start serves a cloud with one region, two zones and three instances until the test
// ends.
func Start(t testing.TB) *Cloud {
	c := &Cloud{things: map[string][]Thing{
		"regions": {{ID: "r-1", Name: "north"}},
		"zones":   {{ID: "z-1", Name: "north-a", In: "r-1"}, {ID: "z-2", Name: "north-b", In: "r-1"}},
		"instances": {{ID: "i-1", Name: "web", In: "z-1", Size: 1}, {ID: "i-2", Name: "db", In: "z-1", Size: 2},
			{ID: "i-3", Name: "mail", In: "z-2", Size: 4}}}}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	c.URL = s.URL
	return c
}

// signature is the one that a request must have: HMAC-SHA256 over method, path with query,
// date and body.
func signature(method, path, date, secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s\n%s\n%s\n%s", method, path, date, body) // a hash never fails
	return hex.EncodeToString(mac.Sum(nil))
}

// good tells whether a request is signed, now.
func good(r *http.Request, body []byte) bool {
	date, err := http.ParseTime(r.Header.Get("Date"))
	want := signature(r.Method, r.URL.RequestURI(), r.Header.Get("Date"), Secret, body)
	return err == nil && time.Since(date).Abs() < 15*time.Minute && r.Header.Get("X-Nimbus-Key") == Key &&
		hmac.Equal([]byte(want), []byte(r.Header.Get("X-Nimbus-Signature")))
}

// ServeHTTP answers GET /v1/KIND?from=N, POST and DELETE of instances, and GET /v1/price.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		http.Error(w, "no body", http.StatusBadRequest)
	case !good(r, body):
		// It repeats what it was sent, as some services do.
		http.Error(w, "the signature is not that of "+r.Header.Get("X-Nimbus-Key"), http.StatusForbidden)
	case c.slow():
		http.Error(w, "slow down", http.StatusTooManyRequests)
	default:
		c.serve(w, r, body)
	}
}

func (c *Cloud) slow() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.throttle--
	return c.throttle >= 0
}

func (c *Cloud) serve(w http.ResponseWriter, r *http.Request, body []byte) {
	kind, id, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")
	if r.Method == http.MethodGet && kind != "price" {
		c.wait(r)
		defer c.leave()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case kind == "price":
		size, err := strconv.Atoi(r.URL.Query().Get("size"))
		if err != nil || size < 1 || size > 8 {
			http.Error(w, "there is no such size", http.StatusBadRequest)
			return
		}
		answer(w, map[string]string{"amount": fmt.Sprintf("%d.25", size), "currency": "EUR"})
	case r.Method == http.MethodGet:
		from, _ := strconv.Atoi(r.URL.Query().Get("from")) // the beginning, when it is none
		all := c.things[kind]
		from = min(from, len(all))
		to := min(from+perPage, len(all))
		answer(w, map[string]any{"things": all[from:to], "next": to, "more": to < len(all)})
	case r.Method == http.MethodPost && kind == "instances":
		c.create(w, body)
	case r.Method == http.MethodDelete && kind == "instances":
		c.things[kind] = slices.DeleteFunc(c.things[kind], func(t Thing) bool { return t.ID == id || t.Token != "" && t.Token == r.URL.Query().Get("token") })
		answer(w, map[string]any{})
	default:
		http.NotFound(w, r)
	}
}

func (c *Cloud) create(w http.ResponseWriter, body []byte) {
	var t Thing
	if json.Unmarshal(body, &t) != nil || t.Size < 1 || t.Size > 8 {
		http.Error(w, "there is no such size", http.StatusBadRequest)
		return
	}
	if i := slices.IndexFunc(c.things["instances"], func(had Thing) bool { return had.Token == t.Token }); i >= 0 {
		answer(w, c.things["instances"][i])
		return
	}
	c.made++
	t.ID = fmt.Sprintf("i-new-%d", c.made)
	c.things["instances"] = append(c.things["instances"], t)
	answer(w, t)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // who has gone away is not told
}

// wait counts who asks for pages at once, and holds one when that is wanted.
func (c *Cloud) wait(r *http.Request) {
	c.mu.Lock()
	c.inside++
	c.most = max(c.most, c.inside)
	c.holdAt--
	held, hold := c.held, c.hold
	now := c.holdAt == 0 && hold != nil
	c.mu.Unlock()
	if now {
		close(held)
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	}
}

func (c *Cloud) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inside--
}

// Throttle has the next n requests asked to slow down.
func (c *Cloud) Throttle(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.throttle = n
}

// HoldPage has the n-th page from now on not answered: held is closed when it is asked
// for. release lets it be answered.
func (c *Cloud) HoldPage(n int) (held <-chan struct{}, release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holdAt, c.held, c.hold = n, make(chan struct{}), make(chan struct{})
	return c.held, sync.OnceFunc(func() { close(c.hold) })
}

// Things returns those of a kind.
func (c *Cloud) Things(kind string) []Thing {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.things[kind])
}

// Set replaces those of a kind.
func (c *Cloud) Set(kind string, things ...Thing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.things[kind] = slices.Clone(things)
}

// Most is how many pages were asked for at one time.
func (c *Cloud) Most() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.most
}
