package api

import (
	"context"
	"net/http"
	"net/http/httptest"
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
