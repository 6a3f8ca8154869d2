package commandline

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/web/cli/catalog"
)

func TestMain(m *testing.M) { os.Exit(server.Main(m)) }

// shell runs kumo as a person at a terminal-less shell.
type shell struct {
	t      *testing.T
	binary string
	env    []string
}

func newShell(t *testing.T, s *server.Server) *shell {
	binary, _ := server.Build(t, "simulator")
	return &shell{t: t, binary: binary, env: append(server.Environ(), "KUMO_SERVER="+s.URL, "KUMO_CONFIG_DIR="+t.TempDir())}
}

// run runs one command line and returns stdout, stderr and the exit code.
func (s *shell) run(stdin string, args ...string) (string, string, int) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), s.binary, args...)
	cmd.Env = s.env
	cmd.Stdin = strings.NewReader(stdin)
	var out, text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &text
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return out.String(), text.String(), cmd.ProcessState.ExitCode()
}

// ok runs a command line of words that must succeed.
func (s *shell) ok(line string) string {
	s.t.Helper()
	out, text, code := s.run("", strings.Fields(line)...)
	if code != 0 {
		s.t.Fatalf("kumo %s: exit code %d: %s", line, code, text)
	}
	return out
}

// A session from an empty server to a running VM and back.
func TestSession(t *testing.T) {
	s := server.Start(t, server.Options{})
	sh := newShell(t, s)
	if _, text, code := sh.run("", "vm", "ls"); code != 1 || !strings.Contains(text, "not signed in (sign in with kumo login)") {
		t.Errorf("before login: exit code %d, %s", code, text)
	}
	if _, text, code := sh.run("wrong", "login", "--password-file", "-"); code != 1 || strings.Count(text, "\n") != 1 {
		t.Errorf("wrong password: exit code %d, %s", code, text)
	}
	if _, text, code := sh.run(server.Password+"\n", "login", "--password-file", "-"); code != 0 {
		t.Fatal(text)
	}
	for _, line := range []string{
		"zone create --name z",
		"cluster create --name c --zone-uuid z --hypervisor-type Simulator",
		"host create --kind simulator --name h --cluster-uuid c --management-ip 10.1.1.1 --cpu-capacity 8 --memory-capacity 8G",
		"ps create --kind simulator --name p --zone-uuid z --url any --total-capacity 100G --available-capacity 100G --total-physical-capacity 100G --available-physical-capacity 100G",
		"cluster attach-primary-storage c --primary-storage-uuid p",
		"bs create --kind simulator --name b --url any --total-capacity 100G --available-capacity 100G",
		"zone attach-backup-storage z --backup-storage-uuid b",
		"image create --name i --url http://127.0.0.1/i.qcow2 --backup-storage-uuids b",
		"offering create --name o --cpu-num 1 --memory-size 64M",
		"disk-offering create --name d --disk-size 1G",
		"l2 create --name l2 --zone-uuid z --physical-interface eth0",
		"cluster attach-l2 c --l2-network-uuid l2",
		"l3 create --name l3 --l2-network-uuid l2",
		"l3 add-range l3 --name r --start-ip 10.5.0.10 --end-ip 10.5.0.20 --netmask 255.255.255.0 --gateway 10.5.0.1",
		"l3 add-dns l3 --dns 10.5.0.1",
		"vm create --name v --instance-offering-uuid o --image-uuid i --l3-network-uuids l3 --user-tag blue",
	} {
		sh.ok(line)
	}
	if got := sh.ok("query VmInstance vmNics.ip~=10.5.0.% zone.name=z --fields name,state"); got != "NAME   STATE\nv      Running\n" {
		t.Errorf("query printed %q", got)
	}
	if got := sh.ok("user-tag ls tag=blue --count"); got != "1\n" {
		t.Errorf("tags: %q", got)
	}
	for _, step := range []struct{ line, state string }{
		{"vm stop v", "Stopped"}, {"vm start v", "Running"}, {"vm reboot v", "Running"}, {"vm update v --name w", "Running"},
		{"vm destroy w --yes", "Destroyed"}, {"vm recover w", "Stopped"}, {"vm destroy w --yes", "Destroyed"},
	} {
		sh.ok(step.line)
		var vms []struct{ State string }
		if err := json.Unmarshal([]byte(sh.ok("vm ls -o json")), &vms); err != nil || len(vms) != 1 || vms[0].State != step.state {
			t.Fatalf("after %s: %v, %v", step.line, vms, err)
		}
	}
	sh.ok("vm expunge w --yes")
	sh.ok("zone delete z --yes")
	for _, noun := range []string{"vm", "host", "cluster", "l3", "l2", "ps", "zone"} {
		if got := sh.ok(noun + " ls --count"); got != "0\n" {
			t.Errorf("%s: %s left", noun, got)
		}
	}
	if out, _, code := sh.run("", "__complete", "zone", "create", "--n"); code != 0 || !strings.Contains(out, "--name") {
		t.Errorf("completion: %q, exit code %d", out, code)
	}
	sh.ok("logout")
	if _, _, code := sh.run("", "vm", "ls"); code != 1 {
		t.Error("after logout the session still works")
	}
	sh.ok("status")
}

// The catalogue says what the server says: path, method, key and parameters.
func TestCatalogueMatchesTheServer(t *testing.T) {
	s := server.Start(t, server.Options{Plugins: []string{"simulator", "kvm", "localstorage", "imagestore", "flat"}})
	resp, err := http.Get(s.URL + "/zstack/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	served := map[string]string{} // "METHOD /path/{}#key": what it takes
	for path, methods := range doc.Paths {
		for method, operation := range methods {
			served[strings.ToUpper(method)+" "+shape(path)] = string(operation)
		}
	}
	for _, n := range catalog.Nouns {
		if _, ok := served["GET "+n.Path]; !ok {
			t.Errorf("%s: the server has no GET %s", n.Name, n.Path)
		}
		for _, v := range n.Verbs {
			calls := []catalog.Call{v.Call}
			for _, variant := range v.Variants {
				calls = append(calls, variant.Call)
			}
			if len(v.Variants) > 0 {
				calls = calls[1:]
			}
			for _, call := range calls {
				check(t, served, n.Name+" "+v.Name, call)
			}
		}
	}
}

func check(t *testing.T, served map[string]string, verb string, call catalog.Call) {
	t.Helper()
	key := call.Method + " " + shape(call.Path)
	operation, ok := served[key]
	if !ok {
		operation, ok = served[key+"#"+call.Key]
	}
	if !ok {
		t.Errorf("%s: the server has no %s#%s", verb, key, call.Key)
		return
	}
	for _, p := range call.Params {
		if !strings.Contains(operation, `"`+p.Name+`"`) && !strings.Contains(call.Path, "{"+p.Name+"}") {
			t.Errorf("%s: the server does not describe parameter %s of %s", verb, p.Name, key)
		}
	}
}

// shape is a path without the names of its variables, as servers match it.
func shape(path string) string {
	path, key, _ := strings.Cut(strings.TrimPrefix(path, "/zstack/v1"), "#")
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if strings.HasPrefix(s, "{") {
			segments[i] = "{}"
		}
	}
	path = strings.Join(segments, "/")
	if key != "" {
		path += "#" + key
	}
	return path
}

// An image goes up from a file of the person's machine, and one that is not what
// was said leaves nothing.
func TestUpload(t *testing.T) {
	dir := server.Folder(t)
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, []byte("plugin-settings:\n  imagestore:\n    listen: \"127.0.0.1:0\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := server.Start(t, server.Options{Plugins: []string{"imagestore"}, Args: []string{"--config", config}})
	sh := newShell(t, s)
	if _, text, code := sh.run(server.Password+"\n", "login", "--password-file", "-"); code != 0 {
		t.Fatal(text)
	}
	sh.ok("bs create --kind image-store --name b --url " + filepath.Join(dir, "store") + " --hostname 127.0.0.1 --username root --set password=not-used")
	disk := filepath.Join(dir, "disk.img")
	data := make([]byte, 3<<20)
	for i := range data {
		data[i] = byte(i * i >> 8)
	}
	if err := os.WriteFile(disk, data, 0o600); err != nil {
		t.Fatal(err)
	}
	out := sh.ok("image upload " + disk + " --name up --backup-storage-uuids b -o json")
	var image struct {
		Name, Status, Format, URL, MD5Sum string
		Size                              int64
		BackupStorageRefs                 []struct{ InstallPath string }
	}
	if err := json.Unmarshal([]byte(out), &image); err != nil {
		t.Fatal(err)
	}
	sum := md5.Sum(data)
	if image.Status != "Ready" || image.Format != "raw" || image.Size != int64(len(data)) || image.URL != "upload://disk.img" || image.MD5Sum != hex.EncodeToString(sum[:]) {
		t.Errorf("uploaded: %s", out)
	}
	if kept, err := os.ReadFile(image.BackupStorageRefs[0].InstallPath); err != nil || !bytes.Equal(kept, data) {
		t.Errorf("the store has %d bytes: %v", len(kept), err)
	}
	for what, c := range map[string]struct{ line, says string }{
		"not what was said": {"image upload " + disk + " --name bad --format qcow2 --backup-storage-uuids b", "not qcow2 as was said"},
		"no file":           {"image upload " + dir + "/none --name bad --backup-storage-uuids b", "cannot be read"},
		"a folder":          {"image upload " + dir + " --name bad --backup-storage-uuids b", "no regular file"},
		"no argument":       {"image upload --name bad --backup-storage-uuids b", "file is missing"},
	} {
		if _, text, code := sh.run("", strings.Fields(c.line)...); code != 1 || !strings.Contains(text, c.says) || strings.Count(text, "\n") != 1 {
			t.Errorf("%s: exit code %d: %s", what, code, text)
		}
	}
	if got := sh.ok("image ls --count"); got != "1\n" {
		t.Errorf("images: %q", got)
	}
}
