package quickstart

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kumo-cloud/kumo/web/cli/client"
)

// cloud is a server in memory with the wire's shapes and just enough sense for
// the calls of this package: rows by collection, links, deletion in two steps.
type cloud struct {
	mu    sync.Mutex
	rows  map[string][]map[string]any
	calls []string // what changed something
	fail  string   // the call that is refused
}

// collectionOf tells where a path's rows live: creating messages have paths of
// their own below the collection's.
func collectionOf(path string) string {
	if path == "/l3-networks/ip-ranges" || path == "/network-services/providers" {
		return path
	}
	return "/" + strings.Split(path, "/")[1]
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/zstack/v1")
	if r.Method == http.MethodGet {
		c.query(w, r, path)
		return
	}
	call := r.Method + " " + path
	if c.fail != "" && strings.HasPrefix(call, c.fail) {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"error":{"code":"SYS.1006","details":"refused by the test"}}`)
		return
	}
	c.calls = append(c.calls, call)
	var body map[string]map[string]any
	if r.Method != http.MethodDelete {
		var raw map[string]json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&raw); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = map[string]map[string]any{}
		for key, text := range raw {
			var params map[string]any
			if json.Unmarshal(text, &params) == nil {
				body[key] = params
			}
		}
	}
	row := c.change(r.Method, strings.Split(path, "/")[1:], path, body)
	if err := json.NewEncoder(w).Encode(map[string]any{"inventory": row}); err != nil {
		panic(err)
	}
}

func (c *cloud) change(method string, parts []string, path string, body map[string]map[string]any) map[string]any {
	switch {
	case method == "POST" && len(parts) == 4: // a link: /zones/Z/backup-storage/B
		owner, list := c.find(parts[3]), map[string]string{"backup-storage": "attachedZoneUuids", "primary-storage": "attachedClusterUuids"}[parts[2]]
		target := parts[1]
		if parts[0] == "l2-networks" {
			owner, list, target = c.find(parts[1]), "attachedClusterUuids", parts[3]
		}
		old, _ := owner[list].([]any)
		owner[list] = append(old, target)
		return owner
	case method == "POST" && len(parts) == 3: // something of an L3 network
		l3 := c.find(parts[1])
		switch parts[2] {
		case "ip-ranges":
			c.rows["/l3-networks/ip-ranges"] = append(c.rows["/l3-networks/ip-ranges"], map[string]any{"uuid": "r1", "l3NetworkUuid": parts[1]})
		case "dns":
			l3["dns"] = []any{body["params"]["dns"]}
		case "network-services":
			var all []any
			for _, types := range body["params"]["networkServices"].(map[string]any) {
				for _, one := range types.([]any) {
					all = append(all, map[string]any{"networkServiceType": one})
				}
			}
			l3["networkServices"] = all
		}
		return l3
	case method == "POST":
		row := body["params"]
		row["uuid"] = fmt.Sprintf("%032x", len(c.calls))
		if parts[0] == "vm-instances" {
			row["state"] = "Running"
			row["vmNics"] = []any{map[string]any{"ip": "172.30.0.10"}}
		}
		c.rows["/"+parts[0]] = append(c.rows["/"+parts[0]], row)
		return row
	case method == "DELETE" && len(parts) == 4:
		c.find(parts[3])["attachedClusterUuids"] = []any{}
		return nil
	case method == "DELETE" && (parts[0] == "vm-instances" || parts[0] == "images"):
		c.find(parts[1])["state"] = "Destroyed"
		return nil
	case method == "DELETE" || body["expungeVmInstance"] != nil || body["expungeImage"] != nil:
		c.rows["/"+parts[0]] = slices.DeleteFunc(c.rows["/"+parts[0]], func(row map[string]any) bool { return row["uuid"] == parts[1] })
		return nil
	case body["startVmInstance"] != nil:
		row := c.find(parts[1])
		row["state"] = "Running"
		return row
	}
	panic("the test's cloud does not know " + method + " " + path)
}

func (c *cloud) find(uuid string) map[string]any {
	for _, rows := range c.rows {
		for _, row := range rows {
			if row["uuid"] == uuid {
				return row
			}
		}
	}
	panic("no row " + uuid)
}

func (c *cloud) query(w http.ResponseWriter, r *http.Request, path string) {
	conditions := r.URL.Query()["q"]
	if parts := strings.Split(path, "/"); len(parts) == 3 && len(parts[2]) == 32 {
		path, conditions = "/"+parts[1], []string{"uuid=" + parts[2]}
	}
	found := []any{}
	for _, row := range c.rows[collectionOf(path)] {
		match := true
		for _, cond := range conditions {
			if field, value, ok := strings.Cut(cond, "!="); ok {
				match = match && row[field] != value
			} else if field, value, ok := strings.Cut(cond, "="); ok {
				match = match && row[field] == value
			}
		}
		if match {
			found = append(found, row)
		}
	}
	if err := json.NewEncoder(w).Encode(map[string]any{"inventories": found, "total": len(found)}); err != nil {
		panic(err)
	}
}

func newCloud(t *testing.T) (*cloud, *client.Client) {
	t.Helper()
	c := &cloud{rows: map[string][]map[string]any{"/network-services/providers": {{"uuid": "p1", "type": "Flat"}}}}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	api, err := client.New(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return c, api
}

var options = Options{
	ImageURL: "file:///guest.qcow2", Interface: "kumo0", Network: netip.MustParsePrefix("172.30.0.0/24"),
	PrimaryStorage: "/p", ImageStore: "/i", Memory: 128 << 20,
}

func TestSecondRunChangesNothing(t *testing.T) {
	c, api := newCloud(t)
	vm, err := Create(t.Context(), api, options, func(Stage) {})
	if err != nil {
		t.Fatal(err)
	}
	if vm.IP != "172.30.0.10" || vm.Name != "hello" || len(c.calls) < 15 {
		t.Errorf("got %+v after %d calls", vm, len(c.calls))
	}
	c.calls = nil
	again, err := Create(t.Context(), api, options, func(s Stage) {
		if s.Made {
			t.Errorf("the second run made %s", s.Name)
		}
	})
	if err != nil || again != vm || len(c.calls) > 0 {
		t.Errorf("second run: %+v, %v, calls %v", again, err, c.calls)
	}
}

// A run that failed anywhere goes on where it stopped.
func TestCreateGoesOnAfterAFailure(t *testing.T) {
	complete, api := newCloud(t)
	if _, err := Create(t.Context(), api, options, func(Stage) {}); err != nil {
		t.Fatal(err)
	}
	for i, call := range complete.calls {
		c, api := newCloud(t)
		c.fail = call[:min(len(call), 14)]
		if _, err := Create(t.Context(), api, options, func(Stage) {}); err == nil || !strings.Contains(err.Error(), "refused by the test") {
			t.Errorf("call %d %s was refused, and Create said %v", i, call, err)
		}
		c.fail = ""
		if _, err := Create(t.Context(), api, options, func(Stage) {}); err != nil {
			t.Errorf("after %s was refused once: %v", call, err)
		}
		if got, want := len(c.calls), len(complete.calls); got != want {
			t.Errorf("after %s was refused once: %d calls in all, want %d", call, got, want)
		}
	}
}

func TestStoppedVMIsStarted(t *testing.T) {
	c, api := newCloud(t)
	vm, err := Create(t.Context(), api, options, func(Stage) {})
	if err != nil {
		t.Fatal(err)
	}
	c.find(vm.UUID)["state"] = "Stopped"
	if again, err := Create(t.Context(), api, options, func(Stage) {}); err != nil || again != vm || c.find(vm.UUID)["state"] != "Running" {
		t.Errorf("got %+v, %v, state %v", again, err, c.find(vm.UUID)["state"])
	}
}

func TestRemoveLeavesNothing(t *testing.T) {
	c, api := newCloud(t)
	if _, err := Create(t.Context(), api, options, func(Stage) {}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Remove(t.Context(), api, func(Stage) {}); err != nil {
			t.Fatal(err)
		}
	}
	for path, rows := range c.rows {
		if len(rows) > 0 && path != "/network-services/providers" && path != "/l3-networks/ip-ranges" {
			t.Errorf("%s still has %v", path, rows)
		}
	}
}

func TestRemoveGoesOnPastErrors(t *testing.T) {
	c, api := newCloud(t)
	if _, err := Create(t.Context(), api, options, func(Stage) {}); err != nil {
		t.Fatal(err)
	}
	c.fail = "DELETE /hosts"
	err := Remove(context.Background(), api, func(Stage) {})
	if err == nil || !strings.Contains(err.Error(), "hosts: this-machine: refused by the test") {
		t.Errorf("got %v", err)
	}
	if len(c.rows["/zones"]) > 0 || len(c.rows["/hosts"]) != 1 {
		t.Errorf("left: %v", c.rows)
	}
}

func TestDivide(t *testing.T) {
	got, err := divide(netip.MustParsePrefix("10.9.8.7/24"))
	if want := (addresses{"10.9.8.1", "10.9.8.10", "10.9.8.250", "255.255.255.0"}); err != nil || got != want {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []netip.Prefix{{}, netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("fd00::/24")} {
		if _, err := divide(bad); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
}
