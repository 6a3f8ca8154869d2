package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// fakeServer answers as the wire does: 202 and a job for asynchronous calls,
// one "{}" poll before the job's end, 503 with an error object.
type fakeServer struct {
	*httptest.Server
	t  *testing.T
	mu sync.Mutex
	// answers by "METHOD /path?query"; a leading "job " makes it a job.
	answers map[string]string
	jobs    map[string]string
	polled  map[string]int
	log     []string // requests in order, with their bodies
	// schema is the document that is served, with its revision as ETag.
	schema, revision string
}

func newFake(t *testing.T, answers map[string]string) *fakeServer {
	t.Helper()
	f := &fakeServer{t: t, answers: answers, jobs: map[string]string{}, polled: map[string]int{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	path := strings.TrimPrefix(r.URL.Path, "/zstack/v1")
	if id, ok := strings.CutPrefix(path, "/api-jobs/"); ok {
		f.poll(w, id)
		return
	}
	if path == "/schema" && f.schema != "" {
		f.describe(w, r)
		return
	}
	key := r.Method + " " + path
	if r.URL.RawQuery != "" {
		query, err := urlUnescape(r.URL.RawQuery)
		if err != nil {
			f.t.Error(err)
		}
		key += "?" + query
	}
	f.log = append(f.log, strings.TrimSpace(key+" "+string(body)))
	if path != "/accounts/login" && path != "/healthz" && path != "/management-nodes/actions" && r.Header.Get("Authorization") != "OAuth s1" {
		answer(w, `{"error":{"code":"ID.1001","description":"session","details":"session expired"}}`)
		return
	}
	text, ok := f.answers[key]
	if !ok {
		http.Error(w, "no answer for "+key, http.StatusNotFound)
		return
	}
	if job, ok := strings.CutPrefix(text, "job "); ok {
		id := fmt.Sprintf("%032d", len(f.jobs)+1)
		f.jobs[id] = job
		w.WriteHeader(http.StatusAccepted)
		// Another host name, as behind a proxy: the client must use its own.
		fmt.Fprintf(w, `{"location":"http://10.9.9.9:8080/zstack/v1/api-jobs/%s","apiTimeout":1800000}`, id)
		return
	}
	answer(w, text)
}

// describe answers with the schema, or that the caller's is current. The log has
// which of both.
func (f *fakeServer) describe(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("ETag", `"`+f.revision+`"`)
	if r.Header.Get("If-None-Match") == `"`+f.revision+`"` {
		f.log = append(f.log, "GET /schema: current")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	f.log = append(f.log, "GET /schema: sent")
	fmt.Fprint(w, f.schema)
}

func (f *fakeServer) poll(w http.ResponseWriter, id string) {
	text, ok := f.jobs[id]
	switch {
	case !ok:
		http.Error(w, "no such job", http.StatusNotFound)
	case f.polled[id] == 0:
		f.polled[id]++
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprint(w, "{}")
	default:
		answer(w, text)
	}
}

func answer(w http.ResponseWriter, text string) {
	if strings.HasPrefix(text, `{"error"`) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprint(w, text)
}

// session runs commands against the fake server, signed in.
type session struct {
	app      *App
	env      map[string]string
	out, err bytes.Buffer
}

func newSession(t *testing.T, server string) *session {
	t.Helper()
	s := &session{env: map[string]string{"KUMO_CONFIG_DIR": t.TempDir(), "KUMO_CACHE_DIR": t.TempDir(), "KUMO_SERVER": server}}
	s.app = &App{In: strings.NewReader(""), Out: &s.out, Err: &s.err, Env: func(k string) string { return s.env[k] }, Version: "test",
		Machine: &fakeMachine{}}
	return s
}

// run runs one command line; it returns the exit code and what Main would say.
func (s *session) run(args ...string) (int, string) {
	s.out.Reset()
	s.err.Reset()
	if err := s.app.Run(context.Background(), args, nil); err != nil {
		return 1, "kumo: " + s.app.OneLine(err)
	}
	return 0, ""
}

func (s *session) signIn(t *testing.T) {
	t.Helper()
	s.app.In = strings.NewReader("password\n")
	if code, text := s.run("login", "--password-file", "-"); code != 0 {
		t.Fatal(text)
	}
}

const loginAnswer = `{"inventory":{"uuid":"s1","accountUuid":"36c27e8ff05c4780bf6d2fa65700f22e","userType":"AccountVO"}}`

func compact(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return b.String()
}
