package foreign

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/nimbus"
	"github.com/kumo-cloud/kumo/integration/points"
	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// The core is killed at every point of the flows that make and remove an instance, and of
// a sync: afterwards it is outside and has one row, or neither, and a sync finds nothing new.
func TestFlowsKilled(t *testing.T) {
	t.Parallel()
	p := newPlace(t, server.Options{})
	p.sync()
	k := &killing{place: p, before: p.cloud.Things("instances")}
	body := params(wire.Params{"name": "new", "nimbusAccountUuid": p.account, "zoneUuid": p.of(zones, "z-2").text("uuid"), "size": 4})
	gone := instances + "/" + p.of(instances, "i-1").text("uuid")
	flows, err := points.Flows(t.Context(), p.c)
	if err != nil {
		t.Fatal(err)
	}
	p.s.Stop()
	for _, at := range points.Named(flows, "provide-create").Without("record").Points(nil) { // its rows come last
		k.at(t, at, http.MethodPost, instances, body, len(k.before)+1)
	}
	endpoint := params(wire.Params{"endpointUuid": p.account})
	for _, at := range points.Named(flows, "inventory-sync").Without("remove").Points(nil) { // nothing is gone
		k.at(t, at, http.MethodPost, syncs, endpoint, len(k.before))
	}
	for _, at := range points.Named(flows, "cascade-delete").Without("point.begin").Points(nil) {
		k.at(t, at, http.MethodDelete, gone, nil, len(k.before)-1)
	}
}

// killing is a stopped server, whose folder is copied for each point.
type killing struct {
	*place
	before []nimbus.Thing
}

// at makes a call to a server that kills itself at a point. When the call is done, in the
// end, there are as many instances as wanted, else as many as before.
func (k *killing) at(t *testing.T, at points.Point, method, path string, body map[string]any, want int) {
	t.Run(strings.ReplaceAll(at.String(), "/", "_"), func(t *testing.T) {
		k.cloud.Set("instances", k.before...)
		dir := server.Folder(t) + "/d"
		if err := os.CopyFS(dir, os.DirFS(k.s.Dir)); err != nil {
			t.Fatal(err)
		}
		s := server.Launch(t, server.Options{Dir: dir, Plugins: []string{"nimbus"}, Env: []string{points.Variable + "=" + at.String()}, MayDie: true})
		s.Login()
		job := fmt.Sprintf("%032x", time.Now().UnixNano())
		accepted := s.Begin(job, method, path, body)
		if !s.WaitDead(20 * time.Second) {
			t.Fatalf("the server has not passed %s", at)
		}
		s = s.Again()
		q := &place{T: t, s: s, c: s.Client, cloud: k.cloud, account: k.account}
		err := s.Outcome(job)
		if err != nil && !wire.Clear(err) && (accepted || s.Status(job) != http.StatusNotFound) {
			t.Errorf("the job's error is not clear: %v", err)
		}
		if err != nil {
			want = len(k.before)
		}
		q.want("instances outside", len(q.cloud.Things("instances")), want)
		q.want("rows", q.count(instances), int64(want))
		q.counts("a sync", q.sync(), "Done", 0, 0, 0)
		q.want("rows after it", q.count(instances), int64(want))
		q.silent()
	})
}
