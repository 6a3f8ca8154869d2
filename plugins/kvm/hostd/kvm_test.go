package hostd

import (
	"strings"
	"testing"
)

func TestOSRelease(t *testing.T) {
	for _, tc := range []struct{ text, distribution, release, version string }{
		{"ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n", "debian", "bookworm", "12"},
		{"ID=\"rocky\"\nVERSION_ID='9.4'\nVERSION=\"9.4 (Blue Onyx)\"\n# comment\n", "rocky", "9.4 (Blue Onyx)", "9.4"},
		{"", "", "", ""},
	} {
		d, r, v := osRelease([]byte(tc.text))
		if d != tc.distribution || r != tc.release || v != tc.version {
			t.Errorf("%q: %q %q %q", tc.text, d, r, v)
		}
	}
}

func TestProcessors(t *testing.T) {
	text := strings.Repeat("processor\t: 0\nphysical id\t: 0\ncpu MHz\t\t: 2596.1\n\nprocessor\t: 1\nphysical id\t: 1\ncpu MHz\t\t: 1000.0\n\n", 2)
	if num, sockets, mhz := processors([]byte(text)); num != 4 || sockets != 2 || mhz != 2596 {
		t.Errorf("%d processors, %d sockets, %d MHz", num, sockets, mhz)
	}
	if num, sockets, mhz := processors([]byte("processor\t: 0\n")); num != 1 || sockets != 1 || mhz != 0 {
		t.Errorf("%d processors, %d sockets, %d MHz", num, sockets, mhz)
	}
}

// The probe must agree with what it says: a reason, or none. On a processor
// without virtualisation the reason names it.
func TestKVMProbe(t *testing.T) {
	reason := kvmUsable()
	t.Logf("reason: %q", reason)
	if again := kvmUsable(); (again == "") != (reason == "") {
		t.Errorf("two answers: %q and %q", reason, again)
	}
}
