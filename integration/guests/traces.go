package guests

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/rig"
)

// runner makes commands for the sandbox or for a machine in it.
type runner func(name string, args ...string) *exec.Cmd

// Traces is what a cloud can leave on a machine, one line each.
type Traces []string

// traceCommands list one thing a line, without what changes by itself.
var traceCommands = map[string][]string{
	"link":      {"ip", "-o", "-br", "link"},
	"address":   {"ip", "-o", "-br", "-4", "addr"},
	"route":     {"ip", "route"},
	"namespace": {"ip", "netns", "list"},
	"nft":       {"nft", "list", "ruleset"},
	"domain":    {"virsh", "-q", "-c", "qemu:///system", "list", "--all", "--name"},
}

// traceFolders are those in which a cloud works, below the root of the machine.
var traceFolders = []string{Base, "/var/log/libvirt/qemu", "/var/lib/libvirt/qemu/nvram", "/var/lib/libvirt/images"}

// LookAt lists those of a machine.
func LookAt(t testing.TB, m *rig.Machine) Traces { return look(t, m.Folder, m.Command) }

func look(t testing.TB, root string, run runner) Traces {
	t.Helper()
	var all Traces
	for what, args := range traceCommands {
		out, err := run(args[0], args[1:]...).Output()
		if err != nil {
			t.Fatalf("%s: %v", strings.Join(args, " "), err)
		}
		for line := range strings.Lines(string(out)) {
			if line = strings.TrimSpace(line); line != "" {
				all = append(all, what+" "+settled(what, line))
			}
		}
	}
	for _, folder := range traceFolders {
		for _, path := range Files(t, filepath.Join(root, folder)) {
			if !strings.HasSuffix(path, "/") && !within(path, filepath.Join(root, Base, "server")) {
				all = append(all, "file "+strings.TrimPrefix(path, strings.TrimRight(root, "/")))
			}
		}
	}
	all = append(all, processes(t, run)...)
	slices.Sort(all)
	return all
}

// storeMarker stays in an image store's folder, which it tells to be a store's
// own when it is added once more.
const storeMarker = ImageFolder + "/.kumo-image-store"

// Files lists a folder and all that is in it and below; folders end with "/". A
// missing one gives none.
func Files(t testing.TB, folder string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			path += "/"
		}
		if path != storeMarker {
			list = append(list, path)
		}
		return err
	})
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// settled leaves out what changes by itself: the kernel makes MAC addresses up,
// numbers peers, and takes a moment to see that a cable is plugged in.
func settled(what, line string) string {
	if what != "link" && what != "address" {
		return line
	}
	fields := strings.Fields(line)
	name, _, _ := strings.Cut(fields[0], "@")
	if what == "link" {
		return name
	}
	return strings.Join(append([]string{name}, fields[2:]...), " ")
}

func within(path, folder string) bool { return strings.HasPrefix(path, folder+"/") }

// processes lists programs with their first arguments: those of a machine are
// the ones that see its network.
func processes(t testing.TB, run runner) Traces {
	t.Helper()
	out, err := run("readlink", "/proc/self/ns/pid").Output()
	if err != nil {
		t.Fatal(err)
	}
	stats, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var all Traces
	for _, file := range stats {
		ns, err := os.Readlink(filepath.Join(filepath.Dir(file), "ns/pid"))
		if err != nil || ns != strings.TrimSpace(string(out)) {
			continue // it has ended, or is another machine's
		}
		text, err := os.ReadFile(file)
		if err != nil || len(text) == 0 {
			continue // it has ended
		}
		args := strings.Split(string(bytes.TrimRight(text, "\x00")), "\x00")
		if filepath.Base(args[0]) == "readlink" {
			continue
		}
		all = append(all, "process "+strings.Join(args[:min(len(args), 6)], " "))
	}
	return all
}

// Same fails the test for each line that one of them has and the other has not.
// What ends by itself has a few seconds to do so.
func Same(t testing.TB, before Traces, now func() Traces) {
	t.Helper()
	var differences []string
	for begin := time.Now(); time.Since(begin) < 5*time.Second; time.Sleep(100 * time.Millisecond) {
		if differences = compare(before, now()); len(differences) == 0 {
			return
		}
	}
	for _, d := range differences {
		t.Error(d)
	}
}

func compare(before, after Traces) []string {
	var list []string
	for _, line := range before {
		if !slices.Contains(after, line) {
			list = append(list, fmt.Sprintf("gone: %s", line))
		}
	}
	for _, line := range after {
		if !slices.Contains(before, line) {
			list = append(list, fmt.Sprintf("left: %s", line))
		}
	}
	return list
}
