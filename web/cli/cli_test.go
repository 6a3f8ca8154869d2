package cli

import (
	"context"
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/web/cli/catalog"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func urlUnescape(query string) (string, error) { return url.QueryUnescape(query) }

const (
	zoneUUID = "11111111111111111111111111111111"
	vmUUID   = "22222222222222222222222222222222"
	vmBody   = `{"uuid":"` + vmUUID + `","name":"web-1","state":"Running","cpuNum":2,"memorySize":1073741824,"hostUuid":"` + zoneUUID + `","vmNics":[{"uuid":"n1","ip":"10.0.0.5"},{"uuid":"n2","ip":"10.1.0.5"}],"createDate":"Nov 14, 2017 10:20:57 PM"}`
	vmQuery  = "GET /vm-instances?limit=10&q=name=web-1"
)

func fakeCloud(t *testing.T) *fakeServer {
	return newFake(t, map[string]string{
		"PUT /accounts/login":                           loginAnswer,
		"DELETE /accounts/sessions/s1":                  `{}`,
		"GET /vm-instances":                             `{"inventories":[` + vmBody + `],"schema":{}}`,
		"GET /vm-instances?count=true":                  `{"total":7,"schema":{}}`,
		vmQuery:                                         `{"inventories":[` + vmBody + `],"schema":{}}`,
		"GET /vm-instances?limit=10&q=name=nobody":      `{"inventories":[],"schema":{}}`,
		"GET /vm-instances?limit=10&q=name=twins":       `{"inventories":[{"uuid":"a1"},{"uuid":"a2"}],"schema":{}}`,
		"GET /instance-offerings?limit=10&q=name=s":     `{"inventories":[{"uuid":"0ff","name":"s"}]}`,
		"GET /images?limit=10&q=name=tiny":              `{"inventories":[{"uuid":"1a6e","name":"tiny"}]}`,
		"GET /l3-networks?limit=10&q=name=flat":         `{"inventories":[{"uuid":"13","name":"flat"}]}`,
		"POST /vm-instances":                            `job {"inventory":` + vmBody + `}`,
		"PUT /vm-instances/" + vmUUID + "/actions":      `job {"inventory":` + vmBody + `}`,
		"DELETE /vm-instances/" + vmUUID:                `job {}`,
		"POST /zones":                                   `job {"error":{"code":"SYS.1007","description":"One or more API argument is invalid","details":"zone name\n is too long","cause":{"code":"SYS.1000","details":"limit is 255"}}}`,
		"GET /vm-instances/nics?limit=3&q=ip=10.0.%":    `{"inventories":[{"uuid":"n1","ip":"10.0.0.5","deviceId":0,"usedIps":["x"],"createDate":"Nov"}]}`,
		"GET /openapi.json":                             `{"paths":{"/zstack/v1/vm-instances/nics":{"get":{"operationId":"APIQueryVmNicMsg"}},"/zstack/v1/vm-instances/nics/{uuid}":{"get":{"operationId":"APIQueryVmNicMsg"}}}}`,
		"GET /vm-instances?q=vmNics.ip=10.0.0.5":        `{"inventories":[` + vmBody + `]}`,
		"GET /vm-instances?fields=name,uuid&sort=-name": `{"inventories":[{"name":"web-1","uuid":"` + vmUUID + `"}]}`,
	})
}

// What a command prints, byte for byte.
func TestGoldenOutput(t *testing.T) {
	for _, c := range []struct {
		name string
		args string
	}{
		{"vm-ls", "vm ls"},
		{"vm-ls-json", "vm ls -o json"},
		{"vm-ls-yaml", "vm ls -o yaml"},
		{"vm-get", "vm get web-1"},
		{"vm-count", "vm ls --count"},
		{"vm-create", "vm create --name web-1 --instance-offering-uuid s --image-uuid tiny --l3-network-uuids flat"},
		{"vm-start-json", "vm start web-1 -o json"},
		{"query", "query VmInstance vmNics.ip=10.0.0.5"},
		{"query-undescribed", "query VmNic ip=10.0.% --limit 3"},
		{"query-fields", "query vminstance --fields name,uuid --sort -name"},
		{"vm-help", "vm --help"},
		{"vm-create-help", "vm create --help"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := fakeCloud(t)
			s := newSession(t, server.URL)
			s.signIn(t)
			if code, text := s.run(strings.Fields(c.args)...); code != 0 {
				t.Fatal(text)
			}
			golden(t, c.name, strings.ReplaceAll(s.out.String(), server.URL, "http://server"))
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run with -rewrite when it should\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}

// What the server gets.
func TestRequests(t *testing.T) {
	userData := filepath.Join(t.TempDir(), "user-data")
	if err := os.WriteFile(userData, []byte("hi"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{
			"create resolves names and puts tags beside the parameters",
			[]string{"vm", "create", "--name", "web-1", "--instance-offering-uuid", "s", "--image-uuid", "tiny", "--l3-network-uuids", "flat", "--user-data", userData, "--user-tag", "blue", "--set", "rootDiskSize=5"},
			[]string{
				"GET /instance-offerings?limit=10&q=name=s", "GET /images?limit=10&q=name=tiny", "GET /l3-networks?limit=10&q=name=flat",
				`POST /vm-instances {"params":{"imageUuid":"1a6e","instanceOfferingUuid":"0ff","l3NetworkUuids":["13"],"name":"web-1","rootDiskSize":"5"},"systemTags":["userdata::aGk="],"userTags":["blue"]}`,
			},
		},
		{
			"an action's key is its name",
			[]string{"vm", "stop", "web-1", "--type", "cold"},
			[]string{vmQuery, "PUT /vm-instances/" + vmUUID + `/actions {"stopVmInstance":{"type":"cold"}}`},
		},
		{
			"a UUID is not looked up, and a delete has no body",
			[]string{"vm", "destroy", vmUUID, "--yes"},
			[]string{"DELETE /vm-instances/" + vmUUID},
		},
		{
			"a type that only the server knows",
			[]string{"query", "VmNic", "ip=10.0.%", "--limit", "3"},
			[]string{"GET /openapi.json", "GET /vm-instances/nics?limit=3&q=ip=10.0.%"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := fakeCloud(t)
			s := newSession(t, server.URL)
			s.signIn(t)
			server.log = nil
			if code, text := s.run(c.args...); code != 0 {
				t.Fatal(text)
			}
			if !reflect.DeepEqual(server.log, c.want) {
				t.Errorf("sent\n%s\nwant\n%s", strings.Join(server.log, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// Each error is one line: object, cause, advice.
func TestErrorsAreOneLine(t *testing.T) {
	server := fakeCloud(t)
	for _, c := range []struct{ args, want string }{
		{"zone create --name a", "kumo: create zone a: zone name; is too long: limit is 255 [SYS.1007]"},
		{"vm get nobody", "kumo: vm nobody: there is none (see kumo vm ls)"},
		{"vm start twins", "kumo: vm twins: several have this name (give one of the UUIDs a1, a2)"},
		{"vm destroy web-1", "kumo: destroy vm web-1: there is no terminal to ask on (add --yes when you mean it)"},
		{"vm create --name a", "kumo: kumo vm create: --image-uuid: is missing (see kumo vm create --help)"},
		{"vm create --name a --memory-size lots", `kumo: kumo vm create: --memory-size: "lots" is no size; write it like 512M or 10G (see kumo vm create --help)`},
		{"vm stop web-1 --type soft", "kumo: kumo vm stop: --type soft: not one of grace, cold (see kumo vm stop --help)"},
		{"vm fly", "kumo: kumo vm fly: no such verb (there are create, destroy, expunge, get, ls, pause, reboot, recover, resume, start, stop, update)"},
		{"vm ls -o xml", "kumo: --output xml: not known (use one of table, json, yaml)"},
		{"vm stop", "kumo: kumo vm stop: name or UUID of the vm is missing (see kumo vm stop --help)"},
		{"host create --name h --kind kvm --cpu-capacity 3", "kumo: kumo host create: --cpu-capacity: not for this --kind (see kumo host create --help)"},
		{"query Nothing", "kumo: type Nothing: the server has no query for it (see SERVER/zstack/v1/openapi.json for those it has)"},
	} {
		t.Run(c.args, func(t *testing.T) {
			s := newSession(t, server.URL)
			s.signIn(t)
			code, text := s.run(strings.Fields(c.args)...)
			if want := strings.ReplaceAll(c.want, "SERVER", server.URL); code != 1 || text != want {
				t.Errorf("exit code %d\ngot  %s\nwant %s", code, text, want)
			}
			if s.out.Len() > 0 {
				t.Errorf("an error wrote to stdout: %s", s.out.String())
			}
		})
	}
}

func TestWithoutLoginOrServer(t *testing.T) {
	server := fakeCloud(t)
	s := newSession(t, server.URL)
	if _, text := s.run("vm", "ls"); text != "kumo: server "+server.URL+": not signed in (sign in with kumo login)" {
		t.Error(text)
	}
	s.signIn(t)
	server.Close()
	if _, text := s.run("vm", "ls"); text != "kumo: server "+server.URL+": nothing listens there (start it with kumo serve or make run, or name another by --server)" {
		t.Error(text)
	}
}

func TestSessionFileIsPrivateAndForgotten(t *testing.T) {
	server := fakeCloud(t)
	s := newSession(t, server.URL)
	s.signIn(t)
	file := filepath.Join(s.app.Env("KUMO_CONFIG_DIR"), "sessions.json")
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o, want 600", info.Mode().Perm())
	}
	wantLogin := `PUT /accounts/login {"logInByAccount":{"accountName":"admin","password":"b109f3bbbc244eb82441917ed06d618b9008dd09b3befd1b5e07394c706a8bb980b1d7785e5976ec049b46df5f1326af5a2ea6d103fd07c95385ffab0cacbc86"}}`
	if server.log[0] != wantLogin {
		t.Errorf("sent %s, want %s", server.log[0], wantLogin)
	}
	for range 2 { // signing out twice is fine
		if code, text := s.run("logout"); code != 0 {
			t.Fatal(text)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil || compact(t, string(text)) != "{}" {
		t.Errorf("after logout the file has %q, %v", text, err)
	}
}

func TestConfirmation(t *testing.T) {
	for _, c := range []struct {
		answer string
		sent   bool
	}{{"y\n", true}, {"Yes\n", true}, {"n\n", false}, {"\n", false}, {"", false}} {
		server := fakeCloud(t)
		s := newSession(t, server.URL)
		s.signIn(t)
		s.app.Terminal = true
		s.app.In = strings.NewReader(c.answer)
		code, text := s.run("vm", "destroy", "web-1")
		last := server.log[len(server.log)-1]
		if sent := strings.HasPrefix(last, "DELETE"); sent != c.sent || (code == 0) != c.sent {
			t.Errorf("answer %q: sent = %v, exit code %d %s", c.answer, sent, code, text)
		}
		if !strings.Contains(s.err.String(), "destroy vm web-1? [y/N] ") {
			t.Errorf("asked %q", s.err.String())
		}
	}
}

func TestNoWaitPrintsTheJob(t *testing.T) {
	server := fakeCloud(t)
	s := newSession(t, server.URL)
	s.signIn(t)
	for _, flag := range []string{"--no-wait", "--wait=false"} {
		if code, text := s.run("vm", "start", "web-1", flag); code != 0 || len(strings.TrimSpace(s.out.String())) != 32 {
			t.Errorf("%s printed %q, %s", flag, s.out.String(), text)
		}
	}
}

// The flags of a verb, parsed without a server and without running it.
func TestFlagsAreParsedWithoutRunning(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("pw\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		noun, verb string
		args       []string
		want       map[string]any
		path       string
	}{
		{"vm", "create", []string{"--name", "a", "--image-uuid", "i", "--l3-network-uuids", "x,y", "--memory-size", "512M", "--cpu-num", "2"},
			map[string]any{"name": "a", "imageUuid": "i", "l3NetworkUuids": []string{"x", "y"}, "memorySize": int64(512 << 20), "cpuNum": int64(2)}, "/vm-instances"},
		{"host", "create", []string{"--name", "h", "--cluster-uuid", "c", "--management-ip", "127.0.0.1", "--password-file", secret},
			map[string]any{"name": "h", "clusterUuid": "c", "managementIp": "127.0.0.1", "username": "root", "password": "pw"}, "/hosts/kvm"},
		{"host", "create", []string{"--kind", "simulator", "--name", "h", "--cluster-uuid", "c", "--management-ip", "1.2.3.4", "--cpu-capacity", "8", "--memory-capacity", "16G"},
			map[string]any{"name": "h", "clusterUuid": "c", "managementIp": "1.2.3.4", "cpuCapacity": int64(8), "memoryCapacity": int64(16 << 30)}, "/hosts/simulators"},
		{"l3", "attach-service", []string{"n", "--network-services", "p=DHCP,DNS", "--network-services", "p=Userdata"},
			map[string]any{"networkServices": map[string][]string{"p": {"DHCP", "DNS", "Userdata"}}}, "/l3-networks/{uuid}/network-services"},
		{"zone", "disable", []string{"z"}, map[string]any{"stateEvent": "disable"}, "/zones/{uuid}/actions"},
		{"zone", "create", []string{"--name", "z", "--set", `isDefault=true`, "--set", `list=["a"]`, "--set", "text=7"},
			map[string]any{"name": "z", "isDefault": true, "list": []any{"a"}, "text": "7"}, "/zones"},
	} {
		t.Run(c.noun+" "+c.verb, func(t *testing.T) {
			s := newSession(t, "http://127.0.0.1:1")
			noun, _ := catalog.Find(c.noun)
			verb, ok := noun.Verb(c.verb)
			if !ok {
				t.Fatal("no such verb")
			}
			var got verbRun
			cmd := s.app.verbCommand(noun, verb, func(_ context.Context, r verbRun) error { got = r; return nil })
			cmd.SetArgs(c.args)
			if err := cmd.Execute(); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got.params.values, c.want) || got.call.Path != c.path {
				t.Errorf("got %v to %s, want %v to %s", got.params.values, got.call.Path, c.want, c.path)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	server := fakeCloud(t)
	server.answers["GET /healthz"] = `{"plugins":{"kvm":"running"}}`
	server.answers["PUT /management-nodes/actions"] = `{"version":"1.2.3"}`
	s := newSession(t, server.URL)
	code, text := s.run("status", "--pid-file", "/nonexistent")
	if want := "server   " + server.URL + "   serving\nversion  1.2.3\n" + "plugin   kvm            running\n"; code != 0 || s.out.String() != want {
		t.Errorf("got %q %s, want %q", s.out.String(), text, want)
	}
	server.Close()
	if code, _ := s.run("status"); code != 1 {
		t.Error("a dead server must give exit code 1")
	}
}

func TestPluginNewWritesAPlugin(t *testing.T) {
	s := newSession(t, "http://127.0.0.1:1")
	dir := filepath.Join(t.TempDir(), "mine")
	if code, text := s.run("plugin", "new", "mine", "--dir", dir); code != 0 {
		t.Fatal(text)
	}
	source, err := os.ReadFile(filepath.Join(dir, "main.go"))
	if err != nil || !strings.Contains(string(source), `"mine"`) {
		t.Errorf("main.go has %q, %v", source, err)
	}
	if code, text := s.run("plugin", "new", "mine", "--dir", dir); code != 1 || !strings.Contains(text, dir) {
		t.Errorf("into a folder with something in it: exit code %d, %s", code, text)
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "17": 17, "1k": 1024, "512M": 512 << 20, "10G": 10 << 30, "2TiB": 2 << 40, "3gb": 3 << 30, "-1": -1, "": -1, "G": -1, "1.5G": -1, "99999999999T": -1} {
		got, err := ParseSize(text)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("ParseSize(%q) = %d, %v", text, got, err)
		}
	}
}

// Every noun's table is sound: a reference to a noun that is none would panic
// or be silently ignored only when used.
func TestCatalogIsSound(t *testing.T) {
	for _, n := range catalog.Nouns {
		if n.Type == "" || n.Path == "" || len(n.Columns) == 0 {
			t.Errorf("%s lacks type, path or columns", n.Name)
		}
		for _, v := range n.Verbs {
			for _, p := range v.Params() {
				if _, ok := catalog.Find(p.Ref); p.Ref != "" && !ok {
					t.Errorf("%s %s: %s refers to %q, which is no noun", n.Name, v.Name, p.Name, p.Ref)
				}
			}
			if !v.Creates && !strings.Contains(v.Call.Path, "{uuid}") {
				t.Errorf("%s %s: %s has no {uuid}", n.Name, v.Name, v.Call.Path)
			}
		}
	}
}
