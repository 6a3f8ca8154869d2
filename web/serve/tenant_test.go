package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/audit"
	"github.com/kumo-cloud/kumo/core/identity"
	"github.com/kumo-cloud/kumo/core/query"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// tenants is a core with a simulated cloud, in which alice has a guest and more
// of each kind that accounts can have, and mallory has nothing.
type tenants struct {
	*testing.T
	*parts
	ctx                   context.Context
	rest                  http.Handler
	admin, alice, mallory string // sessions
	malloryUUID           string
	// there are the UUIDs of all rows when the cloud had been made, by type: what
	// calls leave behind, such as jobs, would make each call dearer than the last.
	there map[string][]string
}

func newTenants(t *testing.T) *tenants {
	o := Options{DataDir: t.TempDir(), PluginDir: t.TempDir(), Plugins: []string{"simulator"}, Listen: "127.0.0.1:0"}
	buildPlugins(t, o.PluginDir, o.Plugins)
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s, err := newServer(ctx, o, "test", storetest.Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		s.close()
	})
	if err := s.start(ctx); err != nil {
		t.Fatal(err)
	}
	w := &tenants{T: t, parts: s.parts, ctx: ctx, rest: s.api}
	w.admin = w.login("admin")
	w.populate()
	w.there = map[string][]string{}
	for _, typ := range w.kernel.Types.All() {
		if !typ.Internal && typ.Parent == "" {
			w.there[typ.Name] = w.uuids(typ)
		}
	}
	return w
}

// params are the parameters of a call, those of its path too.
type params map[string]any

// serve makes a call as a client does, and waits for its job.
func (w *tenants) serve(session string, a *action.Action, p params, plan bool) (json.RawMessage, error) {
	w.Helper()
	req := &action.Request{Action: a, Plan: plan, Input: inputOf(w.T, a, p), Client: "198.51.100.7"}
	if session != "" {
		req.Credentials = &action.Credentials{SessionUUID: session}
	}
	reply, err := w.kernel.Actions.Serve(w.ctx, req)
	if err != nil {
		return nil, err
	}
	if reply.Job == "" {
		return reply.Body, nil
	}
	st, err := w.kernel.Jobs.Wait(w.ctx, reply.Job, time.Minute)
	if err == nil && !st.Done {
		w.Fatalf("%s with %v: its job does not end", a.Message, p)
	}
	if err != nil {
		return nil, err
	}
	return st.Body, st.Err
}

func inputOf(t *testing.T, a *action.Action, p params) action.Input {
	t.Helper()
	in := action.Input{}
	inBody := a.Method == http.MethodPost || a.Method == http.MethodPut
	if inBody {
		in.Body = map[string]json.RawMessage{}
	} else {
		in.Query = url.Values{}
	}
	for name, v := range p {
		if d, ok := a.Param(name); ok && d.In == "path" {
			in.Path = append(in.Path, name, fmt.Sprint(v))
			continue
		}
		if list, ok := v.([]string); ok && !inBody {
			in.Query[name] = list
			continue
		}
		if !inBody {
			in.Query.Set(name, fmt.Sprint(v))
			continue
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		in.Body[name] = text
	}
	return in
}

// must makes a call that succeeds and returns the UUID of its inventory.
func (w *tenants) must(session, message string, p params) string {
	w.Helper()
	a, ok := w.kernel.Actions.Get(message)
	if !ok {
		w.Fatalf("there is no %s", message)
	}
	body, err := w.serve(session, a, p, false)
	if err != nil {
		w.Fatalf("%s: %v", message, err)
	}
	var reply struct{ Inventory struct{ UUID string } }
	if err := json.Unmarshal(body, &reply); len(body) > 0 && err != nil {
		w.Fatalf("%s answered %s: %v", message, body, err)
	}
	return reply.Inventory.UUID
}

// testPassword is SHA-512 of "password", as clients send it.
const testPassword = "b109f3bbbc244eb82441917ed06d618b9008dd09b3befd1b5e07394c706a8bb980b1d7785e5976ec049b46df5f1326af5a2ea6d103fd07c95385ffab0cacbc86"

func (w *tenants) login(name string) string {
	w.Helper()
	return w.must("", "APILogInByAccountMsg", params{"accountName": name, "password": testPassword})
}

func (w *tenants) account(name string) (uuid, session string) {
	uuid = w.must(w.admin, "APICreateAccountMsg", params{"name": name, "password": testPassword})
	return uuid, w.login(name)
}

func (w *tenants) populate() {
	const size = 1 << 40
	zone := w.must(w.admin, "APICreateZoneMsg", params{"name": "zone"})
	cluster := w.must(w.admin, "APICreateClusterMsg", params{"name": "cluster", "zoneUuid": zone, "hypervisorType": "Simulator"})
	w.must(w.admin, "APIAddSimulatorHostMsg", params{"name": "host", "clusterUuid": cluster, "managementIp": "198.18.0.1", "cpuCapacity": 64, "memoryCapacity": size})
	primary := w.must(w.admin, "APIAddSimulatorPrimaryStorageMsg", params{"name": "primary", "zoneUuid": zone, "url": "/p",
		"totalCapacity": size, "availableCapacity": size, "totalPhysicalCapacity": size, "availablePhysicalCapacity": size})
	w.must(w.admin, "APIAttachPrimaryStorageToClusterMsg", params{"clusterUuid": cluster, "primaryStorageUuid": primary})
	backup := w.must(w.admin, "APIAddSimulatorBackupStorageMsg", params{"name": "backup", "url": "/b", "totalCapacity": size, "availableCapacity": size})
	w.must(w.admin, "APIAttachBackupStorageToZoneMsg", params{"zoneUuid": zone, "backupStorageUuid": backup})
	image := params{"name": "image", "url": "http://192.0.2.1/i.qcow2?virtual=1073741824&actual=67108864", "format": "qcow2",
		"mediaType": "RootVolumeTemplate", "platform": "Linux", "backupStorageUuids": []string{backup}}
	sharedImage := w.must(w.admin, "APIAddImageMsg", image)
	offering := w.must(w.admin, "APICreateInstanceOfferingMsg", params{"name": "small", "cpuNum": 1, "memorySize": 64 << 20})
	disk := w.must(w.admin, "APICreateDiskOfferingMsg", params{"name": "disk", "diskSize": 1 << 30})
	l2 := w.must(w.admin, "APICreateL2NoVlanNetworkMsg", params{"name": "l2", "zoneUuid": zone, "physicalInterface": "eth0"})
	w.must(w.admin, "APIAttachL2NetworkToClusterMsg", params{"l2NetworkUuid": l2, "clusterUuid": cluster})
	alice, aliceSession := w.account("alice")
	w.alice = aliceSession
	w.malloryUUID, w.mallory = w.account("mallory")
	l3 := w.network(w.admin, l2, "10.1.0")
	w.network(w.alice, l2, "10.2.0")
	w.must(w.admin, "APIShareResourceMsg", params{"resourceUuids": []string{sharedImage, l3}, "accountUuids": []string{alice}})
	w.must(w.alice, "APIAddImageMsg", image)
	w.must(w.alice, "APICreateAccessKeyMsg", params{"accountUuid": alice, "userUuid": alice})
	key := w.must(w.alice, "APICreateSshKeyPairMsg", params{"name": "key",
		"publicKey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl alice"})
	vm := w.must(w.alice, "APICreateVmInstanceMsg", params{"name": "prod", "instanceOfferingUuid": offering, "imageUuid": sharedImage,
		"l3NetworkUuids": []string{l3}, "dataDiskOfferingUuids": []string{disk}, "sshKeyPairUuids": []string{key}, "systemTags": []string{"hostname::prod"}})
	w.must(w.alice, "APICreateUserTagMsg", params{"resourceType": "VmInstanceVO", "resourceUuid": vm, "tag": "blue"})
	w.must(w.admin, "APICreateUserTagMsg", params{"resourceType": "ZoneVO", "resourceUuid": zone, "tag": "rack"})
}

func (w *tenants) network(session, l2, prefix string) string {
	w.Helper()
	l3 := w.must(session, "APICreateL3NetworkMsg", params{"name": "net " + prefix, "l2NetworkUuid": l2})
	w.must(session, "APIAddIpRangeMsg", params{"l3NetworkUuid": l3, "name": "range", "startIp": prefix + ".2", "endIp": prefix + ".99", "netmask": "255.255.255.0", "gateway": prefix + ".1"})
	w.must(session, "APIAddDnsToL3NetworkMsg", params{"l3NetworkUuid": l3, "dns": "192.0.2.53"})
	w.must(session, "APIAddHostRouteToL3NetworkMsg", params{"l3NetworkUuid": l3, "prefix": "203.0.113.0/24", "nexthop": prefix + ".1"})
	return l3
}

// uuids are those of all rows of a type.
func (w *tenants) uuids(t *resource.Type) []string {
	w.Helper()
	list, err := store.Texts(w.ctx, w.kernel.Store, "SELECT `uuid` FROM `"+t.Name+"` ORDER BY `uuid`")
	if err != nil {
		w.Fatal(err)
	}
	return list
}

// total counts what an account sees, "" is the administrator.
func (w *tenants) total(t *resource.Type, account string, q ...string) int64 {
	w.Helper()
	parsed, err := query.Parse(url.Values{"q": q, "count": {"true"}})
	if err != nil {
		w.Fatal(err)
	}
	res, err := w.kernel.Query.Run(w.ctx, t.Name, parsed, query.Scope{Admin: account == "", AccountUUID: account})
	if err != nil {
		w.Fatalf("%s %v: %v", t.Name, q, err)
	}
	return res.Total
}

// TestNothingOfOthers walks every type, and from each every path of up to three
// edges: an account that owns nothing gets nothing of another's, and all of what
// everybody may read.
func TestNothingOfOthers(t *testing.T) {
	w := newTenants(t)
	paths := 0
	for _, typ := range w.kernel.Types.All() {
		if w.kernel.Types.Root(typ) != typ {
			continue
		}
		if f := firstField(typ); f != "" {
			w.wantTotal(typ, typ.Readable == resource.Global, f+" not null")
		}
		w.follow(typ, typ, nil, typ.Readable == resource.Global, &paths)
	}
	if paths < 500 {
		t.Errorf("only %d paths were followed", paths)
	}
	t.Logf("%d paths", paths)
	if n := w.total(audit.Type.Type, w.malloryUUID, "message=APILogInByAccountMsg", "success=true"); n != 1 {
		t.Errorf("mallory sees %d records of her one login", n)
	}
	if n := len(w.samples()); n < 10 {
		t.Errorf("%d measured values", n)
	}
}

// firstField is a field that can be asked for and that every row has.
func firstField(t *resource.Type) string {
	for _, f := range t.Fields {
		if f.Visible() && !f.Null {
			return f.Name
		}
	}
	return ""
}

// wantTotal compares what mallory counts with what is there.
func (w *tenants) wantTotal(t *resource.Type, all bool, condition string) {
	w.Helper()
	want := int64(0)
	if all {
		want = w.total(t, "", condition)
	} else if t == identity.AccountType.Type {
		want = w.total(t, "", condition, "uuid="+w.malloryUUID)
	} else if f, ok := t.Field("accountUuid"); ok && f.Visible() && t.Incidental { // records of what she did herself
		want = w.total(t, "", condition, "accountUuid="+w.malloryUUID)
	}
	if got := w.total(t, w.malloryUUID, condition); got != want {
		w.Errorf("%s q=%s: mallory counts %d, want %d", t.Name, condition, got, want)
	}
}

// steps lists the edges from a type, seen from either side, and its lists.
func (w *tenants) steps(t *resource.Type) map[string]string {
	out := map[string]string{}
	for _, e := range t.Edges {
		out[e.Name] = e.To
	}
	for _, in := range w.kernel.Types.Inbound(t.Name) {
		out[in.Edge.Inverse] = in.From.Name
	}
	for _, e := range t.Embeds {
		if e.Scalar == "" {
			out[e.Name] = e.Type
		}
	}
	delete(out, "")
	return out
}

// follow goes along the edges from at. open: everybody may read all on the way.
func (w *tenants) follow(from, at *resource.Type, path []string, open bool, n *int) {
	if len(path) == 3 {
		return
	}
	steps := w.steps(at)
	for _, name := range slices.Sorted(maps.Keys(steps)) {
		to, ok := w.kernel.Types.Get(steps[name])
		if !ok || to == identity.AccountType.Type { // mallory's own account is hers
			continue
		}
		to = w.kernel.Types.Root(to)
		further := append(slices.Clone(path), name)
		all := open && to.Readable == resource.Global
		if f := firstField(to); f != "" {
			*n++
			w.wantTotal(from, all, strings.Join(further, ".")+"."+f+" not null")
		}
		w.follow(from, to, further, all, n)
	}
}

// TestOthersAreNotChanged calls every message as an account that owns nothing,
// with everybody's UUIDs, in every mode, and compares the database before and
// after: what was there is there, as it was.
func TestOthersAreNotChanged(t *testing.T) {
	w := newTenants(t)
	before := w.rows(nil)
	calls, taken := 0, 0
	for _, a := range w.kernel.Actions.All() {
		if a.Query != "" || a.Access == action.Anonymous {
			continue
		}
		for _, p := range w.variants(a) {
			calls++
			var malformed *action.HTTPError
			switch _, err := w.serve(w.mallory, a, p, false); {
			case err == nil:
				taken++
			case errs.ClassOf(err) == errs.Internal && !errors.As(err, &malformed):
				t.Errorf("%s with %v was not refused, it broke: %v", a.Message, p, err)
			}
			if a.Method == http.MethodDelete {
				_, _ = w.serve(w.mallory, a, p, true) // that it changes nothing is seen below
			}
		}
		after := w.rows(before)
		for key, row := range before {
			if after[key] != row {
				t.Errorf("%s changed %s:\n before %s\n after  %s", a.Message, key, row, after[key])
			}
		}
		if t.Failed() {
			return // what follows would tell of the same rows
		}
	}
	t.Logf("%d calls, %d of them were taken", calls, taken)
	if calls < 500 {
		t.Errorf("only %d calls were made", calls)
	}
}

// volatile are columns that the cloud changes by itself, or that tell how full
// is what everybody uses.
var volatile = []string{"availableCapacity", "availablePhysicalCapacity", "lastOpDate", "heartBeat", "heartbeat", "expiredDate", "lastTry", "attempts"}

// rows are the rows that there were, or those of of, by type and uuid, without
// what volatile names.
func (w *tenants) rows(of map[string]string) map[string]string {
	w.Helper()
	out := map[string]string{}
	for _, t := range w.kernel.Types.All() {
		if t.Internal && t.OwnedBy == "" && !t.Owned { // journals, jobs, marks
			continue
		}
		for _, uuid := range w.uuids(t) {
			key := t.Name + " " + uuid
			if _, wanted := of[key]; of != nil && !wanted {
				continue
			}
			row, err := store.GetValues(w.ctx, w.kernel.Store, t, uuid)
			if errs.ClassOf(err) == errs.NotFound {
				continue
			}
			if err != nil {
				w.Fatal(err)
			}
			for _, name := range volatile {
				delete(row, name)
			}
			text, err := json.Marshal(row)
			if err != nil {
				w.Fatal(err)
			}
			out[key] = string(text)
		}
	}
	return out
}

// variants are the calls to try: each parameter that names a resource has each
// resource that fits it, the others have the first one.
func (w *tenants) variants(a *action.Action) []params {
	base := params{}
	choices := map[string][]string{}
	for _, p := range a.Params {
		var list []string
		switch {
		case p.Resource != "":
			t, _ := w.kernel.Types.Get(p.Resource)
			list = slices.Clone(w.there[w.kernel.Types.Root(t).Name])
		case p.AnyType:
			for _, uuids := range w.there {
				list = append(list, uuids...)
			}
		}
		list = slices.DeleteFunc(list, func(uuid string) bool { return uuid == w.malloryUUID })
		if len(list) > 0 {
			choices[p.Name] = list
			base[p.Name] = value(p, list[0])
		} else if v := plausible(p); v != nil {
			base[p.Name] = v
		}
	}
	out := []params{base}
	for name, list := range choices {
		d, _ := a.Param(name)
		for _, uuid := range list {
			p := maps.Clone(base)
			p[name] = value(d, uuid)
			for _, kind := range w.kinds(a, uuid) {
				q := maps.Clone(p)
				if kind != "" {
					q["resourceType"] = kind
				}
				out = append(out, q)
				if a.Method == http.MethodDelete {
					q = maps.Clone(q)
					q["deleteMode"] = "Enforcing"
					out = append(out, q)
				}
			}
		}
	}
	return out
}

// kinds are the values for a resourceType beside a UUID, where there is one.
func (w *tenants) kinds(a *action.Action, uuid string) []string {
	if _, ok := a.Param("resourceType"); !ok {
		return []string{""}
	}
	for name, uuids := range w.there {
		if slices.Contains(uuids, uuid) {
			return []string{name + "VO"}
		}
	}
	return nil
}

func value(p action.Param, uuid string) any {
	if strings.HasPrefix(p.Type, "[]") {
		return []string{uuid}
	}
	return uuid
}

// plausible is a value that passes the checks of most parameters; nil leaves an
// optional one away.
func plausible(p action.Param) any {
	word := strings.TrimSuffix(p.Type, "?")
	known := map[string]any{"name": "renamed", "description": "changed", "state": "Disabled", "password": testPassword, "dns": "192.0.2.53", "service": "DHCP",
		"category": "vm", "tag": "blue", "prefix": "203.0.113.0/24", "networkCidr": "10.9.0.0/24", "startIp": "10.2.0.200", "endIp": "10.2.0.210",
		"netmask": "255.255.255.0", "gateway": "10.2.0.1", "nexthop": "10.2.0.1", "value": "1", "all": true, "toPublic": true}
	switch v, ok := known[p.Name]; {
	case ok:
		return v
	case len(p.Values) > 0:
		return p.Values[len(p.Values)-1]
	case !p.Required:
		return nil
	case word == "string":
		return "text"
	case word == "bool":
		return true
	case word == "[]string":
		return []string{"text"}
	case strings.HasPrefix(word, "map"):
		return map[string][]string{"text": {"text"}}
	case p.Range != nil:
		return p.Range[0]
	}
	return 1
}

// TestSharing shares a network, takes that back, and gives a guest away.
func TestSharing(t *testing.T) {
	w := newTenants(t)
	get := func(name string) *resource.Type { typ, _ := w.kernel.Types.Get(name); return typ }
	sees := func(typ string, want int64, q ...string) {
		t.Helper()
		if got := w.total(get(typ), w.malloryUUID, append(q, "uuid not null")...); got != want {
			t.Errorf("mallory sees %d of %s %v, want %d", got, typ, q, want)
		}
	}
	networks, err := store.Texts(w.ctx, w.kernel.Store, "SELECT `uuid` FROM `L3Network` WHERE `name` = 'net 10.2.0'")
	if err != nil || len(networks) != 1 {
		t.Fatal(networks, err)
	}
	share := params{"resourceUuids": networks, "accountUuids": []string{w.malloryUUID}}
	for range 2 { // what is shared stays so
		w.must(w.admin, "APIShareResourceMsg", share)
		sees("L3Network", 1)
		sees("IpRange", 1)
		sees("IpRange", 1, "l3Network.name=net 10.2.0")
		sees("L2Network", 1, "l3Network.name=net 10.2.0")
		sees("L2Network", 0, "l3Network.name=net 10.1.0")
		if n := w.total(get("SharedResource"), w.malloryUUID); n != 0 {
			t.Errorf("mallory sees %d of what is shared", n)
		}
	}
	update, _ := w.kernel.Actions.Get("APIUpdateL3NetworkMsg")
	if _, err := w.serve(w.mallory, update, params{"uuid": networks[0], "name": "mine"}, false); errs.ClassOf(err) != errs.Refused && !strings.Contains(fmt.Sprint(err), "does not belong to your account") {
		t.Errorf("mallory renamed what is shared with her: %v", err)
	}
	w.must(w.admin, "APIRevokeResourceSharingMsg", share)
	sees("L3Network", 0)
	sees("IpRange", 0)
	w.must(w.admin, "APIShareResourceMsg", params{"resourceUuids": networks, "toPublic": true})
	sees("L3Network", 1)
	w.must(w.admin, "APIRevokeResourceSharingMsg", params{"resourceUuids": networks, "all": true})
	sees("L3Network", 0)

	zone := w.uuids(get("Zone"))
	for name, p := range map[string]params{"nobody": {"resourceUuids": networks}, "a zone": {"resourceUuids": zone, "toPublic": true},
		"a part": {"resourceUuids": w.uuids(get("IpRange")), "toPublic": true}, "an account": {"resourceUuids": []string{w.malloryUUID}, "toPublic": true}} {
		a, _ := w.kernel.Actions.Get("APIShareResourceMsg")
		if _, err := w.serve(w.admin, a, p, false); err == nil {
			t.Errorf("%s was shared", name)
		}
	}

	vm := w.uuids(get("VmInstance"))[0]
	w.must(w.admin, "APIChangeResourceOwnerMsg", params{"accountUuid": w.malloryUUID, "resourceUuid": vm})
	sees("VmInstance", 1)
	sees("VmNic", 1, "vmInstance.name=prod")
	sees("Volume", 2)
	sees("UsedIp", 1)
	sees("UserTag", 1)
	w.must(w.mallory, "APIUpdateVmInstanceMsg", params{"uuid": vm, "name": "mine"})
}
