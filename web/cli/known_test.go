package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// The type of a plugin that neither the core nor this program has heard of.
const (
	kiteType = `{"plugin":"toys","path":"/kites","noun":"kite","nounPlural":"kites","caption":{"en":"Kite","zh":"风筝"},"captionPlural":{"en":"Kites","zh":"风筝"},
		"group":"toys","label":"name","fields":[{"name":"uuid","kind":"string"},{"name":"name","kind":"string"},{"name":"line","kind":"long","unit":"bytes"},{"name":"vmInstanceUuid","kind":"string","ref":"VmInstance"}],
		"columns":[{"field":"name"},{"field":"line"},{"field":"vmInstanceUuid","caption":{"en":"VM","zh":"云主机"}}],"create":["APICreateKiteMsg"],"actions":["APIFlyKiteMsg"]}`
	createKite = `{"type":"Kite","verb":"create","scope":"type","effect":"create","method":"POST","path":"/kites","key":"params","params":[
		{"name":"name","kind":"string","required":true},{"name":"vmInstanceUuid","kind":"string","ref":"VmInstance","required":true},{"name":"line","kind":"long","unit":"bytes"},
		{"name":"plan","kind":"string"},{"name":"server","kind":"bool"},{"name":"wait","kind":"string"},{"name":"output","kind":"string"}]}`
	flyKite = `{"type":"Kite","verb":"fly","scope":"one","subject":"uuid","effect":"other","method":"PUT","path":"/kites/{uuid}/actions","key":"flyKite","params":[
		{"name":"uuid","kind":"string","in":"path","required":true,"ref":"Kite"},{"name":"period","kind":"long","unit":"seconds"}]}`
)

// bringKites makes the server's schema one with the plugin.
func bringKites(t *testing.T, f *fakeServer) {
	var doc map[string]any
	if err := json.Unmarshal([]byte(f.schema), &doc); err != nil {
		t.Fatal(err)
	}
	doc["revision"] = "r2"
	put := func(part, name, text string) { doc[part].(map[string]any)[name] = json.RawMessage(text) }
	put("types", "Kite", kiteType)
	put("actions", "APICreateKiteMsg", createKite)
	put("actions", "APIFlyKiteMsg", flyKite)
	doc["groups"] = append(doc["groups"].([]any), json.RawMessage(`{"name":"toys","caption":{"en":"Toys","zh":"玩具"},"order":99}`))
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	f.schema, f.revision = string(text), "r2"
	kite := `{"uuid":"k1","name":"red","line":2048,"vmInstanceUuid":"` + vmUUID + `"}`
	f.answers["GET /kites?names=true"] = `{"inventories":[` + kite + `],"names":{"` + vmUUID + `":{"type":"VmInstance","label":"web-1"}}}`
	f.answers["GET /kites?names=true&q=uuid=k1"] = f.answers["GET /kites?names=true"]
	f.answers["GET /kites?limit=10&q=name=red"] = `{"inventories":[` + kite + `]}`
	f.answers["POST /kites"] = `job {"inventory":` + kite + `}`
	f.answers["PUT /kites/k1/actions"] = `job {}`
}

// A plugin that the server got meanwhile brings its noun, verbs, flags and
// columns without a new kumo.
func TestTypesOfPlugins(t *testing.T) {
	server := fakeCloud(t)
	s := newSession(t, server.URL)
	s.signIn(t)
	if code, text := s.run("kite", "ls"); code != 1 || !strings.Contains(text, "unknown noun kite") {
		t.Errorf("before the plugin: %d %s", code, text)
	}
	bringKites(t, server)
	for _, c := range []struct{ args, out, sent string }{
		{"kite ls", "NAME   LINE   VM\nred    2K     web-1\n", "GET /kites?names=true"},
		{"kite create red --vm web-1 --line 2K", "NAME   LINE   VM\nred    2K     web-1\n", `POST /kites {"params":{"line":2048,"name":"red","vmInstanceUuid":"` + vmUUID + `"}}`},
		{"kite create red --vm web-1 --param-plan p --param-server --no-wait", "00000000000000000000000000000002\n", `POST /kites {"params":{"name":"red","plan":"p","server":true,"vmInstanceUuid":"` + vmUUID + `"}}`},
		{"kite fly red --period 5m", "", `PUT /kites/k1/actions {"flyKite":{"period":300}}`},
	} {
		server.log = nil
		if code, text := s.run(strings.Fields(c.args)...); code != 0 || s.out.String() != c.out {
			t.Errorf("%s: exit code %d %s\n%s", c.args, code, text, s.out.String())
		}
		if !strings.Contains(strings.Join(server.log, "\n"), c.sent) {
			t.Errorf("%s sent %s, want %s", c.args, strings.Join(server.log, "\n"), c.sent)
		}
	}
	if s.run("--help"); !strings.Contains(words(s.out.String()), "Toys: kite Kites") {
		t.Errorf("help has no kite:\n%s", s.out.String())
	}
}

// The schema is fetched once, asked about after a while and after an unknown
// word, and done without where the server does not answer.
func TestSchemaIsKept(t *testing.T) {
	server := fakeCloud(t)
	s := newSession(t, server.URL)
	s.signIn(t)
	asked := func(want ...string) {
		t.Helper()
		var got []string
		for _, line := range server.log {
			if strings.HasPrefix(line, "GET /schema") {
				got = append(got, line)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("asked %v, want %v", got, want)
		}
		server.log = nil
	}
	asked("GET /schema: sent")
	s.run("vm", "ls")
	asked()
	s.run("vm", "lss")
	asked("GET /schema: current")
	age(t, s, time.Hour)
	s.run("vm", "ls")
	asked("GET /schema: current")
	s.run("vm", "ls")
	asked()
	age(t, s, time.Hour)
	s.run("vm", "--help")
	asked()
	for _, text := range []string{"", "no line", "etag\n{", "etag\n{\"version\":99}"} {
		if err := os.WriteFile(schemaFile(t, s), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, text := s.run("vm", "ls"); code != 0 {
			t.Error(text)
		}
		asked("GET /schema: sent")
	}
	s.env["KUMO_CACHE_DIR"] = filepath.Join(schemaFile(t, s), "no", "folder")
	if code, text := s.run("vm", "ls"); code != 0 {
		t.Error("a cache that cannot be written: " + text)
	}
	server.schema = `{"version":2}`
	if code, text := s.run("vm", "ls"); code != 1 || !strings.Contains(text, "use a kumo of the server's version") {
		t.Errorf("a later shape: %d %s", code, text)
	}
}

func schemaFile(t *testing.T, s *session) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.env["KUMO_CACHE_DIR"], "schema-*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("cache: %v %v", files, err)
	}
	return files[0]
}

// age makes the cached schema one that was checked before a time.
func age(t *testing.T, s *session, d time.Duration) {
	t.Helper()
	at := time.Now().Add(-d)
	if err := os.Chtimes(schemaFile(t, s), at, at); err != nil {
		t.Fatal(err)
	}
}

func TestCompletion(t *testing.T) {
	server := fakeCloud(t)
	server.answers["GET /vm-instances?fields=uuid,name,state&limit=100&q=name~=we%"] = `{"inventories":[` + vmBody + `,{"uuid":"x","name":"we\u001b[2J"}]}`
	server.answers["GET /l3-networks?fields=uuid,name,state&limit=100&q=name~=f%"] = `{"inventories":[{"uuid":"13","name":"flat"}]}`
	s := newSession(t, server.URL)
	s.signIn(t)
	for _, c := range []struct{ args, want string }{
		{"v", "vm\tVMs\nvolume\tVolumes\n"},
		{"vm st", "start\tStarts a guest\nstop\tStops a guest: grace asks it to shut down first, cold cuts its power\n"},
		{"vm create --im", "--image\tImage: name or UUID, see kumo image ls\n"},
		{"vm stop we", "web-1\tRunning " + vmUUID + "\n"},
		{"vm stop web-1 we", ""},
		{"vm create a --network flat,f", "flat,flat\t13\n"},
		{"vm stop --type ", "grace\ncold\n"},
		{"vm ls --columns name,st", "name,state\n"},
		{"image show any", ""}, // the server has no answer to this
	} {
		words := strings.Split(c.args, " ")
		s.run(append([]string{"__complete"}, words...)...)
		got, _, _ := strings.Cut(s.out.String(), ":")
		if strings.Contains(c.want, ":") {
			got = s.out.String()[:strings.LastIndex(s.out.String(), ":")]
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.args, got, c.want)
		}
	}
	server.Close()
	began := time.Now()
	if s.run("__complete", "vm", "stop", "we"); strings.Contains(s.out.String(), "web-1") || time.Since(began) > 2*completeTime {
		t.Errorf("without a server: %q after %s", s.out.String(), time.Since(began))
	}
}

// Names that others gave do not act on the terminal.
func TestHarmfulNames(t *testing.T) {
	server := fakeCloud(t)
	evil := `{"uuid":"` + vmUUID + `","name":"a\u001b[2Jb\u202ec\u009b\u0007","state":"Running"}`
	server.answers["GET /vm-instances?names=true"] = `{"inventories":[` + evil + `]}`
	server.answers["GET /vm-instances"] = `{"inventories":[` + evil + `]}`
	server.answers["GET /vm-instances?limit=10&q=name=evil"] = `{"error":{"code":"SYS.1007","details":"a\u001b[2Jb"}}`
	s := newSession(t, server.URL)
	s.signIn(t)
	for _, format := range []string{"table", "wide", "json", "yaml", "name"} {
		if code, text := s.run("vm", "ls", "-o", format); code != 0 {
			t.Fatal(text)
		}
		if out := s.out.String(); strings.ContainsAny(out, "\x1b\u202e\u009b\x07") || !strings.Contains(out, `\u001b`) && !strings.Contains(out, `\e[2J`) {
			t.Errorf("%s: %q", format, out)
		}
		if format == "json" {
			var back []map[string]string
			if err := json.Unmarshal(s.out.Bytes(), &back); err != nil || back[0]["name"] != "a\x1b[2Jb\u202ec\u009b\x07" {
				t.Errorf("JSON lost the name: %v %v", back, err)
			}
		}
	}
	if _, text := s.run("vm", "show", "evil"); strings.Contains(text, "\x1b") {
		t.Errorf("error: %q", text)
	}
}
