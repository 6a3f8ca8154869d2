package commandline

import (
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/integration/server"
)

// says wants each of the texts in what a command prints.
func (s *shell) says(line string, texts ...string) {
	s.t.Helper()
	out := s.ok(line)
	for _, text := range texts {
		if !strings.Contains(out, text) {
			s.t.Errorf("kumo %s does not say %q:\n%s", line, text, out)
		}
	}
}

// fails runs a command that the injected fault lets fail.
func (s *shell) fails(line string) {
	s.t.Helper()
	out, text, code := s.run("", strings.Fields(line)...)
	if code != 1 || !strings.Contains(text, "injected") {
		s.t.Errorf("kumo %s: exit code %d, %s%s", line, code, out, text)
	}
}

// Work that is stuck is listed, shown with its reason, tried again and gone.
func TestStuckWork(t *testing.T) {
	s := server.Start(t, server.Options{})
	sh := signedIn(t, s)
	sh.build()
	sh.ok("vm stop v")

	s.Faults("StartVM:fail=internal;StopVM:fail=unavailable;DestroyVM:fail=unavailable")
	sh.fails("vm start v")
	sh.says("flow ls --columns name,phase,resource,cause", "NAME", "start-vm", "undo-failed", "v ", "injected")
	sh.says("flow show start-vm", "start-on-host", "injected")
	sh.says("job trace "+strings.TrimSpace(sh.ok("job ls --where message=APIStartVmInstanceMsg --columns uuid -o name")), "start-vm", "StartVM", "injected")
	sh.fails("flow retry start-vm")
	s.Faults("")
	sh.ok("flow retry start-vm")
	sh.says("flow ls --count", "0\n")

	sh.ok("vm delete v --yes")
	s.Faults("DestroyVM:fail=unavailable")
	sh.ok("vm expunge v --yes")
	sh.says("gc ls --columns status,resourceType,context", "Idle", "VmInstance", "injected")
	left := strings.TrimSpace(sh.ok("gc ls --columns uuid -o name"))
	sh.fails("gc run " + left)
	s.Faults("")
	sh.ok("gc run " + left)
	sh.says("gc ls --count", "0\n")
}
