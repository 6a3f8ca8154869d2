//go:build attack

package attack

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

func TestMain(m *testing.M) { os.Exit(server.Main(m)) }

// patience is what another user's call may take while an attack goes on: on a
// machine that does nothing else it takes milliseconds.
const patience = 5 * time.Second

// target is a server with a small simulated cloud, and an ordinary account.
type target struct {
	*testing.T
	*server.Server
	cloud *wire.Cloud
	ann   *wire.Client
}

func newTarget(t *testing.T) *target { return newTargetOf(t, server.Options{}) }

func newTargetOf(t *testing.T, o server.Options) *target {
	t.Helper()
	s := server.Start(t, o)
	cloud, err := wire.NewCloud(t.Context(), s.Client, wire.Spec{Name: "attacked"})
	if err != nil {
		t.Fatal(err)
	}
	a := &target{T: t, Server: s, cloud: cloud, ann: wire.New(s.URL)}
	if _, err := s.Client.Create(t.Context(), "/accounts", wire.Params{"name": "ann", "password": wire.HashPassword("pw")}); err != nil {
		t.Fatal(err)
	}
	if err := a.ann.Login(t.Context(), "ann", "pw"); err != nil {
		t.Fatal(err)
	}
	return a
}

// works fails the test unless others can sign in, read and write as if nothing
// was.
func (a *target) works(while string) {
	a.Helper()
	ctx, cancel := context.WithTimeout(a.Context(), 6*patience)
	defer cancel()
	c := wire.New(a.URL)
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"a sign-in", func() error { return c.Login(ctx, "admin", "password") }},
		{"a read", func() error { _, err := c.Count(ctx, wire.Zones); return err }},
		{"a write", func() error { _, err := c.Create(ctx, wire.Zones, wire.Params{"name": "z"}); return err }},
	} {
		began := time.Now()
		err := step.do()
		took := time.Since(began)
		if a.Logf("%s: %s took %s", while, step.name, took.Round(time.Millisecond)); err != nil || took > patience {
			a.Errorf("%s: %s took %s: %v", while, step.name, took, err)
		}
	}
}

// ends stops the server, which must not wait for its attackers.
func (a *target) ends() {
	a.Helper()
	began := time.Now()
	a.Stop()
	if took := time.Since(began); took > 10*time.Second {
		a.Errorf("it took %s to end", took)
	}
}

// many runs a function at once as often as told, and waits for all.
func many(n int, do func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { do(i) })
	}
	all.Wait()
}

// resident reads a line of the server's memory in MiB: VmRSS, VmHWM.
func (a *target) resident(line string) (mib int) {
	a.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.PID()))
	if err != nil {
		a.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), line+":")
	if _, err := fmt.Sscan(rest, &mib); err != nil {
		a.Fatal(err)
	}
	return mib >> 10
}

// One call with a hundred thousand tags, and eight with as many user tags, are
// refused before they cost anybody anything.
func TestManyTags(t *testing.T) {
	a := newTarget(t)
	vm, err := a.Client.Create(t.Context(), wire.VMs, a.cloud.VM("v"))
	if err != nil {
		t.Fatal(err)
	}
	tags := make([]string, 100_000)
	for i := range tags {
		tags[i] = fmt.Sprintf("t%d", i)
	}
	many(9, func(i int) {
		path, p := "/user-tags", wire.Params{"resourceType": "VmInstanceVO", "resourceUuid": vm, "tag": strings.Join(tags, ",")}
		if i > 0 {
			path, p = wire.Zones, wire.Params{"name": "many", "userTags": tags}
		}
		if _, err := a.Client.Create(t.Context(), path, p); err == nil {
			t.Error("they were taken")
		}
	})
	a.works("after many tags")
	a.ends()
}

// Eight dear queries of clients that have gone keep no reader.
func TestDearQueries(t *testing.T) {
	a := newTarget(t)
	many(50, func(w int) {
		for i := range 60 {
			if _, err := a.Client.Create(t.Context(), wire.VMs, a.cloud.VM(fmt.Sprintf("v%d-%d", w, i))); err != nil {
				t.Error(err)
				return
			}
		}
	})
	condition := "/zones?q=" + url.QueryEscape("vmInstance.vmNics.l3Network.vmNic.ip~=%1%")
	var asked sync.WaitGroup
	for _, c := range []*wire.Client{a.ann, a.Client} {
		for range 8 {
			asked.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, _ = c.Call(ctx, http.MethodGet, condition, nil) // its client goes before it ends
			})
		}
	}
	a.works("beside dear queries")
	asked.Wait()
	a.works("after dear queries")
	a.ends()
}

// knock opens a connection and sends a text; nil when the server takes no more.
func (a *target) knock(text string) net.Conn {
	c, err := net.DialTimeout("tcp", strings.TrimPrefix(a.URL, "http://"), patience)
	if err != nil {
		return nil
	}
	_ = c.SetWriteDeadline(time.Now().Add(patience))
	_, _ = c.Write([]byte(text)) // the server may have closed it
	return c
}

func closeAll(list []net.Conn) {
	for _, c := range list {
		if c != nil {
			_ = c.Close() // nobody waits for it
		}
	}
}

// A thousand strangers who never end their bodies hold no place of others.
func TestSlowBodies(t *testing.T) {
	a := newTarget(t)
	conns := make([]net.Conn, 1100)
	defer closeAll(conns)
	many(len(conns), func(i int) {
		conns[i] = a.knock("POST /zstack/v1/accounts/login HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
	})
	a.works("beside slow bodies")
	a.ends()
}

// A step that hangs does not hold a stop, and is not undone for it: the next
// server goes on with it.
func TestStepThatHangs(t *testing.T) {
	a := newTarget(t)
	a.Faults("CreateVolume:hang")
	job := strings.Repeat("d", 32)
	if !a.Begin(job, http.MethodPost, wire.VMs, map[string]any{"params": a.cloud.VM("made")}) {
		t.Fatal("the creation was not taken")
	}
	db := a.Database()
	hanging := func() (n int) {
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM `Flow` WHERE `job` = ?", job).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for end := time.Now().Add(time.Minute); hanging() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the flow has not begun")
		}
	}
	a.ends()
	if hanging() != 1 {
		t.Error("the flow is over")
	}
	a.Faults("")
	if err := a.Again().Outcome(job); err != nil {
		t.Errorf("the creation did not go on: %v", err)
	}
}

// Large bodies of strangers are not kept.
func TestLargeBodies(t *testing.T) {
	a := newTarget(t)
	before := a.resident("VmRSS")
	conns := make([]net.Conn, 200)
	defer closeAll(conns)
	body := string(bytes.Repeat([]byte("x"), 4<<20))
	many(len(conns), func(i int) {
		conns[i] = a.knock(fmt.Sprintf("POST /zstack/v1/zones HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body)+1, body))
	})
	a.works("beside large bodies")
	if peak := a.resident("VmHWM"); peak-before > 200 {
		t.Errorf("200 bodies of strangers took %d MiB", peak-before)
	}
	a.ends()
}

// Connections that say nothing leave descriptors for plugins and others, also where
// there are few.
func TestIdleConnections(t *testing.T) {
	a := newTargetOf(t, server.Options{Files: 1024})
	conns := make([]net.Conn, 4000)
	defer closeAll(conns)
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, Timeout: patience}
	many(len(conns), func(i int) {
		conns[i], _ = from.Dial("tcp", strings.TrimPrefix(a.URL, "http://")) // it may take no more
	})
	a.works("beside idle connections")
	pid := a.Plugin("simulator")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	since := a.PluginGone("simulator", pid)
	a.PluginBack("simulator", since)
	a.ends()
}

// Three hundred who guess passwords do not keep others from signing in.
func TestGuessers(t *testing.T) {
	a := newTarget(t)
	ctx, cancel := context.WithCancel(t.Context())
	var guessers sync.WaitGroup
	for i := range 300 {
		guessers.Go(func() {
			for ctx.Err() == nil {
				_ = wire.New(a.URL).Login(ctx, fmt.Sprintf("guess%d", i), "wrong") // it is
			}
		})
	}
	a.works("beside guessers")
	cancel()
	guessers.Wait()
	a.ends()
}

// What an account does on a host that hangs delays no other account's work.
func TestHostThatHangs(t *testing.T) {
	a := newTarget(t)
	shared := map[string]any{"shareResource": wire.Params{"resourceUuids": []string{a.cloud.Image, a.cloud.L3Network}, "toPublic": true}}
	if _, err := a.Client.Call(t.Context(), http.MethodPut, "/accounts/resources/actions", shared); err != nil {
		t.Fatal(err)
	}
	on := func(host, name string) wire.Params {
		p := a.cloud.VM(name)
		p["hostUuid"] = host
		return p
	}
	hanging, good := a.cloud.Hosts[0], a.cloud.Hosts[1]
	a.Faults("StartVM:hang=40s:on=" + hanging)
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := range 400 { // more than there are places for work
		all.Go(func() {
			_, _ = a.ann.Create(ctx, wire.VMs, on(hanging, fmt.Sprintf("h%d", i))) // nobody waits for it
		})
	}
	for began := time.Now(); ; {
		n, err := a.Client.Count(ctx, wire.VMs, "name~=h%", "state=Starting")
		if err == nil && n >= 100 {
			break
		}
		if time.Since(began) > 6*patience {
			t.Fatalf("%d guests wait for the host, %v", n, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	for i := range 10 {
		began := time.Now()
		_, err := a.Client.Create(ctx, wire.VMs, on(good, fmt.Sprintf("g%d", i)))
		if took := time.Since(began); err != nil || took > patience {
			t.Errorf("guest %d on another host took %s: %v", i, took, err)
		}
	}
	a.works("beside a host that hangs")
	a.Faults("")
}

// What an account does on a host that hangs does not delay its own work on others
// either, and is not lost.
func TestOwnWorkBesideHostThatHangs(t *testing.T) {
	a := newTarget(t)
	shared := map[string]any{"shareResource": wire.Params{"resourceUuids": []string{a.cloud.Image, a.cloud.L3Network}, "toPublic": true}}
	if _, err := a.Client.Call(t.Context(), http.MethodPut, "/accounts/resources/actions", shared); err != nil {
		t.Fatal(err)
	}
	hanging, good := a.cloud.Hosts[0], a.cloud.Hosts[1]
	vm := func(host, name string) string {
		p := a.cloud.VM(name)
		p["hostUuid"] = host
		uuid, err := a.ann.Create(t.Context(), wire.VMs, p)
		if err != nil {
			t.Error(err)
		}
		return uuid
	}
	act := func(uuid, action string) error {
		_, err := a.ann.Act(t.Context(), wire.VMs+"/"+uuid, action, wire.Params{})
		return err
	}
	vms := make([]string, 300)
	many(len(vms), func(i int) { vms[i] = vm(hanging, fmt.Sprintf("h%d", i)) })
	other := vm(good, "g")
	if t.Failed() {
		t.FailNow()
	}
	goesOn := func(action, while string) {
		began := time.Now()
		err := act(other, action)
		took := time.Since(began)
		if t.Logf("%s while %s took %s", action, while, took.Round(time.Millisecond)); err != nil || took > patience/2 {
			t.Errorf("%s of the guest on another host while %s took %s: %v", action, while, took, err)
		}
	}
	inState := func(state string, n int64) {
		t.Helper()
		var have int64
		var err error
		for end := time.Now().Add(6 * patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if have, err = a.Client.Count(t.Context(), wire.VMs, "name~=h%", "state="+state); err == nil && have >= n {
				return
			}
		}
		t.Fatalf("%d guests are %s, %v", have, state, err)
	}
	for _, step := range []struct {
		method, action, passing, state string
	}{{"StopVM", "stopVmInstance", "Stopping", "Stopped"}, {"StartVM", "startVmInstance", "Starting", "Running"}} {
		a.Faults(step.method + ":hang=20s:on=" + hanging)
		var all sync.WaitGroup
		for _, uuid := range vms {
			all.Go(func() {
				if err := act(uuid, step.action); err != nil {
					t.Errorf("%s on the host that hung: %v", step.action, err)
				}
			})
		}
		inState(step.passing, 100)
		goesOn("stopVmInstance", "guests are "+step.passing)
		goesOn("startVmInstance", "guests are "+step.passing)
		a.works("while guests are " + step.passing)
		a.Faults("")
		all.Wait() // the calls that hung end when their time is over, and none is lost
		inState(step.state, int64(len(vms)))
	}
}

// A flood of refused calls of strangers pushes no outcome of others out.
func TestFloodOfRefusals(t *testing.T) {
	a := newTarget(t)
	body := map[string]any{"params": map[string]any{"name": "z"}}
	status, answer, err := a.ann.Raw(t.Context(), http.MethodPost, wire.Zones, nil, []byte(`{"params":{"name":"z"}}`))
	if err != nil {
		t.Fatal(err)
	}
	job, jobErr := wire.JobID(answer)
	many(16, func(int) {
		c := wire.New(a.URL)
		for range 500 {
			_, _ = c.Call(t.Context(), http.MethodPost, wire.Zones, body) // refused: it is a stranger's
		}
	})
	if status == http.StatusAccepted && jobErr == nil {
		if code := a.Status(job); code == http.StatusNotFound {
			t.Errorf("an account's refused call is forgotten")
		}
	}
	a.works("after a flood of refusals")
	a.ends()
}
