package commandline

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/integration/server"
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
	return &shell{t: t, binary: binary, env: append(server.Environ(), "KUMO_SERVER="+s.URL, "KUMO_CONFIG_DIR="+t.TempDir(), "KUMO_CACHE_DIR="+t.TempDir())}
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

// signedIn is a shell after the login.
func signedIn(t *testing.T, s *server.Server) *shell {
	t.Helper()
	sh := newShell(t, s)
	if _, text, code := sh.run(server.Password+"\n", "login", "--password-file", "-"); code != 0 {
		t.Fatal(text)
	}
	return sh
}

// build makes a cloud with the running VM v.
func (s *shell) build() {
	s.t.Helper()
	for _, line := range []string{
		"zone create z",
		"cluster create c --zone z --hypervisor-type Simulator",
		"host create h --kind simulator --cluster c --management-ip 10.1.1.1 --cpu-capacity 8 --memory-capacity 8G",
		"ps create p --kind simulator --zone z --url any --total-capacity 100G --available-capacity 100G --total-physical-capacity 100G --available-physical-capacity 100G",
		"cluster attach-primary-storage c --primary-storage p",
		"bs create b --kind simulator --url any --total-capacity 100G --available-capacity 100G",
		"zone attach-backup-storage z --backup-storage b",
		"image create i --url http://127.0.0.1/i.qcow2 --format qcow2 --backup-storage b",
		"offering create o --cpu-num 1 --memory-size 64M",
		"disk-offering create d --disk-size 1G",
		"l2 create l2 --kind no-vlan --zone z --physical-interface eth0",
		"cluster attach-l2 c --l2 l2",
		"l3 create l3 --l2 l2",
		"l3 add-ip-range l3 --name r --start-ip 10.5.0.10 --end-ip 10.5.0.20 --netmask 255.255.255.0 --gateway 10.5.0.1",
		"l3 add-dns l3 --dns 10.5.0.1",
		"vm create v --offering o --image i --network l3 --user-tag blue",
	} {
		s.ok(line)
	}
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
	sh.build()
	// A table shows names; what a person chooses is in it.
	if got := sh.ok("vm ls --where state=Running --where host=h --sort -createDate --columns name,state,host"); got != "NAME   STATE     HOST\nv      Running   h\n" {
		t.Errorf("list printed %q", got)
	}
	if got := sh.ok("l2 ls --columns name,cluster"); got != "NAME   CLUSTER\nl2     c\n" {
		t.Errorf("L2 networks: %q", got)
	}
	// What a plugin's hosts have beside others' is asked for like any field.
	if got := sh.ok("host ls --where cpuCapacity=8 --columns name,memoryCapacity"); !strings.HasPrefix(got, "NAME   MEMORY") || !strings.HasSuffix(got, "\nh      8G\n") {
		t.Errorf("hosts: %q", got)
	}
	if got := sh.ok("query VmInstance vmNics.ip~=10.5.0.% zone.name=z --columns name,state"); got != "NAME   STATE\nv      Running\n" {
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

// What was typed before the schema: names as flags, references with their UUIDs,
// the words of messages.
func TestWordsOfBefore(t *testing.T) {
	s := server.Start(t, server.Options{})
	sh := signedIn(t, s)
	for _, line := range []string{
		"zone create --name z",
		"cluster add --name c --zone-uuid z --hypervisor-type Simulator",
		"host add --kind simulator --name h --cluster-uuid c --management-ip 10.1.1.1 --cpu-capacity 8 --memory-capacity 8G",
		"bs create --kind simulator --name b --url any --total-capacity 100G --available-capacity 100G",
		"zone attach-backup-storage z --backup-storage-uuid b",
		"image create --name i --url http://127.0.0.1/i.qcow2 --format qcow2 --backup-storage-uuids b",
		"instance-offering create --name o --cpu-num 1 --memory-size 64M",
		"l2 create --kind no-vlan --name l2 --zone-uuid z --physical-interface eth0",
		"cluster attach-l2 c --l2-network-uuid l2",
		"l3 create --name l3 --l2-network-uuid l2",
		"l3 add-range l3 --name r --start-ip 10.5.0.10 --end-ip 10.5.0.20 --netmask 255.255.255.0 --gateway 10.5.0.1",
		"ps add --kind simulator --name p --zone-uuid z --url any --total-capacity 100G --available-capacity 100G --total-physical-capacity 100G --available-physical-capacity 100G",
		"cluster attach-primary-storage c --primary-storage-uuid p",
		"vm create --name v --instance-offering-uuid o --image-uuid i --l3-network-uuids l3 --zone-uuid z --strategy CreateStopped",
		"vm get v",
		"vm ls name=v --fields name,uuid",
		"zone disable z",
		"vm destroy v --yes",
	} {
		sh.ok(line)
	}
}

// A plan shows what would go, and takes nothing.
func TestPlan(t *testing.T) {
	s := server.Start(t, server.Options{})
	sh := signedIn(t, s)
	sh.ok("zone create z")
	sh.ok("cluster create c --zone z --hypervisor-type Simulator")
	out := sh.ok("zone delete z --plan")
	if !strings.Contains(out, "delete zone z (") || !strings.Contains(out, "└─ delete cluster c (") || !strings.Contains(out, "2 deleted, 0 detached") {
		t.Errorf("plan:\n%s", out)
	}
	if got := sh.ok("zone ls -o name"); got != "z\n" {
		t.Errorf("after the plan: %q", got)
	}
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
	sh := signedIn(t, s)
	sh.ok("bs create --kind image-store --name b --url " + filepath.Join(dir, "store") + " --hostname 127.0.0.1 --username root --set password=not-used")
	disk := filepath.Join(dir, "disk.img")
	data := make([]byte, 3<<20)
	for i := range data {
		data[i] = byte(i * i >> 8)
	}
	if err := os.WriteFile(disk, data, 0o600); err != nil {
		t.Fatal(err)
	}
	out := sh.ok("image upload " + disk + " --name up --backup-storage b -o json")
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
		"not what was said": {"image upload " + disk + " --name bad --format qcow2 --backup-storage b", "not qcow2 as was said"},
		"no file":           {"image upload " + dir + "/none --name bad --backup-storage b", "cannot be read"},
		"a folder":          {"image upload " + dir + " --name bad --backup-storage b", "no regular file"},
		"no argument":       {"image upload --name bad --backup-storage b", "file is missing"},
	} {
		if _, text, code := sh.run("", strings.Fields(c.line)...); code != 1 || !strings.Contains(text, c.says) || strings.Count(text, "\n") != 1 {
			t.Errorf("%s: exit code %d: %s", what, code, text)
		}
	}
	if got := sh.ok("image ls --count"); got != "1\n" {
		t.Errorf("images: %q", got)
	}
}
