package server

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// goneWithin is how long a plugin process may take to follow its core.
const goneWithin = 5 * time.Second

// process is one running process; start tells it from a later one with the
// same PID.
type process struct {
	pid   int
	name  string
	start string
}

// stat reads what the kernel tells of a process after its name: state, parent
// and so on (proc(5), /proc/pid/stat from field 3).
func stat(pid int) ([]string, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, false // it has ended
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	return fields, len(fields) > 19
}

// plugins returns the plugin processes whose parent is pid.
func plugins(pid int) ([]process, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var list []process
	for _, path := range paths {
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return nil, err
		}
		fields, ok := stat(child)
		if !ok || fields[1] != strconv.Itoa(pid) {
			continue
		}
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", child))
		if err != nil {
			continue // it has ended
		}
		name := strings.TrimPrefix(filepath.Base(strings.TrimSuffix(exe, " (deleted)")), "kumo-plugin-")
		list = append(list, process{pid: child, name: name, start: fields[19]})
	}
	return list, nil
}

// alive reports whether a process still runs; one that only waits for its
// parent to take note of its end does not.
func (p process) alive() bool {
	fields, ok := stat(p.pid)
	return ok && fields[19] == p.start && fields[0] != "Z" && fields[0] != "X"
}

// wantGone fails the test when a process of the list outlives goneWithin.
func wantGone(t testing.TB, list []process) {
	t.Helper()
	deadline := time.Now().Add(goneWithin)
	for _, p := range list {
		for p.alive() {
			if time.Now().After(deadline) {
				t.Errorf("plugin process %d (%s) outlives its core by %s", p.pid, p.name, goneWithin)
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}
