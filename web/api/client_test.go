package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// What is wrong is told on the machine itself; others learn no paths of it.
func TestHealthTellsStrangersLess(t *testing.T) {
	s := New(Options{Actions: action.NewRegistry(hclog.NewNullLogger()), Types: resource.NewRegistry(),
		Ready: func(context.Context) error {
			return errs.New(errs.Unavailable, "database /srv/kumo.db", "its disk is full")
		},
	}, hclog.NewNullLogger())
	for _, c := range []struct {
		from, header string
		all          bool
	}{
		{"127.0.0.1:4000", "", true},
		{"[::1]:4000", "", true},
		{"192.0.2.7:4000", "", false},
		{"127.0.0.1:4000", "X-Forwarded-For", false},
		{"127.0.0.1:4000", "Forwarded", false},
		{"", "", false},
	} {
		req := httptest.NewRequest(http.MethodGet, "/healthz", nil)
		if req.RemoteAddr = c.from; c.header != "" {
			req.Header.Set(c.header, "for=192.0.2.7")
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		if text := w.Body.String(); w.Code != http.StatusServiceUnavailable || strings.Contains(text, "/srv/kumo.db") != c.all {
			t.Errorf("from %q with %q: %d %s", c.from, c.header, w.Code, text)
		}
	}
}

// A client is whom the listed proxies name, and nobody else is believed.
func TestClientsOfProxies(t *testing.T) {
	s := New(Options{Actions: action.NewRegistry(hclog.NewNullLogger()), Types: resource.NewRegistry(),
		Proxies: func(context.Context) []netip.Prefix {
			return []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("2001:db8::1/128")}
		},
	}, hclog.NewNullLogger())
	for _, c := range []struct {
		from, said, want string
	}{
		{"192.0.2.7:4000", "", "192.0.2.7"},
		{"192.0.2.7:4000", "198.51.100.1", "192.0.2.7"},
		{"10.1.0.9:4000", "198.51.100.1", "198.51.100.1"},
		{"[::ffff:10.1.0.9]:4000", "198.51.100.1", "198.51.100.1"},
		{"10.1.0.9:4000", "203.0.113.66, 198.51.100.1", "198.51.100.1"},
		{"10.1.0.9:4000", "198.51.100.1, 10.1.3.3", "198.51.100.1"},
		{"[2001:db8::1]:4000", "2001:db8::7", "2001:db8::7"},
		{"10.1.0.9:4000", "unknown", "10.1.0.9"},
		{"10.1.0.9:4000", "", "10.1.0.9"},
		{"10.1.0.9:4000", "10.1.0.1", "10.1.0.1"},
	} {
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		if req.RemoteAddr = c.from; c.said != "" {
			req.Header.Set(forwardedFor, c.said)
		}
		if got := s.clientOf(req); got != c.want {
			t.Errorf("from %s, which names %q: %s, want %s", c.from, c.said, got, c.want)
		}
	}
}
