package kinds

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const (
	ed25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ0c4c6oYgqkq6lY3l9b2m0m7v2i0v3p0wq5n8z1x2y"
	// other is another key, for texts with several.
	other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ0c4c6oYgqkq6lY3l9b2m0m7v2i0v3p0wq5n8z1x3y"
)

// spelled has values as people write them, and the spelling of each; "" where it
// is refused.
var spelled = map[string]map[string]string{
	"addr": {
		"192.0.2.53": "192.0.2.53", " 192.0.2.53\n": "192.0.2.53", "2001:DB8:0:0:0:0:0:53": "2001:db8::53", "::ffff:192.0.2.1": "192.0.2.1", "127.0.0.1": "127.0.0.1", "fe80::1": "fe80::1",
		"0.0.0.0": "", "::": "", "224.0.0.1": "", "ff02::1": "", "255.255.255.255": "", "240.0.0.1": "", "0.1.2.3": "", "fe80::1%eth0": "", "::ffff:224.0.0.1": "",
		"192.0.2.053": "", "192.0.2": "", "192.0.2.1/24": "", "dns.example": "", "": "", "1.2.3.4 5.6.7.8": "", "[::1]": "",
	},
	"addr4": {
		"10.0.0.1": "10.0.0.1", "100.64.0.1": "100.64.0.1", "10.0.0.1\r\n": "10.0.0.1",
		"2001:db8::1": "", "::ffff:10.0.0.1": "", "127.0.0.1": "", "169.254.169.254": "", "0.0.0.0": "", "239.1.1.1": "", "255.255.255.255": "", "250.0.0.1": "",
	},
	"cidr4": {
		"10.0.0.0/24": "10.0.0.0/24", "10.9.8.7/16": "10.9.0.0/16", "0.0.0.0/0": "0.0.0.0/0", "1.2.3.4/0": "0.0.0.0/0", "192.0.2.1/32": "192.0.2.1/32", "224.0.0.0/4": "224.0.0.0/4",
		"10.0.0.0": "", "10.0.0.0/33": "", "10.0.0.0/08": "", "2001:db8::/32": "", "127.0.0.0/8": "", "0.0.0.0/8": "", "240.0.0.0/4": "", "10.0.0.0/255.0.0.0": "",
	},
	"netmask4": {"255.255.255.0": "255.255.255.0", "255.255.255.255": "255.255.255.255", "128.0.0.0": "128.0.0.0", "0.0.0.0": "", "255.0.255.0": "", "0.0.0.255": "", "24": "", "ffff::": ""},
	"mac": {
		"FA:16:3E:00:00:01": "fa:16:3e:00:00:01", "fa-16-3e-00-00-01": "fa:16:3e:00:00:01", "fa16.3e00.0001": "fa:16:3e:00:00:01", "fa163e000001": "fa:16:3e:00:00:01",
		"fe:94:0c:39:75:c6": "", "01:00:5e:00:00:01": "", "ff:ff:ff:ff:ff:ff": "", "00:00:00:00:00:00": "", "fa:16:3e:00:00": "", "fa:16:3e:00:00:00:00:01": "",
	},
	"label": {"web07": "web07", "WEB": "WEB", "7": "7", "xn--nxasmq6b": "xn--nxasmq6b", strings.Repeat("a", 63): strings.Repeat("a", 63), strings.Repeat("a", 64): "", "-a": "", "a-": "", "a_b": "", "a.b": "", "ñ": "", "a b": "", "": ""},
	"domain": {
		"corp.example": "corp.example", "corp.example.": "corp.example", "localhost": "localhost", "a.b-c.d1": "a.b-c.d1",
		".example": "", "a..b": "", "a.-b.c": "", "a.b_c": "", "192.0.2.1": "", "1.2.3": "", "123": "", strings.Repeat(strings.Repeat("a", 49)+".", 5) + "abcd": "", strings.Repeat("a", 64) + ".b": "", "": "", ".": "",
	},
	"host": {"127.0.0.1": "127.0.0.1", "2001:DB8::1": "2001:db8::1", "kvm1.example.": "kvm1.example", "0.0.0.0": "", "224.0.0.5": "", "256.1.1.1": "", "a;b": "", "fe80::1%eth0": ""},
	"hostname": {
		"web07": "web07", "7": "7", " Web.corp.example.\n": "Web.corp.example", strings.Repeat("a", 63) + ".example": strings.Repeat("a", 63) + ".example",
		"web.": "", "10.0.0.1": "", "web.7": "", "a_b.example": "", ".example": "", strings.Repeat("a", 64): "", "a b": "", "": "", ".": "",
	},
	"keys": {
		ed25519: ed25519, "# mine\r\n\r\n  " + ed25519 + " me \r\n#x\n" + other + "\n" + ed25519 + " me\n\n": ed25519 + " me\n" + other,
		ed25519 + "\n" + other + "\nssh-ed25519 AAAA": "", ed25519 + "\n-----BEGIN OPENSSH PRIVATE KEY-----\n": "", ed25519 + "\n" + other + " a\x1bb": "", "# mine\n\n": "", "": "",
	},
	"device": {"eth0": "eth0", "enp3s0f0.100": "enp3s0f0.100", "br_x-1": "br_x-1", "": "", ".": "", "../x": "", "-e": "", "a b": "", "a/b": "", strings.Repeat("e", 16): ""},
	"name":   {"web": "web", " Ñandú \n": "Ñandú", "名 1": "名 1", "": "", " ": "", "a\nb": "", "a\x1b[31m": "", "a\x00": "", "evil\u202egpj": "", "\ufeffa": ""},
	"endpoint": {
		"0.0.0.0:7172": "0.0.0.0:7172", "127.0.0.1:0": "127.0.0.1:0", " [::1]:80 ": "[::1]:80", "[2001:DB8::1]:80": "[2001:db8::1]:80",
		"localhost:80": "", "10.0.0.1": "", "10.0.0.1:65536": "", ":80": "", "[fe80::1%eth0]:80": "", "": "",
	},
	"networks": {
		"10.0.0.0/24": "10.0.0.0/24", " 10.1.2.3/8,\n2001:DB8::1 ": "10.0.0.0/8,2001:db8::1", "192.0.2.1/32": "192.0.2.1", "127.0.0.0/8": "127.0.0.0/8", "::ffff:10.0.0.0/104": "10.0.0.0/8",
		"": "", ",": "", "10.0.0.0/33": "", "fe80::1%eth0": "", "10.0.0.0/8;11.0.0.0/8": "", "10.0.0.0/8,example.org": "", "10.0.0.256": "",
	},
	"path": {
		"/a/b.img": "/a/b.img", " /a//b/./c/ \n": "/a/b/c", "/": "/", "/a b/ü": "/a b/ü", "/..a/b..": "/..a/b..",
		"": "", "a/b": "", "./a": "", "~/a": "", "/a/../b": "", "/..": "", "/a\nb": "", "/a\x00b": "", "file:///a": "", "/" + strings.Repeat("a", 4000): "",
	},
	"plainpath": {
		"/srv/images/": "/srv/images", "/a/b_c-d+e@f.g": "/a/b_c-d+e@f.g",
		"/": "", "//": "", "/a b": "", "/a,b": "", "/a'b": "", "/ü": "", "/a/../b": "", "a": "", "/a:b": "", "/a\x7f": "",
	},
	"key": {
		ed25519: ed25519, ed25519 + " me@example\r\n": ed25519 + " me@example", "# mine\n\n" + ed25519 + "\n": ed25519, `no-pty,from="10.0.0.0/8" ` + ed25519: `no-pty,from="10.0.0.0/8" ` + ed25519,
		ed25519 + "\n" + other: "", "ssh-ed25519 AAAA": "", "me": "", "": "", "# mine": "", "-----BEGIN OPENSSH PRIVATE KEY-----": "", ed25519 + " a\x1bb": "",
	},
}

func TestParse(t *testing.T) {
	for _, k := range All {
		values := spelled[k.Name]
		if len(values) < 4 {
			t.Errorf("kind %s has no values to try", k.Name)
		}
		for text, want := range values {
			got, err := k.Parse(text)
			if got != want || (err == nil) != (want != "") {
				t.Errorf("%s %.100q: %q, %v, want %q", k.Name, text, got, err, want)
			}
			if want == "" {
				if err != nil && (!strings.Contains(err.Error(), k.Is) || len(err.Error()) > 600) {
					t.Errorf("%s %.100q: the error does not say what is wanted, or is long: %v", k.Name, text, err)
				}
			} else if again, err := k.Parse(got); again != got || err != nil {
				t.Errorf("%s: the spelling %q is spelled %q, %v", k.Name, got, again, err)
			}
		}
		if _, err := k.Parse(strings.Repeat("1", k.Max+1)); err == nil || len(err.Error()) > 300 {
			t.Errorf("%s: %d characters: %v", k.Name, k.Max+1, err)
		}
	}
}

func TestOf(t *testing.T) {
	if !slices.IsSortedFunc(All, func(a, b Kind) int { return strings.Compare(a.Name, b.Name) }) {
		t.Fatal("the kinds are not in order")
	}
	for _, k := range All {
		if of, ok := Of(k.Name); !ok || of.Is != k.Is || k.Rule == "" {
			t.Errorf("kind %s: %v, %t", k.Name, of, ok)
		}
	}
	if _, ok := Of("nothing"); ok {
		t.Error("there is a kind nothing")
	}
}

func TestHarmfulCharacters(t *testing.T) {
	for text, want := range map[string]rune{
		"web-1": -1, "雲 ☁ é": -1, "": -1,
		"a\x00b": 0, "a\x1b[31mb": 0x1b, "\u202ereversed": 0x202e, "a\u2066b": 0x2066, "\x7f": 0x7f, "a\u0085": 0x85, "\ufeffx": 0xfeff,
	} {
		for _, name := range []bool{true, false} {
			if got := Harmful(text, name); got != want {
				t.Errorf("%q, name %t: %U, want %U", text, name, got, want)
			}
		}
	}
	if Harmful("two\nlines\tand a tab", false) != -1 || Harmful("two\nlines", true) != '\n' {
		t.Error("lines are for texts, not for names")
	}
}

func TestNetworks(t *testing.T) {
	for text, want := range map[string]string{"": "[]", " ": "[]", "10.1.2.3/8,::1 , 192.0.2.7": "[10.0.0.0/8 ::1/128 192.0.2.7/32]", ",": "", "10.0.0.0/33": "", "localhost": ""} {
		got, err := Networks(text)
		if (err == nil) != (want != "") || err == nil && fmt.Sprint(got) != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// What goes into configurations as it is must be spelled as it is stored.
func TestExact(t *testing.T) {
	for text, want := range map[string]bool{"corp.example": true, "corp.example.": false, "corp.example\n": false, " corp.example": false, "a_b": false, "": false} {
		if err := Exact("domain", text); (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
	if got, err := Parse("mac", "FA-16-3E-00-00-01"); got != "fa:16:3e:00:00:01" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := Parse("colour", "red"); err == nil {
		t.Error("a kind that is none has a value")
	}
}

// An error about a secret does not have it.
func TestParseSecret(t *testing.T) {
	k, _ := Of("host")
	if got, err := k.ParseSecret(" Host.example. "); got != "Host.example" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := k.ParseSecret("s3cret word"); err == nil || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), k.Is) {
		t.Errorf("%v", err)
	}
}

func TestShown(t *testing.T) {
	for text, want := range map[string]string{
		"/srv/images": "/srv/images", "relative": "relative", "cifs://h/share?user=foo&password=bar": "cifs://h/share", "//foo:bar@h/share": "//h/share",
		"foo:bar@h:/export": "…@h:/export", "cifs://u:bar@h/my share": "cifs://h/my%20share", "http://u:bar@h:bad/x?k=bar": "…@h:bad/x", "%zz?password=bar": "%zz", "": "",
	} {
		if got := Shown(text); got != want {
			t.Errorf("%s is shown as %s, want %s", text, got, want)
		}
	}
}

// What a kind refuses is repeated without the secrets of URLs, with blanks or not.
func TestRefusedSecrets(t *testing.T) {
	for _, text := range []string{"cifs://u:bar@h/x", "cifs://u:bar@h/my share", "//u:bar@h/x?k=bar", "u:bar@h:/my share"} {
		for _, k := range All {
			if _, err := k.Parse(text); err != nil && strings.Contains(err.Error(), "bar") {
				t.Errorf("%s says %v", k.Name, err)
			}
		}
	}
}
