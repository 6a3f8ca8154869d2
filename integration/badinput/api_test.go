package badinput

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

func TestMain(m *testing.M) { os.Exit(server.Main(m)) }

const (
	unknown = "0123456789abcdef0123456789abcdef"
	small   = 1 << 20
)

// lab is a cloud with one guest, whose second network has one address, which
// is taken; and a backup storage of real files.
type lab struct {
	s                               *server.Server
	db                              *sql.DB
	cloud                           *wire.Cloud
	vm, ip, fullL3, emptyL3, images string
	web                             *httptest.Server
}

func setUp(t *testing.T) *lab {
	t.Helper()
	l := &lab{s: server.Start(t, server.Options{Plugins: []string{"simulator", "imagestore"}})}
	ctx, c := t.Context(), l.s.Client
	create := func(path string, p wire.Params) string {
		t.Helper()
		uuid, err := c.Create(ctx, path, p)
		if err != nil {
			t.Fatal(err)
		}
		return uuid
	}
	var err error
	if l.cloud, err = wire.NewCloud(ctx, c, wire.Spec{Name: "lab", Hosts: 2, HostCPUs: 4, HostMemory: 4 << 30, Storage: 20 << 30}); err != nil {
		t.Fatal(err)
	}
	l2 := create("/l2-networks/no-vlan", wire.Params{"name": "full", "zoneUuid": l.cloud.Zone, "physicalInterface": "eth1"})
	if err := c.AttachL2Network(ctx, l2, l.cloud.Cluster); err != nil {
		t.Fatal(err)
	}
	l.fullL3 = create(wire.L3Networks, wire.Params{"name": "full", "l2NetworkUuid": l2})
	create(wire.L3Networks+"/"+l.fullL3+"/ip-ranges", wire.Params{"name": "one", "startIp": "10.8.0.5", "endIp": "10.8.0.5", "netmask": "255.255.255.0", "gateway": "10.8.0.1"})
	l.emptyL3 = create(wire.L3Networks, wire.Params{"name": "empty", "l2NetworkUuid": l2})
	p := l.cloud.VM("taken")
	p["l3NetworkUuids"] = []string{l.cloud.L3Network, l.fullL3}
	l.vm = create(wire.VMs, p)
	page, err := c.Query(ctx, wire.VMNics, "vmInstanceUuid="+l.vm, "l3NetworkUuid="+l.cloud.L3Network)
	if err != nil || len(page.Inventories) != 1 {
		t.Fatalf("%d NICs: %v", len(page.Inventories), err)
	}
	var nic struct{ IP string }
	if err := json.Unmarshal(page.Inventories[0], &nic); err != nil {
		t.Fatal(err)
	}
	l.ip = nic.IP
	l.images = create("/backup-storage/image-store", wire.Params{"name": "files", "url": server.Folder(t), "hostname": "127.0.0.1", "username": "root", "password": "none"})
	if err := c.AttachBackupStorage(ctx, l.images, l.cloud.Zone); err != nil {
		t.Fatal(err)
	}
	l.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/image.raw" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(bytes.Repeat([]byte{7}, small)) // a client that goes away is what some cases want
	}))
	t.Cleanup(l.web.Close)
	l.db = l.s.Database()
	return l
}

// call is one bad call and what its error must say.
type call struct {
	name, method, path string
	// body is marshalled; a json.RawMessage goes as it is.
	body   any
	header http.Header
	// status is the HTTP status in the end: 503 for an error of the API, whose
	// code is then given.
	status int
	code   string
	// words are parts of the error: object, cause, advice.
	words []string
	// faults are rules of the simulator for this call.
	faults string
}

func params(p wire.Params) map[string]any { return map[string]any{"params": p} }

// with returns the parameters with others in their place or added.
func with(p wire.Params, change wire.Params) map[string]any {
	p = maps.Clone(p)
	for k, v := range change {
		if v == nil {
			delete(p, k)
		} else {
			p[k] = v
		}
	}
	return params(p)
}

func tags(p wire.Params, system ...string) map[string]any {
	return map[string]any{"params": p, "systemTags": system}
}

func (l *lab) calls() []call {
	const api = http.StatusServiceUnavailable
	post, put, del, get := http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodGet
	c := l.cloud
	vm := wire.VMs + "/" + l.vm + "/actions"
	ranges := wire.L3Networks + "/" + c.L3Network + "/ip-ranges"
	image := func(url string) map[string]any {
		return params(wire.Params{"name": "bad", "url": url, "format": "raw", "mediaType": "RootVolumeTemplate", "backupStorageUuids": []string{l.images}})
	}
	host := wire.Params{"name": "h", "managementIp": "198.18.9.9", "clusterUuid": c.Cluster, "cpuCapacity": 4, "memoryCapacity": 4 << 30}
	dark := make([]byte, sha256.Size)
	return []call{
		{name: "unknown hypervisor type", method: post, path: wire.Clusters, body: params(wire.Params{"name": "c", "zoneUuid": c.Zone, "hypervisorType": "Nope"}),
			status: api, code: "SYS.1007", words: []string{"hypervisorType", "Nope", "simulator"}},
		{name: "unknown value of a field", method: post, path: wire.Clusters, body: params(wire.Params{"name": "c", "zoneUuid": c.Zone, "hypervisorType": "Simulator", "architecture": "z80"}),
			status: api, code: "SYS.1007", words: []string{"architecture", "z80", "x86_64"}},
		{name: "unknown state event", method: put, path: wire.Zones + "/" + c.Zone + "/actions", body: map[string]any{"changeZoneState": wire.Params{"stateEvent": "explode"}},
			status: api, code: "SYS.1007", words: []string{"stateEvent", "explode", "enable"}},
		{name: "missing parameter", method: post, path: wire.Zones, body: params(wire.Params{}), status: api, code: "SYS.1007", words: []string{"name"}},
		{name: "missing body", method: post, path: wire.Zones, status: api, code: "SYS.1007", words: []string{"name"}},
		{name: "name too long", method: post, path: wire.Zones, body: params(wire.Params{"name": strings.Repeat("n", 256)}), status: api, code: "SYS.1007", words: []string{"name", "255"}},
		{name: "malformed JSON", method: post, path: wire.Zones, body: json.RawMessage(`{"params":{"name":`), status: 400, words: []string{"JSON"}},
		{name: "text for a number", method: post, path: wire.InstanceOfferings, body: params(wire.Params{"name": "o", "cpuNum": "many", "memorySize": 1 << 30}),
			status: 400, words: []string{"cpuNum", "many"}},
		{name: "number out of range", method: post, path: wire.InstanceOfferings, body: params(wire.Params{"name": "o", "cpuNum": 0, "memorySize": 1 << 30}),
			status: api, code: "SYS.1007", words: []string{"cpuNum", "1024"}},
		{name: "no such path", method: post, path: "/nothing", status: 404},
		{name: "no such action", method: put, path: vm, body: map[string]any{"explodeVmInstance": wire.Params{}}, status: 400, words: []string{"action"}},
		{name: "wrong method", method: http.MethodPatch, path: wire.Zones, status: 405},
		{name: "text that is no UUID", method: post, path: wire.Clusters, body: params(wire.Params{"name": "c", "zoneUuid": "my-zone", "hypervisorType": "Simulator"}),
			status: api, code: "SYS.1003", words: []string{"Zone", "my-zone"}},
		{name: "UUID of nothing", method: post, path: wire.Clusters, body: params(wire.Params{"name": "c", "zoneUuid": unknown, "hypervisorType": "Simulator"}),
			status: api, code: "SYS.1003", words: []string{"Zone", unknown}},
		{name: "UUID of another type", method: post, path: wire.Clusters, body: params(wire.Params{"name": "c", "zoneUuid": c.Cluster, "hypervisorType": "Simulator"}),
			status: api, code: "SYS.1003", words: []string{"Zone", c.Cluster}},
		{name: "action on nothing", method: put, path: wire.VMs + "/" + unknown + "/actions", body: map[string]any{"startVmInstance": wire.Params{}},
			status: api, code: "SYS.1003", words: []string{"VmInstance", unknown}},
		{name: "delete of what is no UUID", method: del, path: wire.Zones + "/my-zone", status: api, code: "SYS.1003", words: []string{"my-zone"}},
		{name: "bad UUID for a new resource", method: post, path: wire.Zones, body: params(wire.Params{"name": "z", "resourceUuid": "1234"}),
			status: api, code: "SYS.1007", words: []string{"resourceUuid", "1234", "32"}},
		{name: "UUID that is taken", method: post, path: wire.Zones, body: params(wire.Params{"name": "z", "resourceUuid": c.Zone}), status: api, words: []string{c.Zone}},
		{name: "bad delete mode", method: del, path: wire.Zones + "/" + c.Zone + "?deleteMode=Gently", status: api, code: "SYS.1007", words: []string{"deleteMode", "Gently", "Enforcing"}},

		{name: "no session", method: get, path: wire.Zones, header: http.Header{"Authorization": nil}, status: 400, words: []string{"Authorization"}},
		{name: "unknown session", method: get, path: wire.Zones, header: http.Header{"Authorization": {"OAuth " + unknown}}, status: api, code: "ID.1001", words: []string{"session"}},
		{name: "unknown session on a job", method: post, path: wire.Zones, body: params(wire.Params{"name": "z"}), header: http.Header{"Authorization": {"OAuth " + unknown}},
			status: api, code: "ID.1001", words: []string{"session"}},
		{name: "wrong password", method: put, path: "/accounts/login", body: map[string]any{"logInByAccount": wire.Params{"accountName": "admin", "password": wire.HashPassword("guess")}},
			status: api, code: "ID.1000", words: []string{"password"}},
		{name: "unknown account", method: put, path: "/accounts/login", body: map[string]any{"logInByAccount": wire.Params{"accountName": "nobody", "password": wire.HashPassword("guess")}},
			status: api, code: "ID.1000", words: []string{"password"}},
		{name: "unknown access key", method: get, path: wire.Zones, header: http.Header{"Authorization": {"ZStack AAAAAAAAAAAAAAAAAAAA:c2ln"}, "Date": {"Mon, 02 Jan 2006 15:04:05 GMT"}},
			status: 403, words: []string{"requestTimeTooSkewed"}},

		{name: "query of an unknown field", method: get, path: wire.VMs + "?q=colour=blue", status: api, code: "SYS.1000", words: []string{"colour"}},
		{name: "query without operator", method: get, path: wire.VMs + "?q=name", status: 400, words: []string{"name"}},
		{name: "query with a bad limit", method: get, path: wire.VMs + "?limit=many", status: 400, words: []string{"limit", "many"}},
		{name: "job UUID of a wrong length", method: post, path: wire.Zones, body: params(wire.Params{"name": "z"}), header: http.Header{"X-Job-Uuid": {"123"}}, status: 400, words: []string{"32"}},
		{name: "web hook that is no URL", method: post, path: wire.Zones, body: params(wire.Params{"name": "z"}), header: http.Header{"X-Web-Hook": {"call me"}}, status: 400, words: []string{"X-Web-Hook", "http"}},

		{name: "overlapping range", method: post, path: ranges, body: params(wire.Params{"name": "r", "startIp": "10.0.1.1", "endIp": "10.0.1.9", "netmask": "255.255.0.0", "gateway": "10.0.0.1"}),
			status: api, code: "SYS.1007", words: []string{"10.0.1.1", "overlaps", "lab"}},
		{name: "overlapping range by CIDR", method: post, path: ranges + "/by-cidr", body: params(wire.Params{"name": "r", "networkCidr": "10.0.0.0/16"}),
			status: api, code: "SYS.1007", words: []string{"overlaps"}},
		{name: "range of another subnet", method: post, path: ranges, body: params(wire.Params{"name": "r", "startIp": "10.7.0.5", "endIp": "10.7.0.9", "netmask": "255.255.255.0", "gateway": "10.7.0.1"}),
			status: api, code: "SYS.1007", words: []string{"10.7.0.0/24", "10.0.0.0/16"}},
		{name: "range that ends before it begins", method: post, path: wire.L3Networks + "/" + l.emptyL3 + "/ip-ranges", body: params(wire.Params{"name": "r", "startIp": "10.7.0.9", "endIp": "10.7.0.5", "netmask": "255.255.255.0", "gateway": "10.7.0.1"}),
			status: api, code: "SYS.1007", words: []string{"endIp", "10.7.0.5"}},
		{name: "address that is none", method: post, path: wire.L3Networks + "/" + l.emptyL3 + "/ip-ranges", body: params(wire.Params{"name": "r", "startIp": "10.7.0.999", "endIp": "10.7.0.5", "netmask": "255.255.255.0", "gateway": "10.7.0.1"}),
			status: api, code: "SYS.1007", words: []string{"startIp", "10.7.0.999"}},
		{name: "full range", method: post, path: wire.VMs, body: with(c.VM("full"), wire.Params{"l3NetworkUuids": []string{l.fullL3}, "defaultL3NetworkUuid": nil}),
			status: api, code: "SYS.1006", words: []string{l.fullL3, "in use", "range"}},
		{name: "network without range", method: post, path: wire.VMs, body: with(c.VM("empty"), wire.Params{"l3NetworkUuids": []string{l.emptyL3}, "defaultL3NetworkUuid": nil}),
			status: api, code: "SYS.1006", words: []string{l.emptyL3, "no IP range", "add"}},
		{name: "address in use", method: post, path: wire.VMs, body: tags(c.VM("dup"), "staticIp::"+c.L3Network+"::"+l.ip), status: api, code: "SYS.1006", words: []string{l.ip, "in use"}},
		{name: "address out of range", method: post, path: wire.VMs, body: tags(c.VM("out"), "staticIp::"+c.L3Network+"::192.168.1.1"), status: api, code: "SYS.1007", words: []string{"192.168.1.1", "range"}},

		{name: "address of another host", method: post, path: "/hosts/simulators", body: with(host, wire.Params{"managementIp": "198.18.0.0"}), status: api, code: "SYS.1006", words: []string{"198.18.0.0", "lab-1"}},
		{name: "unreachable host", method: post, path: "/hosts/simulators", body: params(host), faults: "ConnectHost:fail=unavailable", status: api, words: []string{"host", "cannot be connected"}},

		{name: "no host has the CPUs", method: post, path: wire.VMs, body: with(c.VM("big"), wire.Params{"instanceOfferingUuid": nil, "cpuNum": 512, "memorySize": 1 << 20}),
			status: api, words: []string{"512 CPU", "lab-1", "free"}},
		{name: "no host has the memory", method: post, path: wire.VMs, body: with(c.VM("big"), wire.Params{"instanceOfferingUuid": nil, "cpuNum": 1, "memorySize": 1 << 40}),
			status: api, words: []string{"memory", "lab-2", "free"}},
		{name: "no storage has the bytes", method: post, path: wire.VMs, body: with(c.VM("big"), wire.Params{"dataDiskSizes": []int64{1 << 40}}),
			status: api, code: "SYS.1006", words: []string{"storage", "lab"}},
		{name: "no image", method: post, path: wire.VMs, body: with(c.VM("none"), wire.Params{"imageUuid": nil}), status: api, code: "SYS.1007", words: []string{"imageUuid"}},
		{name: "no offering and no size", method: post, path: wire.VMs, body: with(c.VM("none"), wire.Params{"instanceOfferingUuid": nil}), status: api, code: "SYS.1007", words: []string{"instanceOfferingUuid", "cpuNum"}},
		{name: "no network and no place", method: post, path: wire.VMs, body: with(c.VM("none"), wire.Params{"l3NetworkUuids": nil, "defaultL3NetworkUuid": nil}), status: api, code: "SYS.1007", words: []string{"l3NetworkUuids"}},
		{name: "default network that is not the guest's", method: post, path: wire.VMs, body: with(c.VM("none"), wire.Params{"defaultL3NetworkUuid": l.fullL3}), status: api, code: "SYS.1007", words: []string{"defaultL3NetworkUuid", l.fullL3}},
		{name: "unknown system tag", method: post, path: wire.VMs, body: tags(c.VM("tag"), "colour::blue"), status: api, code: "SYS.1007", words: []string{"system tag colour", "VmInstance"}},
		{name: "user data that is not base64", method: post, path: wire.VMs, body: tags(c.VM("tag"), "userdata::%%%"), status: api, code: "SYS.1007", words: []string{"userdata", "base64"}},
		{name: "start of a running guest", method: put, path: vm, body: map[string]any{"startVmInstance": wire.Params{}}, status: api, code: "SYS.1006", words: []string{"taken", "Running", "Stopped"}},
		{name: "resume of a running guest", method: put, path: vm, body: map[string]any{"resumeVmInstance": wire.Params{}}, status: api, code: "SYS.1006", words: []string{"taken", "Running", "Paused"}},
		{name: "recover of a running guest", method: put, path: vm, body: map[string]any{"recoverVmInstance": wire.Params{}}, status: api, code: "SYS.1006", words: []string{"taken", "Running", "Destroyed"}},
		{name: "expunge of a running guest", method: put, path: vm, body: map[string]any{"expungeVmInstance": wire.Params{}}, status: api, code: "SYS.1006", words: []string{"taken", "Running", "Destroyed"}},
		{name: "delete of a network in use", method: del, path: wire.L3Networks + "/" + c.L3Network, status: api, code: "SYS.1006", words: []string{c.L3Network, l.vm}},
		{name: "delete of a range in use", method: del, path: wire.L3Networks + "/ip-ranges/" + c.IPRange, status: api, code: "SYS.1006", words: []string{c.IPRange, "in use", "expunge"}},
		{name: "delete of an attached storage", method: del, path: wire.PrimaryStorages + "/" + c.PrimaryStorage, status: api, code: "SYS.1006", words: []string{c.PrimaryStorage, "attached", "detach"}},
		{name: "detach of a storage in use", method: del, path: wire.Clusters + "/" + c.Cluster + wire.PrimaryStorages + "/" + c.PrimaryStorage, status: api, code: "SYS.1006", words: []string{"taken", "stop"}},
		{name: "second attach of a storage", method: post, path: wire.Clusters + "/" + c.Cluster + wire.PrimaryStorages + "/" + c.PrimaryStorage, status: api, code: "SYS.1006", words: []string{"lab", "already"}},
		{name: "detach of a network in use", method: del, path: wire.L2Networks + "/" + c.L2Network + wire.Clusters + "/" + c.Cluster, status: api, code: "SYS.1006", words: []string{"taken", "stop"}},
		{name: "unknown setting", method: put, path: "/global-configurations/vm/colour/actions", body: map[string]any{"updateGlobalConfig": wire.Params{"value": "1"}}, status: api, words: []string{"colour"}},
		{name: "bad value of a setting", method: put, path: "/global-configurations/vm/deletionPolicy/actions", body: map[string]any{"updateGlobalConfig": wire.Params{"value": "Sometimes"}},
			status: api, code: "SYS.1007", words: []string{"deletionPolicy", "Sometimes", "Delay"}},

		{name: "image on a server that is not there", method: post, path: wire.Images, body: image("http://127.0.0.1:1/image.raw"), status: api, words: []string{"image", "127.0.0.1:1"}},
		{name: "image that is not on its server", method: post, path: wire.Images, body: image(l.web.URL + "/other.raw"), status: api, words: []string{"image", "404"}},
		{name: "image with another checksum", method: post, path: wire.Images, body: image(l.web.URL + "/image.raw#sha256:" + hex.EncodeToString(dark)), status: api, words: []string{"image", "sha256"}},
		{name: "image with another MD5", method: post, path: wire.Images, body: image(l.web.URL + "/image.raw#md5:" + hex.EncodeToString(dark[:16])), status: api, words: []string{"image", "md5"}},
		{name: "image with a checksum that is none", method: post, path: wire.Images, body: image(l.web.URL + "/image.raw#crc:1"), status: api, words: []string{"checksum"}},
		{name: "image by a scheme that nobody speaks", method: post, path: wire.Images, body: image("gopher://127.0.0.1/image"), status: api, words: []string{"gopher", "http"}},
		{name: "image that is not of its format", method: post, path: wire.Images, body: with(wire.Params{"name": "bad", "url": l.web.URL + "/image.raw", "format": "qcow2", "mediaType": "RootVolumeTemplate", "backupStorageUuids": []string{l.images}}, nil),
			status: api, words: []string{"qcow2"}},
		{name: "image from a secret file", method: post, path: wire.Images, body: image("file:///etc/shadow"), status: api, words: []string{"/etc"}},
	}
}

// marshal is the text of a body, nil for none.
func marshal(t *testing.T, body any) []byte {
	t.Helper()
	if body == nil {
		return nil
	}
	text, err := json.Marshal(body)
	if raw, ok := body.(json.RawMessage); err != nil && ok {
		return raw
	}
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// errorOf makes a call and returns its error, of the job if it became one.
func (l *lab) errorOf(t *testing.T, c call) *wire.Error {
	t.Helper()
	status, answer, err := l.s.Client.Raw(t.Context(), c.method, c.path, c.header, marshal(t, c.body))
	if err != nil {
		t.Fatal(err)
	}
	if status == http.StatusAccepted {
		job, err := wire.JobID(answer)
		if err != nil {
			t.Fatal(err)
		}
		_, err = l.s.Client.Wait(t.Context(), job)
		var e *wire.Error
		if !errors.As(err, &e) {
			t.Fatalf("it was done, or failed otherwise: %v", err)
		}
		return e
	}
	if status == http.StatusOK {
		t.Fatalf("it was done: %s", answer)
	}
	var body struct {
		Error *struct{ Code, Description, Details string }
	}
	if err := json.Unmarshal(answer, &body); err != nil || body.Error == nil {
		return &wire.Error{Status: status, Details: string(answer)}
	}
	return &wire.Error{Status: status, Code: body.Error.Code, Description: body.Error.Description, Details: body.Error.Details}
}

func TestAPI(t *testing.T) {
	l := setUp(t)
	for _, c := range l.calls() {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			before := l.s.Counts(l.db)
			if c.faults != "" {
				l.s.Faults(c.faults)
			}
			e := l.errorOf(t, c)
			if c.faults != "" {
				l.s.Faults("")
			}
			if c.status != 0 && e.Status != c.status {
				t.Errorf("status %d, want %d: %s", e.Status, c.status, e.Details)
			}
			if e.Status == http.StatusServiceUnavailable && (e.Code == "" || e.Description == "") || c.code != "" && e.Code != c.code {
				t.Errorf("code %q, want %q: %s: %s", e.Code, c.code, e.Description, e.Details)
			}
			for _, w := range c.words {
				if !strings.Contains(strings.ToLower(e.Details), strings.ToLower(w)) {
					t.Errorf("the error does not say %q: %s", w, e.Details)
				}
			}
			for _, d := range server.Differences(before, l.s.Counts(l.db)) {
				t.Errorf("it changed something: %s", d)
			}
		})
	}
	l.s.Audit(l.db)
	if got := l.s.States(); len(got) != 1 || got["taken"] != "Running" {
		t.Errorf("the guests are %v", got)
	}
}

// What the bad images are like, but right, is taken.
func TestGoodImage(t *testing.T) {
	t.Parallel()
	l := setUp(t)
	sum := sha256.Sum256(bytes.Repeat([]byte{7}, small))
	for name, url := range map[string]string{"plain": l.web.URL + "/image.raw", "sum": fmt.Sprintf("%s/image.raw#sha256:%x", l.web.URL, sum)} {
		uuid, err := l.s.Client.Create(t.Context(), wire.Images, wire.Params{"name": name, "url": url, "format": "raw", "mediaType": "RootVolumeTemplate", "backupStorageUuids": []string{l.images}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		page, err := l.s.Client.Query(t.Context(), wire.Images, "uuid="+uuid, "status=Ready", fmt.Sprintf("size=%d", small))
		if err != nil || len(page.Inventories) != 1 {
			t.Errorf("%s: %d images: %v", name, len(page.Inventories), err)
		}
	}
}
