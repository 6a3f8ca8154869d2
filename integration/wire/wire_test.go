package wire_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/wire"
	"github.com/kumo-cloud/kumo/integration/wire/wiretest"
)

func serve(t *testing.T, f *wiretest.Fake) *wire.Client {
	t.Helper()
	f.Password = wire.HashPassword("password")
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	return wire.New(srv.URL + "/")
}

func TestHashPassword(t *testing.T) {
	// The hash of "password" that ZStack's clients send.
	const want = "b109f3bbbc244eb82441917ed06d618b9008dd09b3befd1b5e07394c706a8bb980b1d7785e5976ec049b46df5f1326af5a2ea6d103fd07c95385ffab0cacbc86"
	if got := wire.HashPassword("password"); got != want {
		t.Errorf("HashPassword: %s", got)
	}
}

func TestLoginCallQuery(t *testing.T) {
	f := &wiretest.Fake{Polls: 3}
	c := serve(t, f)
	if _, err := c.Query(t.Context(), wire.Zones); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("a query without a session: %v", err)
	}
	if err := c.Login(t.Context(), "admin", "wrong"); wire.Code(err) != "ID.1000" {
		t.Errorf("a wrong password: %v", err)
	}
	if err := c.Login(t.Context(), "admin", "password"); err != nil {
		t.Fatal(err)
	}
	zone, err := c.Create(t.Context(), wire.Zones, wire.Params{"name": "a"})
	if err != nil {
		t.Fatal(err)
	}
	page, err := c.Query(t.Context(), wire.Zones, "name=a", "uuid="+zone)
	if err != nil || len(page.Inventories) != 1 {
		t.Errorf("query: %v, %v", page, err)
	}
	if n, err := c.Count(t.Context(), wire.Zones, "name=b"); err != nil || n != 0 {
		t.Errorf("count: %d, %v", n, err)
	}
	if _, err = c.Create(t.Context(), wire.Zones, wire.Params{"name": "fail"}); wire.Code(err) != "SYS.1006" ||
		!strings.Contains(err.Error(), "fail was to fail") || !strings.Contains(err.Error(), "POST /zones") {
		t.Errorf("a job that fails: %v", err)
	}
	if _, err := c.Act(t.Context(), wire.Zones+"/"+zone, "updateZone", nil); err != nil {
		t.Errorf("action: %v", err)
	}
}

func TestStartAndWait(t *testing.T) {
	f := &wiretest.Fake{Polls: 1 << 30}
	c := serve(t, f)
	if err := c.Login(t.Context(), "admin", "password"); err != nil {
		t.Fatal(err)
	}
	job, err := c.Start(t.Context(), http.MethodPost, wire.Zones, map[string]any{"params": wire.Params{"name": "a"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Wait(ctx, job); err == nil {
		t.Error("a job that never ends has ended")
	}
	if _, err := c.Wait(t.Context(), "none"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a job that does not exist: %v", err)
	}
}

func TestJobID(t *testing.T) {
	for body, want := range map[string]string{
		`{"location":"http://h:1/zstack/v1/api-jobs/abc","apiTimeout":1}`: "abc",
		`{"location":"http://h:1/other/abc"}`:                             "",
		`{}`:                                                              "",
		`{`:                                                               "",
	} {
		if got, err := wire.JobID([]byte(body)); got != want || (err == nil) != (want != "") {
			t.Errorf("JobID(%s) = %q, %v", body, got, err)
		}
	}
}

func TestNewCloud(t *testing.T) {
	f := &wiretest.Fake{Polls: 1}
	c := serve(t, f)
	if err := c.Login(t.Context(), "admin", "password"); err != nil {
		t.Fatal(err)
	}
	cloud, err := wire.NewCloud(t.Context(), c, wire.Spec{Hosts: 20})
	if err != nil {
		t.Fatal(err)
	}
	if len(cloud.Hosts) != 20 || f.Calls("POST /hosts/simulators") != 20 {
		t.Errorf("%d hosts", len(cloud.Hosts))
	}
	for _, call := range []string{
		"POST /clusters/" + cloud.Cluster + "/primary-storage/" + cloud.PrimaryStorage,
		"POST /zones/" + cloud.Zone + "/backup-storage/" + cloud.BackupStorage,
		"POST /l2-networks/" + cloud.L2Network + "/clusters/" + cloud.Cluster,
		"POST /l3-networks/" + cloud.L3Network + "/ip-ranges",
		"POST /l3-networks/" + cloud.L3Network + "/network-services",
	} {
		if f.Calls(call) != 1 {
			t.Errorf("%s was called %d times", call, f.Calls(call))
		}
	}
	if _, err := c.Create(t.Context(), wire.VMs, cloud.VM("a")); err != nil {
		t.Error(err)
	}
	if _, err := wire.NewCloud(t.Context(), c, wire.Spec{Name: "fail"}); wire.Code(err) != "SYS.1006" {
		t.Errorf("a cloud that cannot be set up: %v", err)
	}
}
