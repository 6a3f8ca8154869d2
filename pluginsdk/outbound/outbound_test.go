package outbound

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

func TestCheck(t *testing.T) {
	listed := func() []netip.Prefix {
		return []netip.Prefix{netip.MustParsePrefix("127.9.0.0/16"), netip.MustParsePrefix("169.254.1.0/24")}
	}
	for address, allowed := range map[string][2]bool{ // to accounts, to administrators
		"192.0.2.1": {true, true}, "10.0.0.1": {true, true}, "2001:db8::1": {true, true},
		"127.0.0.1": {false, true}, "127.200.0.9": {false, true}, "::1": {false, true}, "::ffff:127.0.0.1": {false, true},
		"169.254.169.254": {false, false}, "fe80::1": {false, false}, "fe80::1%eth0": {false, false}, "::ffff:169.254.169.254": {false, false},
		"0.0.0.0": {false, false}, "::": {false, false}, "224.0.0.1": {false, false}, "ff02::1": {false, false}, "255.255.255.255": {false, false},
		"127.9.8.7": {true, true}, "169.254.1.9": {true, true},
	} {
		for i, want := range allowed {
			err := Policy{Trusted: i == 1, Listed: listed}.Check(netip.MustParseAddr(address))
			if (err == nil) != want || err != nil && errs.ClassOf(err) != errs.Denied {
				t.Errorf("%s, trusted %t: %v", address, i == 1, err)
			}
		}
	}
}

// An address of this machine that is not loopback is not for accounts either.
func TestOwnAddresses(t *testing.T) {
	for _, ip := range own.get() {
		if err := (Policy{}).Check(ip); err == nil {
			t.Errorf("%s is this machine's", ip)
		}
		if err := (Policy{Trusted: true}).Check(ip); err != nil && !ip.IsLinkLocalUnicast() {
			t.Error(err)
		}
	}
	if len(own.get()) == 0 {
		t.Error("this machine has no address")
	}
}

// Names are resolved before they are checked, and redirects are checked too.
func TestTransport(t *testing.T) {
	called := 0
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called++ }))
	t.Cleanup(inside.Close)
	redirecting := listenOn(t, "127.9.0.1", http.RedirectHandler(inside.URL, http.StatusFound))
	_, port, _ := net.SplitHostPort(inside.Listener.Addr().String())
	listed := func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("127.9.0.0/16")} }
	for _, target := range []string{inside.URL, "http://localhost:" + port, redirecting} {
		_, err := (&http.Client{Transport: Policy{Listed: listed}.Transport()}).Get(target)
		if !errors.Is(err, errs.Denied) || !strings.Contains(err.Error(), "outbound/allowedNetworks") {
			t.Errorf("%s: %v", target, err)
		}
	}
	if called != 0 {
		t.Errorf("what is inside was called %d times", called)
	}
	resp, err := (&http.Client{Transport: Policy{Trusted: true}.Transport()}).Get(redirecting)
	if err != nil || called != 1 {
		t.Fatalf("an administrator's call: %v, %d calls", err, called)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
}

// The proxy that the operator chose may be inside; what is asked of it is not
// checked here.
func TestProxy(t *testing.T) {
	asked := ""
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = r.URL.String() }))
	t.Cleanup(proxy.Close)
	tr := Policy{}.transport(func(*http.Request) (*url.URL, error) { return url.Parse(proxy.URL) })
	resp, err := (&http.Client{Transport: tr}).Get("http://images.example/a")
	if err != nil || asked != "http://images.example/a" {
		t.Fatalf("asked for %q: %v", asked, err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]string{"http://p": "p:80", "https://p": "p:443", "socks5://p": "p:1080", "http://[::1]:8": "[::1]:8"} {
		u, err := url.Parse(text)
		if err != nil || hostPort(u) != want {
			t.Errorf("%s is dialled as %s: %v", text, hostPort(u), err)
		}
	}
}

func TestShown(t *testing.T) {
	for text, want := range map[string]string{
		"https://me:secret@h:8/a%20b?sig=1#sha256:x": "https://h:8/a%20b", "http://h?": "http://h", "file:///a/b": "file:///a/b", "http://[::1]:8/": "http://[::1]:8/",
	} {
		u, err := url.Parse(text)
		if err != nil || Shown(u) != want || u.String() != text {
			t.Errorf("%s is shown as %s, and is %s: %v", text, Shown(u), u, err)
		}
	}
}

func listenOn(t *testing.T, ip string, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}
