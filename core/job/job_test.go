package job_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/job"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

var ctx = context.Background()

// open opens the database of a test; TestMariaDB replaces it.
var open = func(t testing.TB) *store.Store {
	return openStore(t, "sqlite:"+filepath.Join(t.TempDir(), "kumo.db"))
}

func openStore(t testing.TB, dsn string) *store.Store {
	t.Helper()
	reg := resource.NewRegistry()
	if err := reg.Add(append(job.Types(), flow.Types()...)...); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(ctx, dsn, storetest.Seal(t), reg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// zoo renders resources and counts how often.
type zoo struct {
	rendered atomic.Int64
	fail     atomic.Bool
}

func (z *zoo) Render(_ context.Context, resourceType, uuid string) (json.RawMessage, map[string]string, error) {
	n := z.rendered.Add(1)
	if z.fail.Load() {
		return nil, nil, errs.New(errs.Unavailable, "database", "busy")
	}
	if uuid == "gone" {
		return nil, nil, errs.New(errs.NotFound, resourceType+" "+uuid, "gone")
	}
	return json.RawMessage(fmt.Sprintf(`{"uuid":%q,"rendered":%d}`, uuid, n)), map[string]string{"": "org.Zone", "nics[0]": "org.Nic"}, nil
}

// service makes a service that ends with the test.
func service(t testing.TB, s *store.Store, z *zoo) *job.Service {
	j := job.New(s, z, nil)
	trustAll(j)
	t.Cleanup(func() {
		stop, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if err := j.Stop(stop); err != nil {
			t.Error(err)
		}
	})
	return j
}

// trustAll lets web hooks lead to this machine, where the tests' servers are.
func trustAll(j *job.Service) {
	j.Configure(job.Settings{Trusted: func(string) bool { return true }, Listed: func() []netip.Prefix { return nil }})
}

func id(n int) string { return fmt.Sprintf("%032d", n) }

func accept(t testing.TB, j *job.Service, jb job.Job) {
	t.Helper()
	if err := j.Accept(ctx, jb); err != nil {
		t.Fatal(err)
	}
}

// poll returns a status in one line.
func poll(t testing.TB, j *job.Service, uuid string) string {
	t.Helper()
	st, err := j.Wait(ctx, uuid, 0)
	switch {
	case errs.ClassOf(err) == errs.NotFound:
		return "unknown"
	case err != nil:
		return "cannot poll: " + err.Error()
	case !st.Done:
		return "processing"
	case st.Err != nil:
		return string(errs.ClassOf(st.Err)) + ": " + st.Err.Error()
	}
	return string(st.Body)
}

func expect(t testing.TB, j *job.Service, uuid, want string) {
	t.Helper()
	if got := poll(t, j, uuid); got != want {
		t.Errorf("job %s: %s, want %s", uuid, got, want)
	}
}

// TestOutcomes: every way to end, as it is polled now, and after a restart.
func TestOutcomes(t *testing.T) {
	z := &zoo{}
	s := open(t)
	j := service(t, s, z)
	deep := errs.Wrap(errs.Exhausted, "zone z", errs.New(errs.Refused, "host h", "it is full"), "no host").WithAdvice("add one")
	for i, c := range []struct {
		outcome    job.Outcome
		now, later string
	}{
		{job.Outcome{}, "{}", "{}"},
		{job.Outcome{Result: json.RawMessage(`{"value":1}`)}, `{"value":1}`, `{"value":1}`},
		{job.Outcome{ResourceType: "Zone", ResourceUUID: "z1"}, `{"inventory":{"uuid":"z1","rendered":1}}`, `{"inventory":{"uuid":"z1","rendered":3}}`},
		{job.Outcome{ResourceType: "Zone", ResourceUUID: "gone"}, "{}", "{}"},
		{job.Outcome{Err: deep}, "exhausted: " + deep.Error(), "exhausted: " + deep.Error()},
		{job.Outcome{Err: errors.New("plain")}, "internal: plain", "internal: plain"},
	} {
		z.rendered.Store(0)
		accept(t, j, job.Job{UUID: id(i), Message: "APITestMsg"})
		expect(t, j, id(i), "processing")
		j.Finish(ctx, id(i), c.outcome)
		expect(t, j, id(i), c.now)
		expect(t, j, id(i), c.now) // rendered once
		j.Finish(ctx, id(i), job.Outcome{Err: errors.New("too late")})
		expect(t, j, id(i), c.now)
		z.rendered.Store(2)
		expect(t, service(t, s, z), id(i), c.later)
	}
	accept(t, j, job.Job{UUID: id(100)})
	j.Finish(ctx, id(100), job.Outcome{ResourceType: "Zone", ResourceUUID: "z1"})
	st, err := j.Wait(ctx, id(100), 0)
	if err != nil || st.Schema["inventory"] != "org.Zone" || st.Schema["inventory.nics[0]"] != "org.Nic" {
		t.Errorf("schema %v %v", st.Schema, err)
	}
	expect(t, j, id(999), "unknown")
}

func TestBadJobs(t *testing.T) {
	j := service(t, open(t), nil)
	accept(t, j, job.Job{UUID: id(1)})
	for name, c := range map[string]struct {
		job   job.Job
		class errs.Class
	}{
		"twice":      {job.Job{UUID: id(1)}, errs.Exists},
		"short":      {job.Job{UUID: "123"}, errs.Invalid},
		"odd":        {job.Job{UUID: strings.Repeat("/", 32)}, errs.Invalid},
		"file hook":  {job.Job{UUID: id(2), WebHook: "file:///etc/passwd"}, errs.Invalid},
		"no host":    {job.Job{UUID: id(2), WebHook: "http:///x"}, errs.Invalid},
		"no URL":     {job.Job{UUID: id(2), WebHook: "http://[::1"}, errs.Invalid},
		"long hook":  {job.Job{UUID: id(2), WebHook: "http://h/" + strings.Repeat("x", 3000)}, errs.Invalid},
		"https hook": {job.Job{UUID: id(3), WebHook: "https://h/x?y=z"}, ""},
	} {
		if err := j.Accept(ctx, c.job); errs.ClassOf(err) != c.class {
			t.Errorf("%s: accept: %v", name, err)
		}
		if c.class != "" {
			if err := j.Reject(ctx, c.job, errs.Denied); errs.ClassOf(err) != c.class {
				t.Errorf("%s: reject: %v", name, err)
			}
		}
	}
	j.Finish(ctx, id(3), job.Outcome{})
	expect(t, j, id(2), "unknown") // a refused job leaves nothing
	// Also when the first one has left the memory.
	small := service(t, open(t), nil)
	small.Configure(job.Settings{Remember: 1})
	for n := range 3 {
		accept(t, small, job.Job{UUID: id(n + 10)})
		small.Finish(ctx, id(n+10), job.Outcome{})
	}
	if err := small.Accept(ctx, job.Job{UUID: id(10)}); errs.ClassOf(err) != errs.Exists {
		t.Errorf("an old job again: %v", err)
	}
	if err := small.Reject(ctx, job.Job{UUID: id(10)}, errs.Denied); errs.ClassOf(err) != errs.Exists {
		t.Errorf("an old job rejected: %v", err)
	}
	expect(t, small, id(10), "{}")
}

func TestReject(t *testing.T) {
	s := open(t)
	j := service(t, s, nil)
	if err := j.Reject(ctx, job.Job{UUID: id(1)}, errs.New(errs.Unauthenticated, "session", "unknown")); err != nil {
		t.Fatal(err)
	}
	expect(t, j, id(1), "unauthenticated: session: unknown")
	expect(t, service(t, s, nil), id(1), "unknown") // it caused no write
}

// TestRefusedJobsStay: no number of strangers pushes out what an account has been
// refused, and neither does a restart; an account's own refusals do, from a
// bound on.
func TestRefusedJobsStay(t *testing.T) {
	s := open(t)
	j := service(t, s, nil)
	j.Configure(job.Settings{Remember: 10, Refused: 20})
	refuse := func(n int, account string) {
		t.Helper()
		if err := j.Reject(ctx, job.Job{UUID: id(n), AccountUUID: account}, errs.New(errs.Denied, "zone", "no")); err != nil {
			t.Fatal(err)
		}
	}
	mine, other := strings.Repeat("a", 32), strings.Repeat("b", 32)
	refuse(1, mine)
	for n := range 100 {
		refuse(1000+n, "")
	}
	for n := range 25 {
		refuse(2000+n, other)
	}
	eventually(t, "written", func() bool {
		n, err := store.Count(ctx, s, job.Types()[0], "`uuid` = ?", id(2024))
		return n == 1 && err == nil
	})
	for _, service := range []*job.Service{j, service(t, s, nil)} {
		expect(t, service, id(1), "denied: zone: no")
		expect(t, service, id(2005), "denied: zone: no")
		expect(t, service, id(2024), "denied: zone: no")
		expect(t, service, id(1000), "unknown")
	}
	if n, err := store.Count(ctx, s, job.Types()[0], "`accountUuid` = ?", other); n != 20 || err != nil {
		t.Errorf("%d refused jobs are kept of an account, want 20: %v", n, err)
	}
	if err := j.Reject(ctx, job.Job{UUID: id(1), AccountUUID: other}, errs.Denied); errs.ClassOf(err) != errs.Exists {
		t.Errorf("the same uuid again: %v", err)
	}
}

// TestWait: a poll is held until the job ends, not longer than it asks, and
// answered at once when too many are held.
func TestWait(t *testing.T) {
	j := service(t, open(t), nil)
	accept(t, j, job.Job{UUID: id(1)})
	begin := time.Now()
	if st, err := j.Wait(ctx, id(1), 30*time.Millisecond); st.Done || err != nil || time.Since(begin) < 30*time.Millisecond {
		t.Errorf("after %s: %+v %v", time.Since(begin), st, err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if st, err := j.Wait(gone, id(1), time.Hour); st.Done || err != nil {
		t.Errorf("the caller is gone: %+v %v", st, err)
	}
	j.Configure(job.Settings{Waiters: 50})
	var wg sync.WaitGroup
	var held atomic.Int64
	for range 50 {
		wg.Go(func() {
			held.Add(1)
			if st, err := j.Wait(ctx, id(1), time.Minute); !st.Done || err != nil {
				t.Errorf("%+v %v", st, err)
			}
		})
	}
	for range 2000 {
		if j.Stats().Waiting == 50 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if st, err := j.Wait(ctx, id(1), time.Hour); st.Done || err != nil {
		t.Errorf("one too many: %+v %v", st, err)
	}
	begin = time.Now()
	j.Finish(ctx, id(1), job.Outcome{})
	wg.Wait()
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("woken after %s", took)
	}
	if st := j.Stats(); st.Waiting != 0 || st.Processing != 0 || st.Remembered != 1 {
		t.Errorf("%+v", st)
	}
}

// TestMemory: what has left the memory is answered from the database; a large
// answer is not kept in memory at all.
func TestMemory(t *testing.T) {
	z := &zoo{}
	j := service(t, open(t), z)
	j.Configure(job.Settings{Remember: 3})
	for n := range 10 {
		accept(t, j, job.Job{UUID: id(n)})
		j.Finish(ctx, id(n), job.Outcome{Result: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n))})
	}
	if st := j.Stats(); st.Remembered != 3 || st.Processing != 0 {
		t.Errorf("%+v", st)
	}
	for n := range 10 {
		expect(t, j, id(n), fmt.Sprintf(`{"n":%d}`, n))
	}
	big := json.RawMessage(`{"x":"` + strings.Repeat("x", 300<<10) + `"}`)
	accept(t, j, job.Job{UUID: id(20)})
	j.Finish(ctx, id(20), job.Outcome{Result: big})
	expect(t, j, id(20), string(big))
	z.fail.Store(true)
	accept(t, j, job.Job{UUID: id(21)})
	j.Finish(ctx, id(21), job.Outcome{ResourceType: "Zone", ResourceUUID: "z"})
	if got := poll(t, j, id(21)); got != "cannot poll: database: busy" {
		t.Errorf("an answer that cannot be rendered: %s", got)
	}
	z.fail.Store(false)
	if got := poll(t, j, id(21)); !strings.HasPrefix(got, `{"inventory":{"uuid":"z"`) {
		t.Errorf("rendered later: %s", got)
	}
}

type none struct{}

// TestWithFlow: jobs that end with their flows.
func TestWithFlow(t *testing.T) {
	z := &zoo{}
	s := open(t)
	j := service(t, s, z)
	flows := flow.NewEngine(s, nil, j)
	good := flow.Define("good", flow.Do("work", func(context.Context, *none) error { return nil }, nil))
	bad := flow.Define("bad", flow.Do("work", func(context.Context, *none) error { return errs.New(errs.Exhausted, "pool p", "full") }, nil))
	flow.Register(flows, good)
	flow.Register(flows, bad)
	run := func(n int, d *flow.Def[none], known bool) error {
		jb := job.Job{UUID: id(n)}
		if known {
			jb.ResourceType, jb.ResourceUUID = "Zone", "z"
		}
		accept(t, j, jb)
		return flow.Run(ctx, flows, d, &none{}, flow.Options{Job: id(n)})
	}
	// The answer is known: the poll need not wait for the handler.
	if err := run(1, good, true); err != nil {
		t.Fatal(err)
	}
	expect(t, j, id(1), `{"inventory":{"uuid":"z","rendered":1}}`)
	j.Finish(ctx, id(1), job.Outcome{ResourceType: "Zone", ResourceUUID: "z"})
	expect(t, j, id(1), `{"inventory":{"uuid":"z","rendered":1}}`)
	// The flow's end is the job's: what the handler says then changes nothing.
	if err := run(2, good, false); err != nil {
		t.Fatal(err)
	}
	expect(t, j, id(2), "{}")
	j.Finish(ctx, id(2), job.Outcome{Err: errs.Refused})
	expect(t, j, id(2), "{}")
	expect(t, service(t, s, z), id(2), "{}")
	err := run(3, bad, true)
	expect(t, j, id(3), "exhausted: pool p: full")
	j.Finish(ctx, id(3), job.Outcome{Err: fmt.Errorf("create zone: %w", err)})
	expect(t, j, id(3), "exhausted: pool p: full")
	_ = run(4, bad, false) // the error is the point of this case
	j.Finish(ctx, id(4), job.Outcome{})
	expect(t, j, id(4), "exhausted: pool p: full")
	expect(t, service(t, s, z), id(4), "exhausted: pool p: full")
	// The handler never says anything.
	_ = run(5, bad, true) // as above
	if st, err := j.Wait(ctx, id(5), 10*time.Second); !st.Done || errs.ClassOf(st.Err) != errs.Exhausted || err != nil {
		t.Errorf("%+v %v", st, err)
	}
}

// TestRestart: jobs with a flow go on, others have failed, a stop ends no job.
func TestRestart(t *testing.T) {
	z := &zoo{}
	s := open(t)
	j := service(t, s, z)
	flows := flow.NewEngine(s, nil, j)
	in := make(chan struct{})
	define := func(work func()) *flow.Def[none] {
		return flow.Define("long", flow.Do("first", func(context.Context, *none) error { work(); return nil }, nil),
			flow.Do("second", func(context.Context, *none) error { return nil }, nil))
	}
	d := define(func() {
		close(in)
		for flows.Stop(func() context.Context { c, cancel := context.WithCancel(ctx); cancel(); return c }()) == nil {
		}
	})
	flow.Register(flows, d)
	accept(t, j, job.Job{UUID: id(1), ResourceType: "Zone", ResourceUUID: "z"})
	accept(t, j, job.Job{UUID: id(2)})
	err := flow.Run(ctx, flows, d, &none{}, flow.Options{Job: id(1)})
	<-in
	j.Finish(ctx, id(1), job.Outcome{Err: err}) // as the handler does
	if !flow.IsStopped(err) {
		t.Fatal(err)
	}
	expect(t, j, id(1), "processing")

	next := service(t, s, z)
	flows = flow.NewEngine(s, nil, next)
	d = define(func() {})
	flow.Register(flows, d)
	goesOn, err := flows.Jobs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := next.Start(run, goesOn); err != nil {
		t.Fatal(err)
	}
	expect(t, next, id(1), "processing")
	if got := poll(t, next, id(2)); !strings.HasPrefix(got, "unavailable: operation: the management node stopped before") {
		t.Errorf("a job without a flow: %s", got)
	}
	waiting := make(chan job.Status)
	go func() {
		st, err := next.Wait(ctx, id(1), time.Minute)
		if err != nil {
			t.Error(err)
		}
		waiting <- st
	}()
	if err := flows.Resume(ctx, func(_ string, run func(context.Context)) { run(ctx) }); err != nil {
		t.Fatal(err)
	}
	if st := <-waiting; !st.Done || st.Err != nil || !strings.Contains(string(st.Body), `"uuid":"z"`) {
		t.Errorf("%+v", st)
	}
}

// A job whose row was damaged costs the others, and the start, nothing; it has failed.
func TestDamagedJob(t *testing.T) {
	s := open(t)
	accept(t, service(t, s, &zoo{}), job.Job{UUID: id(1)})
	accept(t, service(t, s, &zoo{}), job.Job{UUID: id(2)})
	err := s.Update(ctx, func(tx *store.Tx) error { // in a column that SQLite takes anything for
		_, err := tx.Exec(ctx, "UPDATE `Job` SET `epoch` = 'first' WHERE `uuid` = ?", id(1))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	next := service(t, s, &zoo{})
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := next.Start(run, nil); err != nil {
		t.Fatal(err)
	}
	if got := poll(t, next, id(2)); !strings.HasPrefix(got, "unavailable: operation: the management node stopped before") {
		t.Errorf("the other job: %s", got)
	}
}

func TestExpiry(t *testing.T) {
	s := open(t)
	j := service(t, s, nil)
	j.Configure(job.Settings{Expiry: 20 * time.Millisecond})
	for n := range 3 {
		accept(t, j, job.Job{UUID: id(n)})
	}
	j.Finish(ctx, id(0), job.Outcome{})
	j.Finish(ctx, id(1), job.Outcome{Err: errs.Denied})
	time.Sleep(40 * time.Millisecond)
	expect(t, j, id(0), "unknown")
	expect(t, service(t, s, nil), id(2), "processing")
	// One that failed stays to be looked at, though not to be polled.
	if n, err := j.Sweep(ctx); n != 1 || err != nil {
		t.Errorf("swept %d %v", n, err)
	}
	expect(t, j, id(1), "unknown")
	j.Configure(job.Settings{KeepFailed: time.Millisecond})
	if n, err := j.Sweep(ctx); n != 1 || err != nil {
		t.Errorf("swept %d %v", n, err)
	}
	expect(t, j, id(2), "processing")
	if n, err := j.Sweep(ctx); n != 0 || err != nil {
		t.Errorf("swept again %d %v", n, err)
	}
}

// receiver is a web hook's server.
type receiver struct {
	*httptest.Server
	answer atomic.Int64 // the status it answers with
	mu     sync.Mutex
	got    []string
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.answer.Store(200)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		r.got = append(r.got, fmt.Sprintf("%s %s %s %s %s", req.Method, req.Header.Get("X-Job-UUID"), req.Header.Get("X-Job-Success"),
			req.Header.Get("Content-Type"), body))
		r.mu.Unlock()
		if r.answer.Load() == 302 {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(int(r.answer.Load()))
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got)
}

func (r *receiver) last() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.got) == 0 {
		return ""
	}
	return r.got[len(r.got)-1]
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 5000 {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("not within 5 s: %s", what)
}

func TestWebHook(t *testing.T) {
	s := open(t)
	j := service(t, s, &zoo{})
	j.Configure(job.Settings{HookPause: time.Millisecond, HookTries: 5})
	r := newReceiver(t)
	accept(t, j, job.Job{UUID: id(1), WebHook: r.URL + "/hook?secret=1"})
	j.Finish(ctx, id(1), job.Outcome{ResourceType: "Zone", ResourceUUID: "z"})
	eventually(t, "delivered", func() bool { return j.Stats().Hooks == 0 && r.count() == 1 })
	if want := "POST " + id(1) + ` true application/json {"inventory":{"uuid":"z","rendered":1}}`; r.last() != want {
		t.Errorf("got %s, want %s", r.last(), want)
	}
	for _, answer := range []int64{500, 302, 404} { // not delivered: tried again, then given up
		before := r.count()
		r.answer.Store(answer)
		accept(t, j, job.Job{UUID: id(int(answer)), WebHook: r.URL})
		j.Finish(ctx, id(int(answer)), job.Outcome{Err: errs.New(errs.Denied, "zone z", "not yours")})
		eventually(t, "given up", func() bool { return j.Stats().Hooks == 0 })
		if got := r.count() - before; got != 5 {
			t.Errorf("answer %d: called %d times", answer, got)
		}
	}
	if want := "POST " + id(404) + ` false application/json {"error":{"code":"denied","details":"zone z: not yours"}}`; r.last() != want {
		t.Errorf("got %s, want %s", r.last(), want)
	}
	before := r.count()
	r.answer.Store(503)
	accept(t, j, job.Job{UUID: id(2), WebHook: r.URL})
	j.Finish(ctx, id(2), job.Outcome{})
	eventually(t, "called twice", func() bool { return r.count() >= before+2 })
	r.answer.Store(204)
	eventually(t, "delivered at last", func() bool { return j.Stats().Hooks == 0 })
	// A rejected job calls back only if its caller is known.
	before = r.count()
	for n, account := range []string{"", "account"} {
		if err := j.Reject(ctx, job.Job{UUID: id(10 + n), AccountUUID: account, WebHook: r.URL}, errs.Invalid); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "delivered", func() bool { return j.Stats().Hooks == 0 && r.count() == before+1 })
	if !strings.HasPrefix(r.last(), "POST "+id(11)+" false") {
		t.Errorf("got %s", r.last())
	}
	rows, err := store.Texts(ctx, s, "SELECT `uuid` FROM `Job` WHERE `webHook` IS NOT NULL")
	if err != nil || len(rows) != 0 {
		t.Errorf("still to be delivered: %v %v", rows, err)
	}
}

// TestWebHookAfterRestart: what was not delivered when the process ended is
// delivered by the next one.
func TestWebHookAfterRestart(t *testing.T) {
	s := open(t)
	j := job.New(s, nil, nil)
	trustAll(j)
	j.Configure(job.Settings{HookPause: time.Hour})
	r := newReceiver(t)
	r.answer.Store(500)
	accept(t, j, job.Job{UUID: id(1), WebHook: r.URL})
	accept(t, j, job.Job{UUID: id(2), WebHook: r.URL}) // lost with the process
	j.Finish(ctx, id(1), job.Outcome{Result: json.RawMessage(`{"n":1}`)})
	eventually(t, "called", func() bool { return r.count() == 1 })
	if err := j.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	r.answer.Store(200)
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	next := service(t, s, nil)
	if err := next.Start(run, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "delivered", func() bool { return next.Stats().Hooks == 0 && r.count() == 3 })
	r.mu.Lock()
	defer r.mu.Unlock()
	all := strings.Join(r.got, "\n")
	if !strings.Contains(all, id(1)+" true application/json {\"n\":1}") || !strings.Contains(all, id(2)+" false") {
		t.Errorf("got %s", all)
	}
}

// TestWebHookOfWhom: the hooks of accounts do not reach the server itself, unless
// the operator lists where; they are given up at once. Those of the administrator
// do. It is the same after a restart.
func TestWebHookOfWhom(t *testing.T) {
	s := open(t)
	r := newReceiver(t)
	var listed atomic.Bool
	settings := job.Settings{HookPause: time.Hour, Trusted: func(account string) bool { return account == "admin" }, Listed: func() []netip.Prefix {
		if listed.Load() {
			return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		}
		return nil
	}}
	j := service(t, s, nil)
	j.Configure(settings)
	n := 0
	call := func(account string) {
		t.Helper()
		n++
		accept(t, j, job.Job{UUID: id(n), AccountUUID: account, WebHook: r.URL})
		j.Finish(ctx, id(n), job.Outcome{Result: json.RawMessage("{}")})
		eventually(t, "its hook is done with", func() bool { return j.Stats().Hooks == 0 })
	}
	call("somebody")
	call("admin")
	if r.count() != 1 || !strings.HasPrefix(r.last(), "POST "+id(2)) {
		t.Fatalf("called %d times, the last time %s", r.count(), r.last())
	}
	listed.Store(true)
	call("somebody")
	if r.count() != 2 {
		t.Fatalf("called %d times, though the network is listed", r.count())
	}
	listed.Store(false)
	for i, account := range []string{"somebody", "admin"} {
		accept(t, j, job.Job{UUID: id(10 + i), AccountUUID: account, WebHook: r.URL}) // the process ends first
	}
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	next := service(t, s, nil)
	next.Configure(settings)
	if err := next.Start(run, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the hooks are done with", func() bool { return next.Stats().Hooks == 0 })
	if r.count() != 3 || !strings.HasPrefix(r.last(), "POST "+id(11)) {
		t.Errorf("called %d times, the last time %s", r.count(), r.last())
	}
}

// TestWebHooksThatHang: however many servers an account names that take its hooks and
// do not answer, the hooks of others are called at once, and so are its own to others.
func TestWebHooksThatHang(t *testing.T) {
	s := open(t)
	good := newReceiver(t)
	hang, end := make(chan struct{}), make(chan struct{})
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	bad := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		select {
		case hang <- struct{}{}:
		case <-end:
		}
		<-end
	})}}
	bad.Start()
	defer bad.Close()
	defer close(end)
	j := service(t, s, nil)
	j.Configure(job.Settings{HookTimeout: time.Minute, Trusted: func(string) bool { return true }})
	call := func(n int, account, url string) {
		accept(t, j, job.Job{UUID: fmt.Sprintf("%x%031x", n%16, n), AccountUUID: account, WebHook: url})
		j.Finish(ctx, fmt.Sprintf("%x%031x", n%16, n), job.Outcome{Result: json.RawMessage("{}")})
	}
	mallory, bob := strings.Repeat("a", 32), strings.Repeat("b", 32)
	port := l.Addr().(*net.TCPAddr).Port
	for n := range 100 {
		call(n, mallory, fmt.Sprintf("http://127.0.0.%d:%d/", n+1, port))
	}
	calls := func(n int) {
		t.Helper()
		for range n {
			<-hang
		}
		select {
		case <-hang:
			t.Errorf("more than %d workers are taken", n)
		case <-time.After(50 * time.Millisecond): // what comes later is no matter
		}
	}
	calls(6) // what one account may have of the eight
	call(200, bob, good.URL)
	eventually(t, "another account's hook is called", func() bool { return good.count() == 1 })

	j = service(t, open(t), nil)
	j.Configure(job.Settings{HookTimeout: time.Minute, Trusted: func(string) bool { return true }})
	for n := range 100 {
		call(n, mallory, fmt.Sprintf("http://127.0.0.1:%d/", port))
	}
	calls(4) // what one server may have of the six
	call(200, mallory, good.URL)
	eventually(t, "the account's hook to another server is called", func() bool { return good.count() == 2 })
}

// BenchmarkAccept measures accepting and finishing jobs, 100 at once.
func BenchmarkAccept(b *testing.B) {
	j := service(b, open(b), nil)
	var n atomic.Int64
	b.SetParallelism(50) // times two cores
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := int(n.Add(1))
			if err := j.Accept(ctx, job.Job{UUID: id(i), Message: "APIBenchMsg", AccountUUID: id(1)}); err != nil {
				b.Error(err)
			}
			j.Finish(ctx, id(i), job.Outcome{})
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}
