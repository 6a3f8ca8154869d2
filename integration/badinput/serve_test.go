package badinput

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// logLine is a line of the server's log.
var logLine = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\S+ \[[A-Z]+\] `)

// run runs kumo, which gives a plugin half a minute to start, until it ends by itself and returns its exit code and what it
// wrote to stderr beside its log.
func run(t *testing.T, binary string, args ...string) (code int, lines []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.Env = append(server.Environ(), "KUMO_CONFIG_DIR="+t.TempDir())
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	for line := range strings.Lines(stderr.String()) {
		if !logLine.MatchString(line) && !strings.HasPrefix(line, " ") { // a log's value of many lines is indented
			lines = append(lines, strings.TrimRight(line, "\n"))
		}
	}
	return cmd.ProcessState.ExitCode(), lines
}

// one fails the test unless kumo ended with 1 after one line with the words.
func one(t *testing.T, code int, lines []string, words ...string) {
	t.Helper()
	if code != 1 || len(lines) != 1 || !strings.HasPrefix(lines[0], "kumo: ") {
		t.Fatalf("exit code %d after %q; want 1 after one line", code, lines)
	}
	for _, w := range words {
		if !strings.Contains(lines[0], w) {
			t.Errorf("the error does not say %q: %s", w, lines[0])
		}
	}
}

// files lists a folder with the content of its files.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		found[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestServe(t *testing.T) {
	binary, pluginDir := server.Build(t, "simulator")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() }) // nothing was sent
	broken := server.Folder(t)
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(broken, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("kumo-plugin-script", "#!/bin/sh\nexit 3\n", 0o755)
	write("kumo-plugin-text", "this is no program\n", 0o755)
	write("kumo-plugin-other", "#!/bin/sh\nexec sleep 600\n", 0o755)
	garbage := write("garbage.db", strings.Repeat("no database ", 1000), 0o600)
	file := write("file", "", 0o600)
	config := write("config.yaml", "listen: 127.0.0.1:0\ncolour: blue\n", 0o600)
	for _, c := range []struct {
		name  string
		args  []string
		words []string
	}{
		{"unknown_plugin", []string{"--plugins", "simulator,nope"}, []string{"nope", "the folder has: ", "simulator"}},
		{"plugin_that_ends", []string{"--plugin-dir", broken, "--plugins", "script"}, []string{"plugin script"}},
		{"plugin_that_is_text", []string{"--plugin-dir", broken, "--plugins", "text"}, []string{"plugin text"}},
		{"no_plugin_folder", []string{"--plugin-dir", broken + "/none", "--plugins", ""}, []string{broken + "/none"}},
		{"database_that_is_garbage", []string{"--db", "sqlite:" + garbage}, []string{garbage}},
		{"database_in_no_folder", []string{"--db", "sqlite:" + broken + "/none/kumo.db"}, []string{broken + "/none"}},
		{"database_of_no_kind", []string{"--db", "oracle:x"}, []string{"oracle", "sqlite:PATH"}},
		{"database_server_that_is_not_there", []string{"--db", "mysql://u:secret@127.0.0.1:1/kumo"}, []string{"127.0.0.1:1"}},
		{"port_in_use", []string{"--listen", taken.Addr().String()}, []string{taken.Addr().String(), "--listen"}},
		{"address_of_nobody", []string{"--listen", "192.0.2.1:80"}, []string{"192.0.2.1:80", "--listen"}},
		{"address_that_is_none", []string{"--listen", "here"}, []string{"here"}},
		{"data_folder_that_is_a_file", []string{"--data-dir", file}, []string{file, "--data-dir"}},
		{"unknown_flag", []string{"--colour", "blue"}, []string{"--colour"}},
		{"unknown_log_level", []string{"--log-level", "loud"}, []string{"loud", "debug"}},
		{"config_that_is_not_there", []string{"--config", broken + "/none.yaml"}, []string{broken + "/none.yaml"}},
		{"config_with_an_unknown_key", []string{"--config", config}, []string{config, "colour"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := server.Folder(t)
			before := files(t, broken)
			args := append([]string{"serve"}, c.args...)
			for flag, value := range map[string]string{"--data-dir": dir, "--listen": server.FreeAddr(t), "--plugin-dir": pluginDir, "--plugins": "simulator"} {
				if !slices.Contains(c.args, flag) {
					args = append(args, flag, value)
				}
			}
			code, lines := run(t, binary, args...)
			one(t, code, lines, c.words...)
			if len(lines) > 0 && strings.Contains(lines[0], "secret") {
				t.Errorf("the error tells the password: %s", lines[0])
			}
			after := files(t, broken)
			for path, text := range before {
				if after[path] != text {
					t.Errorf("%s has changed", path)
				}
			}
		})
	}
}

// A program that starts and never speaks as a plugin is given up.
func TestPluginThatNeverSpeaks(t *testing.T) {
	t.Parallel()
	binary, _ := server.Build(t)
	dir := server.Folder(t)
	if err := os.WriteFile(filepath.Join(dir, "kumo-plugin-mute"), []byte("#!/bin/sh\nexec sleep 600\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	code, lines := run(t, binary, "serve", "--data-dir", dir, "--listen", server.FreeAddr(t), "--plugin-dir", dir, "--plugins", "mute")
	one(t, code, lines, "plugin mute")
}

// A database file that is damaged after it was in use is refused and left as
// it is.
func TestDamagedDatabase(t *testing.T) {
	t.Parallel()
	s := server.Start(t, server.Options{})
	if _, err := s.Client.Create(t.Context(), wire.Zones, wire.Params{"name": "z"}); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	path := filepath.Join(s.Dir, "kumo.db")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 20; i < 4096*4; i++ {
		text[i] ^= 0x5a
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	binary, pluginDir := server.Build(t, "simulator")
	code, lines := run(t, binary, "serve", "--data-dir", s.Dir, "--listen", server.FreeAddr(t), "--plugin-dir", pluginDir, "--plugins", "simulator")
	one(t, code, lines, path)
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, text) {
		t.Errorf("the damaged file was changed: %v", err)
	}
}

// Two servers do not share a data folder, and the first goes on.
func TestSecondServer(t *testing.T) {
	t.Parallel()
	s := server.Start(t, server.Options{})
	binary, pluginDir := server.Build(t, "simulator")
	code, lines := run(t, binary, "serve", "--data-dir", s.Dir, "--listen", server.FreeAddr(t), "--plugin-dir", pluginDir, "--plugins", "simulator")
	one(t, code, lines, s.Dir)
	if _, err := s.Client.Create(t.Context(), wire.Zones, wire.Params{"name": "z"}); err != nil {
		t.Errorf("the first server: %v", err)
	}
	if s.Plugin("simulator") == 0 {
		t.Error("the first server has lost its plugin")
	}
}

// A wrong password for the database server is told without the password.
func TestMariaDBCredentials(t *testing.T) {
	t.Parallel()
	dsn := mariadb.Start(t)
	login, place, _ := strings.Cut(strings.TrimPrefix(dsn, "mysql://"), "@")
	user, _, _ := strings.Cut(login, ":")
	binary, pluginDir := server.Build(t, "simulator")
	code, lines := run(t, binary, "serve", "--data-dir", server.Folder(t), "--listen", server.FreeAddr(t), "--plugin-dir", pluginDir, "--plugins", "simulator",
		"--db", "mysql://"+user+":wrong-one@"+place)
	addr, _, _ := strings.Cut(place, "/")
	one(t, code, lines, addr, user)
	if strings.Contains(strings.Join(lines, ""), "wrong-one") {
		t.Errorf("the error tells the password: %q", lines)
	}
}

// The command line's own errors are one line and exit code 1 too.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	s := server.Start(t, server.Options{})
	binary, _ := server.Build(t)
	nobody := "http://" + server.FreeAddr(t)
	for name, c := range map[string]struct{ args, words []string }{
		"no_login":        {[]string{"--server", s.URL, "zone", "ls"}, []string{s.URL, "kumo login"}},
		"no_server":       {[]string{"--server", nobody, "status"}, []string{nobody}},
		"unknown_command": {[]string{"fly"}, []string{"fly"}},
		"unknown_output":  {[]string{"--server", s.URL, "-o", "rot13", "status"}, []string{"rot13", "json"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, lines := run(t, binary, c.args...)
			one(t, code, lines, c.words...)
		})
	}
	if names := s.States(); len(names) != 0 {
		t.Errorf("there are guests: %v", slices.Sorted(func(yield func(string) bool) {
			for n := range names {
				if !yield(n) {
					return
				}
			}
		}))
	}
}
