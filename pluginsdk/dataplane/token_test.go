package dataplane

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// askMetadata asks as a guest; header names are as clients write them.
func askMetadata(h http.Handler, guest, method, path string, headers map[string]string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.RemoteAddr = guest + ":12345"
	for k, v := range headers {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestMetadataTokens(t *testing.T) {
	h := &metadataHandler{tokens: newTokens()}
	h.guests.Store(&guests{
		netip.MustParseAddr("10.40.0.11"): {InstanceId: "i-1", Hostname: "web-1.cloud.test"},
		netip.MustParseAddr("10.40.0.12"): {InstanceId: "i-2"},
	})
	const ttl = "X-aws-ec2-metadata-token-ttl-seconds"
	put := func(path string, headers map[string]string) *httptest.ResponseRecorder {
		return askMetadata(h, "10.40.0.11", http.MethodPut, path, headers)
	}
	given := put("/latest/api/token", map[string]string{ttl: "21600"})
	if given.Code != http.StatusOK || given.Header().Get(ttl) != "21600" || given.Body.Len() == 0 {
		t.Fatalf("%d %v %q", given.Code, given.Header(), given.Body)
	}
	token := given.Body.String()
	for name, c := range map[string]struct {
		path    string
		headers map[string]string
		want    int
	}{
		"no life":            {"/latest/api/token", nil, 400},
		"life of words":      {"/latest/api/token", map[string]string{ttl: "long"}, 400},
		"no time":            {"/latest/api/token", map[string]string{ttl: "0"}, 400},
		"too long":           {"/latest/api/token", map[string]string{ttl: "21601"}, 400},
		"through a proxy":    {"/latest/api/token", map[string]string{ttl: "60", "X-Forwarded-For": "10.0.0.1"}, 403},
		"slash at the end":   {"/latest/api/token/", map[string]string{ttl: "60"}, 200},
		"by date":            {"/2009-04-04/api/token", map[string]string{ttl: "60"}, 200},
		"another page":       {"/latest/meta-data/", map[string]string{ttl: "60"}, 405},
		"of no version":      {"/1999-01-01/api/token", map[string]string{ttl: "60"}, 405},
		"below the question": {"/latest/api/token/x", map[string]string{ttl: "60"}, 405},
	} {
		if got := put(c.path, c.headers); got.Code != c.want {
			t.Errorf("%s: %d %s", name, got.Code, got.Body)
		}
	}
	if got := askMetadata(h, "10.40.0.99", http.MethodPut, "/latest/api/token", map[string]string{ttl: "60"}); got.Code != 404 {
		t.Errorf("a stranger gets %d", got.Code)
	}
	shown := func(guest, token string) *httptest.ResponseRecorder {
		return askMetadata(h, guest, http.MethodGet, "/latest/meta-data/instance-id/", map[string]string{"X-aws-ec2-metadata-token": token})
	}
	if got := shown("10.40.0.11", token); got.Code != 200 || got.Body.String() != "i-1" {
		t.Errorf("with its token: %d %s", got.Code, got.Body)
	}
	ended := h.tokens.issue(netip.MustParseAddr("10.40.0.11"), time.Now())
	for name, got := range map[string]*httptest.ResponseRecorder{
		"another's": shown("10.40.0.12", token), "changed": shown("10.40.0.11", "B"+token[1:]), "empty": shown("10.40.0.11", ""),
		"of an earlier service": shown("10.40.0.11", newTokens().issue(netip.MustParseAddr("10.40.0.11"), time.Now().Add(time.Hour))),
		"ended":                 shown("10.40.0.11", ended), "long": shown("10.40.0.11", strings.Repeat("A", 8000)),
	} {
		if got.Code != 401 {
			t.Errorf("token %s: %d %s", name, got.Code, got.Body)
		}
	}
	if got := askMetadata(h, "10.40.0.11", http.MethodGet, "/latest/meta-data/local-hostname", nil); got.Code != 200 || got.Body.String() != "web-1.cloud.test" {
		t.Errorf("without a token: %d %s", got.Code, got.Body)
	}
}

// A slash at the end of a path, or two in it, asks for the same page.
func TestMetadataSlashes(t *testing.T) {
	m := &hostv1.Metadata{InstanceId: "i-1", Hostname: "web", SshKeys: []string{"ssh-ed25519 AAAA one"}, UserData: []byte("x")}
	for _, path := range []string{"/", "/latest", "/latest/meta-data", "/latest/meta-data/hostname", "/latest/user-data",
		"/latest/meta-data/public-keys", "/latest/meta-data/public-keys/0", "/latest/meta-data/public-keys/0/openssh-key"} {
		want, ok := metadataPage(m, path)
		for _, other := range []string{path + "/", "/" + path} {
			got, also := metadataPage(m, other)
			if !ok || !also || string(got) != string(want) {
				t.Errorf("%s: %q %v, not %q", other, got, also, want)
			}
		}
	}
}
