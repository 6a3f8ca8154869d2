package crash

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// row is what the tests look at of flows, garbage and jobs.
type row struct {
	UUID, Name, Phase, Step, Cause, UndoCause, ResourceUUID, Status, RunnerClass, Context, Message, State string
	Job                                                                                                   string
}

// list queries a type.
func list(t *testing.T, c *wire.Client, path string, conditions ...string) []row {
	t.Helper()
	page, err := c.Query(t.Context(), path, conditions...)
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]row, len(page.Inventories))
	for i, raw := range page.Inventories {
		if err := json.Unmarshal(raw, &rows[i]); err != nil {
			t.Fatal(err)
		}
	}
	return rows
}

// other logs in as an account that owns nothing.
func other(t *testing.T, s *server.Server) *wire.Client {
	t.Helper()
	if _, err := s.Client.Create(t.Context(), "/accounts", wire.Params{"name": "other", "password": wire.HashPassword("secret")}); err != nil {
		t.Fatal(err)
	}
	c := wire.New(s.URL)
	if err := c.Login(t.Context(), "other", "secret"); err != nil {
		t.Fatal(err)
	}
	return c
}

// written waits until the database has the traces of a job: they are written some
// time after the end of a flow, and a server that is killed before loses them.
func written(t *testing.T, db *sql.DB, job string, want int) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var have int
		if err := db.QueryRow("SELECT COUNT(*) FROM `FlowTrace` WHERE `job` = ?", job).Scan(&have); err != nil {
			t.Fatal(err)
		}
		if have == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the database has %d traces of the job, want %d", have, want)
		}
	}
}

// A person sees what is stuck, in which step and why, what its job did, and has
// it undone, or forgotten. Nobody but the administrator and the job's account does.
func TestStuckIsSeen(t *testing.T) {
	t.Parallel()
	m := cloud(t)
	s := server.Start(t, server.Options{Dir: m.copy(t)})
	s.Ready()
	c, ctx := s.Client, t.Context()
	start := func(job string) {
		t.Helper()
		s.Begin(job, http.MethodPut, wire.VMs+"/"+m.stopped+"/actions", map[string]any{"startVmInstance": wire.Params{}})
		if s.Outcome(job) == nil {
			t.Fatal("it was started by a plugin that cannot")
		}
	}
	const faults = "StartVM:fail=internal;StopVM:fail=unavailable;DestroyVM:fail=unavailable"
	s.Faults(faults)
	job := strings.Repeat("1", 32)
	start(job)
	flows := list(t, c, "/flows")
	if len(flows) != 1 {
		t.Fatalf("the open flows are %+v", flows)
	}
	f := flows[0]
	if f.Name != "start-vm" || f.Phase != "undo-failed" || f.Step != "start-on-host" || f.ResourceUUID != m.stopped || f.Job != job ||
		!strings.Contains(f.Cause, "injected") || !strings.Contains(f.UndoCause, "injected") {
		t.Errorf("the open flow is %+v", f)
	}
	var trace struct {
		Flows []struct {
			Flow, Phase string
			Steps       []struct {
				Name, Error string
				Undo        bool
				Took        float64
				Calls       []struct {
					Plugin, Method string
					Tries          int
				}
			}
		}
	}
	look := func(c *wire.Client) error {
		body, err := c.Call(ctx, http.MethodGet, "/jobs/"+job+"/trace", nil)
		if err == nil {
			err = json.Unmarshal(body, &trace)
		}
		return err
	}
	if err := look(c); err != nil || len(trace.Flows) != 1 || trace.Flows[0].Phase != "undo-failed" {
		t.Fatalf("the trace is %+v: %v", trace, err)
	}
	found := ""
	for _, step := range trace.Flows[0].Steps {
		for _, call := range step.Calls {
			found += fmt.Sprint(step.Name, " ", step.Undo, " ", call.Plugin, ".", call.Method, " ", call.Tries, step.Took > 0, step.Error != "", "; ")
		}
	}
	if !strings.Contains(found, "start-on-host false simulator.StartVM 1 true true") || !strings.Contains(found, "start-on-host true simulator.") {
		t.Errorf("the calls in the trace are %s", found)
	}
	stranger := other(t, s)
	for _, path := range []string{"/flows", "/gc-jobs"} {
		if _, err := stranger.Query(ctx, path); err == nil {
			t.Errorf("any account may read %s", path)
		}
	}
	if jobs := list(t, stranger, "/jobs"); len(jobs) != 0 {
		t.Errorf("an account that has done nothing sees the jobs %+v", jobs)
	}
	if err := look(stranger); err == nil {
		t.Error("any account may read the trace")
	}
	if jobs := list(t, c, "/jobs", "uuid="+job); len(jobs) != 1 || jobs[0].Message != "APIStartVmInstanceMsg" || !strings.Contains(jobs[0].Cause, "injected") {
		t.Errorf("the job is %+v", jobs)
	}
	retry := func() error { _, err := c.Act(ctx, "/flows/"+f.UUID, "retryFlow", nil); return err }
	if err := retry(); !wire.Clear(err) || !strings.Contains(err.Error(), "injected") {
		t.Errorf("the undo cannot be repeated yet: %v", err)
	}
	metrics(t, s, "kumo_flows_undo_failed 1", "kumo_flows_open 1")
	s.Faults("")
	if err := retry(); err != nil {
		t.Error(err)
	}
	if flows := list(t, c, "/flows"); len(flows) != 0 {
		t.Errorf("the open flows are %+v", flows)
	}
	db := s.Database()
	s.Audit(db)

	s.Faults(faults)
	start(strings.Repeat("2", 32))
	f = list(t, c, "/flows")[0]
	if _, err := c.Act(ctx, "/flows/"+f.UUID, "forgetFlow", nil); err != nil {
		t.Error(err)
	}
	if flows := list(t, c, "/flows"); len(flows) != 0 {
		t.Errorf("the open flows are %+v", flows)
	}
	if err := look(c); err != nil {
		t.Fatal(err)
	}
	tries := len(trace.Flows)
	written(t, db, job, tries)
	s.Kill()
	s = s.Again()
	s.Ready()
	if err := look(s.Client); err != nil || len(trace.Flows) != tries {
		t.Errorf("after a restart the trace of %d tries is %+v: %v", tries, trace, err)
	}
}

// What a delete has left is listed in the wire's form, and triggered.
func TestGarbageIsSeen(t *testing.T) {
	t.Parallel()
	m := cloud(t)
	s := server.Start(t, server.Options{Dir: m.copy(t)})
	s.Ready()
	c, ctx := s.Client, t.Context()
	s.Faults("DestroyVM:fail=unavailable")
	if _, err := c.Act(ctx, wire.VMs+"/"+m.destroyed, "expungeVmInstance", nil); err != nil {
		t.Fatal(err)
	}
	left := list(t, c, "/gc-jobs")
	if len(left) != 1 || left[0].Status != "Idle" || left[0].RunnerClass != "VmInstance" || !strings.Contains(left[0].Context, "injected") {
		t.Fatalf("what is left: %+v", left)
	}
	metrics(t, s, "kumo_garbage 1")
	trigger := func() error { _, err := c.Act(ctx, "/gc-jobs/"+left[0].UUID, "triggerGCJob", nil); return err }
	if err := trigger(); !wire.Clear(err) || !strings.Contains(err.Error(), "injected") {
		t.Errorf("it cannot be removed yet: %v", err)
	}
	s.Faults("")
	if err := trigger(); err != nil {
		t.Error(err)
	}
	if left := list(t, c, "/gc-jobs"); len(left) != 0 {
		t.Errorf("what is left: %+v", left)
	}
	s.Audit(s.Database())
}

// What waits behind a slow call on a guest is seen with its job.
func TestQueueIsSeen(t *testing.T) {
	t.Parallel()
	m := cloud(t)
	s := server.Start(t, server.Options{Dir: m.copy(t)})
	s.Ready()
	s.Faults("StopVM:latency=3s")
	jobs := []string{strings.Repeat("3", 32), strings.Repeat("4", 32)}
	for i, action := range []string{"stopVmInstance", "startVmInstance"} {
		if !s.Begin(jobs[i], http.MethodPut, wire.VMs+"/"+m.running+"/actions", map[string]any{action: wire.Params{}}) {
			t.Fatal("it was not accepted")
		}
	}
	type task struct {
		APIID, APIName             string
		PendingTime, ExecutionTime int64
	}
	var reply struct {
		Success bool
		Results map[string]struct{ RunningTask, PendingTask []task }
	}
	seen := false
	for begin := time.Now(); !seen && time.Since(begin) < 10*time.Second; time.Sleep(20 * time.Millisecond) {
		body, err := s.Client.Call(t.Context(), http.MethodGet, "/vm-instances/task-details?vmInstanceUuids="+m.running, nil)
		if err == nil {
			err = json.Unmarshal(body, &reply)
		}
		if err != nil {
			t.Fatal(err)
		}
		q := reply.Results[m.running]
		seen = len(q.RunningTask) == 1 && len(q.PendingTask) == 1 && q.RunningTask[0].APIID == jobs[0] && q.PendingTask[0].APIID == jobs[1] &&
			q.PendingTask[0].APIName == "APIStartVmInstanceMsg"
	}
	if !seen || !reply.Success {
		t.Errorf("the queue was never seen; the last look was %+v", reply)
	}
	for _, job := range jobs {
		if err := s.Outcome(job); err != nil {
			t.Error(err)
		}
	}
}

// metrics looks for lines in /metrics.
func metrics(t *testing.T, s *server.Server, lines ...string) {
	t.Helper()
	response, err := http.Get(s.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		if !strings.Contains("\n"+string(text), "\n"+line+"\n") {
			t.Errorf("/metrics does not say %q", line)
		}
	}
}
