package job

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/kumo-cloud/kumo/core/dispatch"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/outbound"
)

const (
	// hookWorkers is how many web hooks are called at once.
	hookWorkers = 8
	// maxPending is how many undelivered web hooks are kept in memory; the
	// others wait in the database.
	maxPending = 10_000
)

// httpClient is what the delivery needs of *http.Client.
type httpClient interface {
	Do(*http.Request) (*http.Response, error)
}

// newClient makes a client that does not follow redirects: a hook that answers
// with one was not delivered, and nobody chose where it leads.
func newClient(p outbound.Policy) *http.Client {
	t := p.Transport()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 64, hookWorkers
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// clientFor is the client for the hooks of an account: those of administrators
// may be on the server itself.
func (s *Service) clientFor(account string, c Settings) httpClient {
	if c.Trusted(account) {
		return s.trusted
	}
	return s.client
}

// hook is a web hook that is to be called.
type hook struct {
	uuid, url string
	account   string // whose job it is; "" of a stranger
	entry     *entry // nil when the job is not in memory
	tries     int
}

// Name implements dispatch.Work.
func (h hook) Name() string { return "web hook" }

// JobUUID implements dispatch.Work.
func (h hook) JobUUID() string { return h.uuid }

// owner is on whose behalf it is called: accounts take turns and none has all
// workers, however many servers that hang it names. Strangers are as one.
func (h hook) owner() string { return cmp.Or(h.account, "strangers") }

// perServer is how many hooks of an account call one server at once, fewer than an
// account may have workers: a server that hangs does not hold up the account's others.
const perServer = 4

// key is one of as many queues that the hooks of an account to one server have.
func (h hook) key() string {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(h.uuid)) // never fails
	return fmt.Sprintf("%s %s %d", h.owner(), h.host(), sum.Sum32()%perServer)
}

// host is whom the hook calls.
func (h hook) host() string {
	u, err := url.Parse(h.url)
	if err != nil {
		return h.url
	}
	return u.Host
}

// queueHook has a hook called; when too many wait, it stays in the database
// until the others are done.
func (s *Service) queueHook(h hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if s.pending >= maxPending {
		if h.entry == nil || h.entry.kept {
			s.overflow = true
		} else {
			s.log.Warn("web hook dropped, too many wait", "job", h.uuid)
		}
		return
	}
	s.pending++
	s.submit(h)
}

// submit hands a pending hook to the workers. The queue is larger than what
// can be pending, so it refuses only after Stop.
func (s *Service) submit(h hook) {
	if err := s.hooks.Submit(dispatch.Item{Kind: "webhook", Key: h.key(), Owner: h.owner(), Work: h}); err != nil {
		s.pending--
	}
}

// deliver calls a hook once and decides what is next.
func (s *Service) deliver(h hook) {
	c := s.config()
	ctx, cancel := context.WithTimeout(context.Background(), c.HookTimeout)
	defer cancel()
	h.tries++
	err := s.post(ctx, h, c)
	if err != nil && h.tries < c.HookTries && errs.ClassOf(err) != errs.Denied {
		time.AfterFunc(c.HookPause, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.submit(h)
		})
		return
	}
	if err != nil {
		s.log.Warn("web hook given up", "job", h.uuid, "tries", h.tries, "error", err)
	}
	s.delivered(h)
}

// post sends what a poll would answer. Errors do not show the URL, which may
// hold a secret.
func (s *Service) post(ctx context.Context, h hook, c Settings) error {
	st, err := s.hookStatus(ctx, h)
	if err != nil {
		return err
	}
	body := []byte(st.Body)
	if st.Err != nil {
		body = c.ErrorBody(st.Err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return errors.New("the URL is malformed")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Job-UUID", h.uuid)
	req.Header.Set("X-Job-Success", fmt.Sprint(st.Err == nil))
	res, err := s.clientFor(h.account, c).Do(req)
	if errors.Is(err, errs.Denied) {
		return errs.Wrap(errs.Denied, "web hook of job "+h.uuid, withoutURL(err), "")
	}
	if err != nil {
		return errs.Wrap(errs.Unavailable, "web hook of job "+h.uuid, withoutURL(err), "")
	}
	defer res.Body.Close()
	// A short answer is read so that the connection can be used again.
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // what it says does not matter
	if res.StatusCode/100 != 2 {
		return errs.New(errs.Unavailable, "web hook of job "+h.uuid, "it answered %s", res.Status)
	}
	return nil
}

// withoutURL takes the wrapping off in which net/http shows the URL.
func withoutURL(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

func (s *Service) hookStatus(ctx context.Context, h hook) (Status, error) {
	if h.entry == nil {
		return s.stored(ctx, h.uuid)
	}
	s.mu.Lock()
	st, later := h.entry.status, h.entry.later
	s.mu.Unlock()
	if later != nil {
		return s.answer(ctx, *later)
	}
	return st, nil
}

// delivered forgets a hook, here and in the database.
func (s *Service) delivered(h hook) {
	if h.entry == nil || h.entry.kept {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err := s.store.Update(ctx, func(tx *store.Tx) error {
			return store.Set(ctx, tx, rows.Type, h.uuid, map[string]any{"webHook": nil})
		})
		if err != nil && errs.ClassOf(err) != errs.NotFound {
			s.log.Warn("delivery of web hook not recorded, it is repeated after a restart", "job", h.uuid, "error", err)
		}
	}
	s.mu.Lock()
	s.pending--
	reload := s.pending == 0 && s.overflow && !s.closed
	if reload {
		s.overflow = false
	}
	s.mu.Unlock()
	if reload {
		s.loadHooks(context.Background())
	}
}

// loadHooks queues the hooks of ended jobs that the database has.
func (s *Service) loadHooks(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var list []hook
	err := s.store.Each(ctx, "SELECT `uuid`, `webHook`, `accountUuid` FROM `Job` WHERE `state` = ? AND `webHook` IS NOT NULL ORDER BY `createDate` LIMIT ?",
		[]any{Done, maxPending}, func(r *store.Row) error {
			url, err := store.Secret(s.store, rows.Type, "webHook", r.Text(1))
			list = append(list, hook{uuid: r.Text(0), url: url, account: r.Text(2)})
			return err
		})
	if err != nil {
		s.log.Error("web hooks not loaded", "error", err)
		return
	}
	if len(list) == maxPending {
		s.mu.Lock()
		s.overflow = true
		s.mu.Unlock()
	}
	for _, h := range list {
		s.queueHook(h)
	}
}
