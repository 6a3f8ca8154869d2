package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWithoutLoginOrServer(t *testing.T) {
	server := fakeCloud(t)
	s := newSession(t, server.URL)
	notSignedIn := "kumo: server " + server.URL + ": not signed in (sign in with kumo login)"
	if _, text := s.run("vm", "ls"); text != notSignedIn {
		t.Error(text)
	}
	if code, _ := s.run("--help"); code != 0 || !strings.Contains(s.out.String(), "not signed in") {
		t.Errorf("help before the first login: %s", s.out.String())
	}
	s.signIn(t)
	server.Close()
	if _, text := s.run("vm", "ls"); text != "kumo: server "+server.URL+": nothing listens there (start it with kumo serve or make run, or name another by --server)" {
		t.Error(text)
	}
	if code, text := s.run("vm", "create", "--help"); code != 0 || !strings.Contains(s.out.String(), "--image") {
		t.Errorf("help without a server: %s %s", text, s.out.String())
	}
}

func TestSessionFileIsPrivateAndForgotten(t *testing.T) {
	server := fakeCloud(t)
	s := newSession(t, server.URL)
	s.signIn(t)
	file := filepath.Join(s.env["KUMO_CONFIG_DIR"], "sessions.json")
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
		if sent := last == "DELETE /vm-instances/"+vmUUID; sent != c.sent || (code == 0) != c.sent {
			t.Errorf("answer %q: sent = %v, exit code %d %s", c.answer, sent, code, text)
		}
		if !strings.Contains(s.err.String(), "delete vm web-1? [y/N] ") {
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

func TestStatus(t *testing.T) {
	server := fakeCloud(t)
	server.answers["GET /healthz"] = `{"plugins":{"kvm":"running"}}`
	server.answers["PUT /management-nodes/actions"] = `{"version":"1.2.3"}`
	s := newSession(t, server.URL)
	code, text := s.run("status", "--pid-file", "/nonexistent")
	if want := "server   " + server.URL + "   serving\nversion  1.2.3\n" + "plugin   kvm            running\n"; code != 0 || s.out.String() != want {
		t.Errorf("got %q %s, want %q", s.out.String(), text, want)
	}
	// What a server says of itself does not act on the terminal.
	server.answers["GET /healthz"] = `{"plugins":{"k\u202evm":"down: \u001b[2J\u009b\u2066x"}}`
	server.answers["PUT /management-nodes/actions"] = `{"version":"1\u001b]0;x\u0007"}`
	if _, text := s.run("status"); strings.ContainsAny(s.out.String()+text, "\x1b\u009b\u202e\u2066\x07") || !strings.Contains(s.out.String(), `down: \u001b[2J\u009b\u2066x`) || !strings.Contains(s.out.String(), `1\u001b]0;x\u0007`) {
		t.Errorf("got %q %q", s.out.String(), text)
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
