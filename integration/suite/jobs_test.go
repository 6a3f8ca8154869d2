package suite

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// raw makes a call with headers and returns status and body.
func (l *lab) raw(method, path string, header http.Header, body any) (int, []byte) {
	l.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		l.Fatal(err)
	}
	status, answer, err := l.c.Raw(l.Context(), method, path, header, text)
	if err != nil {
		l.Fatal(err)
	}
	return status, answer
}

func TestJobs(t *testing.T) {
	each(t, true, func(l *lab) {
		zone := map[string]any{"params": wire.Params{"name": "z"}}
		job := strings.Repeat("b", 32)
		status, answer := l.raw(http.MethodPost, wire.Zones, http.Header{"X-Job-Uuid": {job}}, zone)
		l.want("status", status, http.StatusAccepted)
		var accepted struct {
			Location   string
			APITimeout int64
		}
		if err := json.Unmarshal(answer, &accepted); err != nil || accepted.Location != l.s.URL+wire.Root+"/api-jobs/"+job || accepted.APITimeout != 1800000 {
			l.Errorf("the job is accepted by %s: %v", answer, err)
		}
		if _, err := l.c.Wait(l.Context(), job); err != nil {
			l.Error(err)
		}
		status, answer = l.raw(http.MethodPost, wire.Zones, http.Header{"X-Job-Uuid": {job}}, zone)
		l.want("status of a job UUID used again: "+string(answer), status, http.StatusBadRequest)
		l.want("zones", len(l.query(wire.Zones)), 1)
		status, _ = l.raw(http.MethodGet, "/api-jobs/"+strings.Repeat("c", 32), nil, nil)
		l.want("status of an unknown job", status, http.StatusNotFound)
		status, answer = l.raw(http.MethodGet, "/api-jobs/"+job, http.Header{"X-Json-Schema": {"true"}, "Authorization": nil}, nil)
		l.want("status of a poll by nobody", status, http.StatusOK)
		if !strings.Contains(string(answer), `"schema":{"inventory":"org.zstack.header.zone.ZoneInventory"}`) {
			l.Errorf("no schema in %s", answer)
		}
		l.inventory(http.MethodPost, wire.Zones, map[string]any{"params": wire.Params{"name": "no"}, "systemTags": []string{"validationOnly"}})
		l.want("zones after a call that was only checked", len(l.query(wire.Zones)), 1)
		again := l.s
		again.Stop()
		s := again.Again()
		if status := s.Status(job); status != http.StatusOK {
			l.Errorf("a job of before the restart: status %d", status)
		}
		l.s, l.c = s, s.Client
	})
}

// hooked is what a web hook was told.
type hooked struct {
	job, success, body string
}

func TestWebHook(t *testing.T) {
	each(t, true, func(l *lab) {
		calls, tries := make(chan hooked, 4), 0
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if tries++; tries == 1 {
				w.WriteHeader(http.StatusInternalServerError) // it is tried again
				return
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			calls <- hooked{r.Header.Get("X-Job-UUID"), r.Header.Get("X-Job-Success"), string(body)}
		}))
		defer web.Close()
		wait := func() hooked {
			l.Helper()
			select {
			case h := <-calls:
				return h
			case <-time.After(20 * time.Second):
				l.Fatal("the web hook was not called")
			}
			return hooked{}
		}
		good, bad := strings.Repeat("d", 32), strings.Repeat("e", 32)
		l.raw(http.MethodPost, wire.Zones, http.Header{"X-Job-Uuid": {good}, "X-Web-Hook": {web.URL}}, map[string]any{"params": wire.Params{"name": "hooked"}})
		h := wait()
		if h.job != good || h.success != "true" || !strings.Contains(h.body, `"name":"hooked"`) {
			l.Errorf("the web hook was told %+v", h)
		}
		l.raw(http.MethodPost, wire.Zones, http.Header{"X-Job-Uuid": {bad}, "X-Web-Hook": {web.URL}}, map[string]any{"params": wire.Params{}})
		h = wait()
		if h.job != bad || h.success != "false" || !strings.Contains(h.body, `"code":"SYS.1007"`) {
			l.Errorf("the web hook was told %+v", h)
		}
	})
}

func TestTagsAndSettings(t *testing.T) {
	each(t, false, func(l *lab) {
		vm := l.vm("tagged", wire.Params{"strategy": "CreateStopped"})
		uuid := vm.text("uuid")
		user := l.create("/user-tags", wire.Params{"resourceType": "VmInstanceVO", "resourceUuid": uuid, "tag": "blue"})
		l.want("tag", user.text("tag"), "blue")
		system := l.create("/system-tags", wire.Params{"resourceType": "VmInstanceVO", "resourceUuid": uuid, "tag": "hostname::one"})
		changed := l.act("/system-tags/"+system.text("uuid"), "updateSystemTag", wire.Params{"tag": "hostname::two"})
		l.want("tag", changed.text("tag"), "hostname::two")
		l.refused("SYS.1007", http.MethodPost, "/system-tags", map[string]any{"params": wire.Params{"resourceType": "VmInstanceVO", "resourceUuid": uuid, "tag": "colour::blue"}})
		l.refused("SYS.1007", http.MethodPost, "/system-tags", map[string]any{"params": wire.Params{"resourceType": "VmInstanceVO", "resourceUuid": uuid, "tag": "hostname::-no-"}})
		l.want("guests with both", len(l.query(wire.VMs, "__userTag__=blue", "__systemTag__~=hostname%")), 1)
		l.remove("/tags/" + user.text("uuid"))
		l.want("user tags", len(l.query("/user-tags", "resourceUuid="+uuid)), 0)

		const setting = "/global-configurations/vm/deletionPolicy"
		value := func() string {
			return l.query("/global-configurations", "category=vm", "name=deletionPolicy")[0].text("value")
		}
		l.want("default", value(), "Delay")
		l.inventory(http.MethodPut, setting+"/actions", map[string]any{"updateGlobalConfig": wire.Params{"value": "Never"}})
		l.want("value", value(), "Never")
		l.inventory(http.MethodPut, "/resource-configurations/vm/deletionPolicy/"+uuid+"/actions", map[string]any{"updateResourceConfig": wire.Params{"value": "Direct"}})
		l.remove(wire.VMs + "/" + uuid)
		l.gone(wire.VMs, uuid) // the guest's own setting decides
		l.want("its settings", len(l.query("/resource-configurations", "resourceUuid="+uuid)), 0)

		nodes := l.query("/management-nodes")
		l.want("management nodes", len(nodes), 1)
		body, err := l.c.Call(l.Context(), http.MethodPut, "/management-nodes/actions", map[string]any{"getVersion": wire.Params{}})
		if err != nil || !strings.Contains(string(body), `"version":"`) {
			l.Errorf("version: %s, %v", body, err)
		}
	})
}

// Deleting a zone deletes all that is in it; asked for the plan, nothing.
func TestDeleteZone(t *testing.T) {
	each(t, true, func(l *lab) {
		empty := l.s.Counts(l.db)
		var err error
		if l.cloud, err = wire.NewCloud(l.Context(), l.c, wire.Spec{Name: "lab", Hosts: hosts, HostCPUs: hostCPUs, HostMemory: hostMemory, Storage: storage}); err != nil {
			l.Fatal(err)
		}
		for _, name := range []string{"running", "stopped", "destroyed"} {
			l.inventory(http.MethodPost, wire.VMs, map[string]any{"params": mergeParams(l.cloud.VM(name), wire.Params{"dataDiskSizes": []int64{1 << 30}}),
				"userTags": []string{"t"}, "systemTags": []string{"hostname::" + name}})
		}
		for name, end := range map[string]func(string){"stopped": func(p string) { l.act(p, "stopVmInstance", nil) }, "destroyed": l.remove} {
			end(wire.VMs + "/" + l.query(wire.VMs, "name="+name)[0].text("uuid"))
		}
		zone := wire.Zones + "/" + l.cloud.Zone
		l.create("/user-tags", wire.Params{"resourceType": "ZoneVO", "resourceUuid": l.cloud.Zone, "tag": "t"})
		before := l.s.Counts(l.db)
		status, plan := l.raw(http.MethodDelete, zone+"?plan=true", nil, nil)
		if status != http.StatusOK || !strings.Contains(string(plan), l.cloud.Cluster) || !strings.Contains(string(plan), "running") {
			l.Errorf("the plan, status %d: %s", status, plan)
		}
		for _, d := range server.Differences(before, l.s.Counts(l.db)) {
			l.Errorf("the plan changed something: %s", d)
		}
		l.s.Audit(l.db)
		l.remove(zone)
		for _, c := range l.cloud.Hosts {
			l.gone(wire.Hosts, c)
		}
		l.remove(wire.Images + "/" + l.cloud.Image)
		l.act(wire.Images+"/"+l.cloud.Image, "expungeImage", nil)
		for _, path := range []string{wire.BackupStorages + "/" + l.cloud.BackupStorage, wire.InstanceOfferings + "/" + l.cloud.Offering} {
			l.remove(path)
		}
		for _, d := range server.Differences(empty, l.s.Counts(l.db)) {
			l.Errorf("the empty database is not: %s", d)
		}
		w := l.s.World()
		for what, n := range map[string]int{"hosts": len(w.Hosts), "guests": len(w.VMs), "links": len(w.Links), "volumes": len(w.Volumes),
			"cached images": len(w.Cache), "images": len(w.Images), "bridges": len(w.Bridges), "networks": len(w.Networks), "bindings": len(w.Bindings)} {
			if n != 0 {
				l.Errorf("the empty world has %d %s", n, what)
			}
		}
	})
}

func mergeParams(p, change wire.Params) wire.Params {
	maps.Copy(p, change)
	return p
}

// A stop does not wait until an image is in a storage's cache: the next server
// goes on with the guests that wait for it.
func TestStopWhileAnImageIsCached(t *testing.T) {
	each(t, false, func(l *lab) {
		l.s.Faults("EnsureImage:latency=60s")
		jobs := []string{strings.Repeat("7", 32), strings.Repeat("8", 32)}
		for _, job := range jobs {
			l.s.Begin(job, http.MethodPost, wire.VMs, map[string]any{"params": l.cloud.VM("waits-" + job[:1])})
		}
		for begin := time.Now(); len(l.query(wire.VMs)) < len(jobs); time.Sleep(10 * time.Millisecond) {
			if time.Since(begin) > 10*time.Second {
				l.Fatal("the guests have no rows")
			}
		}
		begin := time.Now()
		l.s.Stop()
		if took := time.Since(begin); took > 10*time.Second {
			l.Errorf("the server stopped after %s", took)
		}
		l.s.Faults("")
		l.s = l.s.Again()
		l.c = l.s.Client
		for _, job := range jobs {
			if err := l.s.Outcome(job); err != nil {
				l.Error(err)
			}
		}
		l.want("running guests", len(l.query(wire.VMs, "state=Running")), len(jobs))
	})
}
