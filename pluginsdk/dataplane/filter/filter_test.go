package filter

import (
	"net/netip"
	"testing"
)

func TestSpans(t *testing.T) {
	for _, c := range []struct {
		in   []string
		want string
	}{
		{[]string{"10.0.0.2", "10.0.0.1", "fd00::1"}, "10.0.0.1-10.0.0.1 10.0.0.2-10.0.0.2 "},
		{[]string{"10.0.0.0/24", "10.0.0.7", "10.0.0.5-10.0.1.9"}, "10.0.0.0-10.0.1.9 "},
		{[]string{"0.0.0.0/0", "255.255.255.255"}, "0.0.0.0-255.255.255.255 "},
		{[]string{"10.0.0.128/25", "10.0.0.0/25"}, "10.0.0.0-10.0.0.127 10.0.0.128-10.0.0.255 "},
	} {
		got := ""
		for _, s := range spans(c.in, true, true) {
			got += s.first.String() + "-" + s.last.String() + " "
		}
		if got != c.want {
			t.Errorf("%v: %s, want %s", c.in, got, c.want)
		}
	}
	for _, wrong := range []string{"", "x", "10.0.0.1/24", "10.0.0.0/33", "10.0.0.9-10.0.0.1", "10.0.0.1-fd00::1", "fe80::1%eth0", "::ffff:10.0.0.1", "10.0.0.1-", "-"} {
		if s, err := parseSpan(wrong, true); err == nil {
			t.Errorf("%q is %v", wrong, s)
		}
	}
	if _, err := parseSpan("10.0.0.1-10.0.0.2", false); err == nil {
		t.Error("a range is an address of a set")
	}
}

func TestAfter(t *testing.T) {
	for in, want := range map[string]string{"10.0.0.255": "10.0.1.0", "0.0.0.0": "0.0.0.1", "::ffff": "::1:0"} {
		if got, _ := netip.AddrFromSlice(after(netip.MustParseAddr(in).AsSlice())); got.String() != want {
			t.Errorf("after %s comes %s", in, got)
		}
	}
	if after(netip.MustParseAddr("255.255.255.255").AsSlice()) != nil {
		t.Error("something comes after the last address")
	}
}

func TestLocal(t *testing.T) {
	if got := local([]byte{0x52, 0x54, 0, 0x12, 0x34, 0x56}); got.String() != "fe80::5054:ff:fe12:3456" {
		t.Errorf("link-local is %s", got)
	}
}
