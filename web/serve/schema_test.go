package serve

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/kumo-cloud/kumo/core/query"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/schema"
)

// get sends a GET over HTTP; headers are names and values by turns.
func (w *tenants) get(session, path string, headers ...string) *httptest.ResponseRecorder {
	w.Helper()
	req := httptest.NewRequest(http.MethodGet, "/zstack/v1"+path, nil)
	if session != "" {
		req.Header.Set("Authorization", "OAuth "+session)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	a := httptest.NewRecorder()
	w.rest.ServeHTTP(a, req)
	return a
}

// The schema and the names of what is referred to are for those who are signed
// in: the schema is the same for all, names are what the caller may read.
func TestSchemaAndNamesOverHTTP(t *testing.T) {
	w := newTenants(t)
	t.Run("sign-in", func(t *testing.T) {
		for _, session := range []string{"", "0123456789abcdef0123456789abcdef"} {
			if a := w.get(session, "/schema"); a.Code < 400 || bytes.Contains(a.Body.Bytes(), []byte("VmInstance")) {
				t.Errorf("with session %q: %d %s", session, a.Code, a.Body)
			}
		}
	})
	plain := w.get(w.admin, "/schema")
	etag := plain.Header().Get("ETag")
	t.Run("document", func(t *testing.T) {
		var doc schema.Document
		if err := json.Unmarshal(plain.Body.Bytes(), &doc); err != nil {
			t.Fatalf("%d: %v", plain.Code, err)
		}
		if doc.Version != schema.Version || `"`+doc.Revision+`"` != etag || doc.Types["VmInstance"] == nil || doc.Actions["APICreateVmInstanceMsg"] == nil {
			t.Errorf("version %d, revision %s, ETag %s, %d types, %d actions", doc.Version, doc.Revision, etag, len(doc.Types), len(doc.Actions))
		}
		if p := doc.Actions["APIAddSimulatorHostMsg"].Plugin; p == nil || *p != "simulator" {
			t.Errorf("APIAddSimulatorHostMsg is of %v, not of the plugin simulator", p)
		}
		if other := w.get(w.mallory, "/schema"); !bytes.Equal(other.Body.Bytes(), plain.Body.Bytes()) {
			t.Error("an account gets another schema than the administrator")
		}
	})
	t.Run("unchanged", func(t *testing.T) {
		for _, tag := range []string{etag, `"0", W/` + etag, "*"} {
			if a := w.get(w.alice, "/schema", "If-None-Match", tag); a.Code != http.StatusNotModified || a.Body.Len() > 0 || a.Header().Get("ETag") != etag {
				t.Errorf("If-None-Match %s: %d with %d bytes", tag, a.Code, a.Body.Len())
			}
		}
		if a := w.get(w.alice, "/schema", "If-None-Match", `"0"`); a.Code != http.StatusOK {
			t.Errorf("with another tag: %d", a.Code)
		}
	})
	t.Run("gzip", func(t *testing.T) {
		a := w.get(w.alice, "/schema", "Accept-Encoding", "br, gzip;q=0.8")
		z, err := gzip.NewReader(a.Body)
		if err != nil || a.Header().Get("Content-Encoding") != "gzip" {
			t.Fatalf("%s: %v", a.Header().Get("Content-Encoding"), err)
		}
		if text, err := io.ReadAll(z); err != nil || !bytes.Equal(text, plain.Body.Bytes()) {
			t.Errorf("unpacked it is another text (%v)", err)
		}
		if a := w.get(w.alice, "/schema", "Accept-Encoding", "gzip;q=0"); a.Header().Get("Content-Encoding") != "" {
			t.Error("it is packed for who refuses that")
		}
	})
	t.Run("names", func(t *testing.T) { w.names(t) })
}

// names asks for a guest with names, in its list and by itself.
func (w *tenants) names(t *testing.T) {
	type page struct {
		Inventories []map[string]any
		Names       map[string]query.Name
	}
	read := func(session, path string) (p page) {
		t.Helper()
		a := w.get(session, path)
		if err := json.Unmarshal(a.Body.Bytes(), &p); err != nil || a.Code != http.StatusOK {
			t.Fatalf("GET %s: %d %s (%v)", path, a.Code, a.Body, err)
		}
		return p
	}
	if p := read(w.alice, "/vm-instances"); len(p.Inventories) != 1 || p.Names != nil {
		t.Fatalf("without names=true there are %d guests and the names %v", len(p.Inventories), p.Names)
	}
	if p := read(w.mallory, "/vm-instances?names=true"); len(p.Inventories) != 0 || p.Names == nil || len(p.Names) != 0 {
		t.Errorf("mallory is told %v", p)
	}
	for _, path := range []string{"/vm-instances?names=true", "/vm-instances/" + read(w.alice, "/vm-instances").Inventories[0]["uuid"].(string) + "?names=true"} {
		p, all := read(w.alice, path), read(w.admin, path)
		guest := p.Inventories[0]
		for field, want := range map[string]string{"zoneUuid": "zone", "imageUuid": "image", "instanceOfferingUuid": "small", "clusterUuid": "cluster"} {
			if got := all.Names[guest[field].(string)].Label; got != want {
				t.Errorf("%s: the administrator is told that %s is %q, not %q", path, field, got, want)
			}
		}
		if got := p.Names[guest["imageUuid"].(string)].Label; got != "image" {
			t.Errorf("%s: the shared image is %q", path, got)
		}
		for uuid, n := range p.Names {
			if of, ok := w.kernel.Types.Get(n.Type); !ok || w.kernel.Types.Root(of).Readable == resource.Admin {
				t.Errorf("%s: alice is told that %s is %v, which only the administrator reads", path, uuid, n)
			}
		}
	}
}
