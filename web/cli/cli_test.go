package cli

import (
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/web/cli/client"
	"github.com/kumo-cloud/kumo/web/cli/schema"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func urlUnescape(query string) (string, error) { return url.QueryUnescape(query) }

const (
	hostUUID = "11111111111111111111111111111111"
	vmUUID   = "22222222222222222222222222222222"
	jobUUID  = "33333333333333333333333333333333"
	vmBody   = `{"uuid":"` + vmUUID + `","name":"web-1","state":"Running","cpuNum":2,"memorySize":1073741824,"hostUuid":"` + hostUUID + `","vmNics":[{"uuid":"n1","ip":"10.0.0.5"},{"uuid":"n2","ip":"10.1.0.5"}],"createDate":"Nov 14, 2017 10:20:57 PM"}`
	vmNames  = `"names":{"` + hostUUID + `":{"type":"Host","label":"rack-1","context":"10.0.0.1"}}`
	vmQuery  = "GET /vm-instances?limit=10&q=name=web-1"
	vmAgain  = "GET /vm-instances?names=true&q=uuid=" + vmUUID
)

// publishedSchema is what a server publishes, with the types of all plugins of
// this tree.
var publishedSchema = filepath.Join("..", "serve", "testdata", "schema.golden.json")

func fakeCloud(t *testing.T) *fakeServer {
	text, err := os.ReadFile(publishedSchema)
	if err != nil {
		t.Fatal(err)
	}
	f := newFake(t, map[string]string{
		"PUT /accounts/login":                                    loginAnswer,
		"DELETE /accounts/sessions/s1":                           `{}`,
		"GET /vm-instances":                                      `{"inventories":[` + vmBody + `],"schema":{}}`,
		"GET /vm-instances?names=true":                           `{"inventories":[` + vmBody + `],` + vmNames + `}`,
		"GET /vm-instances?count=true":                           `{"total":7,"schema":{}}`,
		vmQuery:                                                  `{"inventories":[` + vmBody + `],"schema":{}}`,
		vmAgain:                                                  `{"inventories":[` + vmBody + `],` + vmNames + `}`,
		"GET /vm-instances?q=uuid=" + vmUUID:                     `{"inventories":[` + vmBody + `]}`,
		"GET /vm-instances?limit=10&q=name=nobody":               `{"inventories":[],"schema":{}}`,
		"GET /vm-instances?limit=10&q=name=wbe-1":                `{"inventories":[]}`,
		"GET /vm-instances?limit=10&q=name=2222":                 `{"inventories":[]}`,
		"GET /vm-instances?limit=10&q=uuid~=2222%":               `{"inventories":[` + vmBody + `]}`,
		"GET /vm-instances?limit=10&q=name=twins":                `{"inventories":[{"uuid":"a1","name":"twins","state":"Running"},{"uuid":"a2","name":"twins","state":"Stopped","createDate":"Nov 14, 2017 10:20:57 PM"}]}`,
		"GET /instance-offerings?limit=10&q=name=s":              `{"inventories":[{"uuid":"0ff","name":"s"}]}`,
		"GET /images?limit=10&q=name=tiny":                       `{"inventories":[{"uuid":"1a6e","name":"tiny"}]}`,
		"GET /l3-networks?limit=10&q=name=flat":                  `{"inventories":[{"uuid":"13","name":"flat"}]}`,
		"GET /hosts?limit=10&q=name=rack-1":                      `{"inventories":[{"uuid":"` + hostUUID + `","name":"rack-1"}]}`,
		"POST /vm-instances":                                     `job {"inventory":` + vmBody + `}`,
		"PUT /vm-instances/" + vmUUID + "/actions":               `job {"inventory":` + vmBody + `}`,
		"DELETE /vm-instances/" + vmUUID:                         `job {}`,
		"DELETE /vm-instances/" + vmUUID + "?plan=true":          planAnswer,
		"POST /zones":                                            `job {"error":{"code":"SYS.1007","description":"One or more API argument is invalid","details":"zone name\n is too long","cause":{"code":"SYS.1000","details":"limit is 255"}}}`,
		"GET /vm-instances/nics?limit=3&names=true&q=ip~=10.0.%": `{"inventories":[{"uuid":"n1","ip":"10.0.0.5","deviceId":0,"vmInstanceUuid":"` + vmUUID + `"}]}`,
		"GET /vm-instances?fields=uuid,name&q=uuid?=" + vmUUID:   `{"inventories":[{"uuid":"` + vmUUID + `","name":"web-1"}]}`,
		"GET /vm-instances?names=true&q=vmNics.ip=10.0.0.5":      `{"inventories":[` + vmBody + `],` + vmNames + `}`,
		"GET /vm-instances?fields=name,uuid&sort=-name":          `{"inventories":[{"name":"web-1","uuid":"` + vmUUID + `"}]}`,
		"GET /vm-instances?fields=name,state,hostUuid&limit=5&names=true&q=state=Running&q=hostUuid=" + hostUUID + "&q=memorySize>=1073741824&sort=-createDate": `{"inventories":[` + vmBody + `],` + vmNames + `}`,
		"POST /accesskeys":                        `{"inventory":{"uuid":"k1","AccessKeyID":"id","AccessKeySecret":"shown once","accountUuid":"` + hostUUID + `"}}`,
		"POST /accounts":                          `job {}`,
		"POST /system-tags":                       `job {"inventory":{"uuid":"t1","tag":"a::b"}}`,
		"GET /vm-instances?fields=name&limit=500": `{"inventories":[` + vmBody + `]}`,
		"GET /jobs/" + jobUUID + "/trace":         traceAnswer,
	})
	f.schema, f.revision = string(text), "r1"
	return f
}

const planAnswer = `{"plan":{"type":"VmInstance","uuid":"` + vmUUID + `","name":"web-1","action":"delete","deleted":3,"detached":1,"children":[` +
	`{"type":"VmNic","uuid":"n1","action":"delete","children":[{"type":"Eip","uuid":"e1","name":"public","action":"detach"}]},` +
	`{"type":"Volume","uuid":"v1","name":"ROOT-for-web-1","action":"delete"}],"objections":[{"type":"Volume","uuid":"v2","name":"keep","reason":"it is held"}]}}`

const traceAnswer = `{"flows":[{"uuid":"f1","flow":"create-vm","phase":"done","steps":[{"n":1,"name":"insert","took":0.5},` +
	`{"n":2,"name":"make-volumes","took":248.3,"calls":[{"plugin":"imagestore","method":"ExportImage","took":1.5},{"plugin":"localstorage","method":"CreateVolume","took":145.6}]},` +
	`{"n":3,"name":"start-on-host","took":2816.3,"error":"evil\u001b[2J"}]}]}`

// What a command prints, byte for byte.
func TestGoldenOutput(t *testing.T) {
	for _, c := range []struct {
		name string
		args string
		env  string
	}{
		{"vm-ls", "vm ls", ""},
		{"vm-ls-zh", "vm ls", "zh_CN.UTF-8"},
		{"vm-ls-wide", "vm ls -o wide", ""},
		{"vm-ls-name", "vm ls -o name", ""},
		{"vm-ls-json", "vm ls -o json", ""},
		{"vm-ls-yaml", "vm ls -o yaml", ""},
		{"vm-ls-where", "vm ls --where state=running --where host=rack-1 --where memory>=1G --sort -createDate --columns name,state,host --limit 5", ""},
		{"vm-show", "vm show web-1", ""},
		{"vm-count", "vm ls --count", ""},
		{"vm-create", "vm create web-1 --offering s --image tiny --network flat", ""},
		{"vm-start-json", "vm start web-1 -o json", ""},
		{"vm-delete-plan", "vm delete web-1 --plan", ""},
		{"access-key-create", "access-key create --account " + hostUUID + " --user-uuid " + hostUUID, ""},
		{"job-trace", "job trace " + jobUUID, ""},
		{"query", "query VmInstance vmNics.ip=10.0.0.5", ""},
		{"query-names", "query VmNic ip~=10.0.% --limit 3", ""},
		{"query-fields", "query vminstance --fields name,uuid --sort -name", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := fakeCloud(t)
			s := newSession(t, server.URL)
			s.env["LANG"] = c.env
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

// words is a text with one blank between its words.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }

// Help has the words of the schema, in both languages.
func TestHelp(t *testing.T) {
	server := fakeCloud(t)
	s := newSession(t, server.URL)
	s.signIn(t)
	for _, c := range []struct{ args, lang, want string }{
		{"--help", "", "Compute:"},
		{"--help", "", "vm VMs"},
		{"--help", "", "login Sign in to an account and keep the session"},
		{"vm --help", "", "ls List VMs"},
		{"vm --help", "zh_CN.UTF-8", "show 查看一个云主机"},
		{"vm create --help", "", "Usage: kumo vm create NAME [flags] Examples: kumo vm create vm-1 --offering offering-1 --image image-1 --network network-1"},
		{"vm create --help", "", "--memory-size size Memory, such as 10G"},
		{"vm create --help", "", "--user-data file User data: a file with it, or - for stdin"},
		{"vm create --help", "", "--console-password-file file Console password: a file with it, or - for stdin"},
		{"host create --help", "", "--kind string one of kvm, simulator; without it the one that has the parameters given"},
		{"host create --help", "", "--password-file file The SSH user's password: a file with it, or - for stdin (required)"},
	} {
		s.env["LANG"] = c.lang
		if code, text := s.run(strings.Fields(c.args)...); code != 0 || !strings.Contains(words(s.out.String()), words(c.want)) {
			t.Errorf("%s: %d %s\nhas no %q:\n%s", c.args, code, text, c.want, s.out.String())
		}
	}
}

// The help of a noun makes all its verbs with their flags: none is there twice.
func TestEveryVerbIsThere(t *testing.T) {
	server := fakeCloud(t)
	s := newSession(t, server.URL)
	s.signIn(t)
	text, err := os.ReadFile(publishedSchema)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := schema.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, noun := range doc.Nouns() {
		if code, text := s.run(noun.Noun, "--help"); code != 0 {
			t.Fatal(text)
		}
		for _, verb := range append([]*schema.Verb{{Name: "ls"}, {Name: "show"}}, doc.Verbs(noun)...) {
			if !strings.Contains(s.out.String(), "\n  "+verb.Name+" ") {
				t.Errorf("%s has no %s:\n%s", noun.Noun, verb.Name, s.out.String())
			}
		}
	}
}

// What the server gets.
func TestRequests(t *testing.T) {
	userData := filepath.Join(t.TempDir(), "user-data")
	if err := os.WriteFile(userData, []byte("hi"), 0o600); err != nil {
		t.Fatal(err)
	}
	lookups := []string{"GET /instance-offerings?limit=10&q=name=s", "GET /images?limit=10&q=name=tiny", "GET /l3-networks?limit=10&q=name=flat"}
	created := `POST /vm-instances {"params":{"imageUuid":"1a6e","instanceOfferingUuid":"0ff","l3NetworkUuids":["13"],"name":"web-1","rootDiskSize":"5"},"systemTags":["userdata::aGk="],"userTags":["blue"]}`
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{
			"create resolves names and puts tags beside the parameters",
			[]string{"vm", "create", "web-1", "--offering", "s", "--image", "tiny", "--network", "flat", "--user-data", userData, "--user-tag", "blue", "--set", "rootDiskSize=5"},
			append(slices.Clone(lookups), created, vmAgain),
		},
		{
			"the flags of before are accepted",
			[]string{"vm", "create", "--name", "web-1", "--instance-offering-uuid", "s", "--imageUuid", "tiny", "--l3-network-uuids", "flat", "--userdata", userData, "--user-tag", "blue", "--set", "rootDiskSize=5"},
			append(slices.Clone(lookups), created, vmAgain),
		},
		{
			"an action's key is its name, and a stop does as it is told",
			[]string{"vm", "stop", "web-1", "--type", "COLD"},
			[]string{vmQuery, "PUT /vm-instances/" + vmUUID + `/actions {"stopVmInstance":{"type":"cold"}}`, vmAgain},
		},
		{
			"a UUID is not looked up, and a delete has no body; its message's word is accepted",
			[]string{"vm", "destroy", vmUUID, "--yes"},
			[]string{"DELETE /vm-instances/" + vmUUID},
		},
		{
			"a password goes as its hash",
			[]string{"account", "create", "alice", "--password-file", userData},
			[]string{`POST /accounts {"params":{"name":"alice","password":"` + client.WirePassword("hi") + `"}}`},
		},
		{
			"a tag is typed, though it may hold a secret, and what it is for is named",
			[]string{"tag", "create", "a::b", "--resource-type", "VmInstanceVO", "--resource", "web-1"},
			[]string{vmQuery, `POST /system-tags {"params":{"resourceType":"VmInstanceVO","resourceUuid":"` + vmUUID + `","tag":"a::b"}}`, "GET /system-tags?names=true&q=uuid=t1"},
		},
		{
			"an access key that the server makes up",
			[]string{"access-key", "create", "--account", hostUUID, "--user-uuid", hostUUID},
			[]string{`POST /accesskeys {"params":{"accountUuid":"` + hostUUID + `","userUuid":"` + hostUUID + `"}}`, "GET /accounts?fields=uuid,name&q=uuid?=" + hostUUID},
		},
		{
			"sizes in a list",
			[]string{"vm", "create", "web-1", "--data-disk-sizes", "1G,512M"},
			[]string{`POST /vm-instances {"params":{"dataDiskSizes":[1073741824,536870912],"name":"web-1"}}`, vmAgain},
		},
		{
			"the beginning of a UUID",
			[]string{"vm", "start", "2222", "--no-wait"},
			[]string{"GET /vm-instances?limit=10&q=name=2222", "GET /vm-instances?limit=10&q=uuid~=2222%", "PUT /vm-instances/" + vmUUID + `/actions {"startVmInstance":{}}`},
		},
		{
			"names that the server does not send along are asked for at once",
			[]string{"query", "VmNic", "ip~=10.0.%", "--limit", "3"},
			[]string{"GET /vm-instances/nics?limit=3&names=true&q=ip~=10.0.%", "GET /vm-instances?fields=uuid,name&q=uuid?=" + vmUUID},
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
		{"zone create a", "kumo: create zone a: zone name; is too long: limit is 255 [SYS.1007]"},
		{"vm show nobody", "kumo: vm nobody: there is none (see kumo vm ls)"},
		{"vm show wbe-1", "kumo: vm wbe-1: there is none (did you mean web-1?)"},
		{"vm start twins", "kumo: vm twins: several are called so (give one of the UUIDs a1 (Running), a2 (Stopped, Nov 14, 2017 10:20:57 PM))"},
		{"vm destroy web-1", "kumo: delete vm web-1: there is no terminal to ask on (add --yes when you mean it)"},
		{"vm create", "kumo: kumo vm create: NAME: is missing (for example: kumo vm create vm-1 --offering offering-1 --image image-1 --network network-1)"},
		{"access-key create", "kumo: kumo access-key create: --account, --user-uuid: are missing (for example: kumo access-key create --account account-1 --user-uuid USER-UUID)"},
		{"cluster create c", "kumo: kumo cluster create: --zone, --hypervisor-type: are missing (for example: kumo cluster create cluster-1 --zone zone-1 --hypervisor-type HYPERVISOR-TYPE)"},
		{"vm create a --data-disk-sizes 1G,many", `kumo: kumo vm create: --data-disk-sizes: "many" is no size; write it like 512M or 10G`},
		{"vm create a --memory-size lots", `kumo: kumo vm create: --memory-size: "lots" is no size; write it like 512M or 10G`},
		{"vm create a --imge tiny", "kumo: kumo vm create: unknown flag --imge (did you mean --image?)"},
		{"vm stop web-1 --type colt", "kumo: kumo vm stop: --type colt: not one of grace, cold (did you mean cold?)"},
		{"vm strat web-1", "kumo: kumo vm: unknown verb strat (did you mean start?)"},
		{"vm juggle", "kumo: kumo vm: unknown verb juggle (see kumo vm --help)"},
		{"vm juggle web-1 --balls 3", "kumo: kumo vm: unknown verb juggle (see kumo vm --help)"},
		{"vmm ls --wher state=Running", "kumo: kumo: unknown noun vmm (did you mean vm?)"},
		{"vn ls", "kumo: kumo: unknown noun vn (did you mean vm?)"},
		{"vm ls -o xml", "kumo: --output xml: not known (use one of table, wide, json, yaml, name)"},
		{"vm ls --where stat=Running", "kumo: vm: unknown field stat (did you mean state?)"},
		{"vm ls --where state", "kumo: condition state: not of the form FIELD=VALUE (write it like --where state=Running or --where 'name~=web%')"},
		{"vm ls --columns nam", "kumo: vm: unknown field nam (did you mean name?)"},
		{"vm stop", "kumo: kumo vm stop: name or UUID of the vm is missing (for example: kumo vm stop vm-1)"},
		{"host create h --kind kvm --cpu-capacity 3", "kumo: kumo host create: --cpu-capacity: not for this --kind"},
		{"host create h", "kumo: kumo host create: --kind: is missing (say which: kvm, simulator)"},
		{"query Nothing", "kumo: kumo query: unknown type Nothing (see kumo query --help)"},
	} {
		t.Run(c.args, func(t *testing.T) {
			s := newSession(t, server.URL)
			s.signIn(t)
			code, text := s.run(strings.Fields(c.args)...)
			if code != 1 || text != c.want {
				t.Errorf("exit code %d\ngot  %s\nwant %s", code, text, c.want)
			}
			if s.out.Len() > 0 {
				t.Errorf("an error wrote to stdout: %s", s.out.String())
			}
		})
	}
}
