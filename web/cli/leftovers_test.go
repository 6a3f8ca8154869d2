package cli

import (
	"strings"
	"testing"
)

// What a delete has left behind is named after it; other answers say nothing of it.
func TestLeftoversAreNamed(t *testing.T) {
	server := fakeCloud(t)
	server.answers["DELETE /vm-instances/"+vmUUID] = `job {"leftovers":[{"resourceType":"VmInstance","resourceUuid":"v1","name":"web-1","reason":"may still run"},` +
		`{"resourceType":"Odd","resourceUuid":"o1","reason":"it is on fire"}],"moreLeftovers":7}`
	s := newSession(t, server.URL)
	s.signIn(t)
	if code, text := s.run("vm", "destroy", vmUUID, "--yes"); code != 0 {
		t.Fatal(text)
	}
	for _, want := range []string{": done\n", " web-1: may still run\n", "left behind: Odd o1: it is on fire\n", "left behind: 7 more, see kumo gc ls\n"} {
		if !strings.Contains(s.err.String(), want) {
			t.Errorf("it says %q, without %q", s.err.String(), want)
		}
	}
	server.answers["DELETE /vm-instances/"+vmUUID] = `job {}`
	s.err.Reset()
	if code, text := s.run("vm", "destroy", vmUUID, "--yes"); code != 0 || strings.Contains(s.err.String(), "left behind") {
		t.Errorf("%s: %s", text, s.err.String())
	}
}
