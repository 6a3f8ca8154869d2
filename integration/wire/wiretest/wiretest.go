// Package wiretest serves a thing that speaks the REST API's wire shape and
// keeps what is posted to it, so that clients and load generators can be tested
// without a server. It decides nothing: it must not import core, web, plugins
// or pluginsdk.
package wiretest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

const root = "/zstack/v1"

// Fake is an http.Handler. A resource whose name begins with "fail" makes its
// job end with an error.
type Fake struct {
	// Password is the SHA-512 hex text that logs in as admin.
	Password string
	// Polls is how often a job says that it is running.
	Polls int

	mu        sync.Mutex
	serial    int
	resources map[string]map[string]map[string]any // by collection and UUID
	jobs      map[string]*job
	calls     map[string]int
}

type job struct {
	polls  int
	status int
	body   any
}

const session = "5e5510000000000000000000000000aa"

// ServeHTTP answers one request.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.resources == nil {
		f.resources, f.jobs, f.calls = map[string]map[string]map[string]any{}, map[string]*job{}, map[string]int{}
		f.resources["/network-services/providers"] = map[string]map[string]any{"p1": {"uuid": "p1", "type": "Simulator"}}
	}
	path := strings.TrimPrefix(r.URL.Path, root)
	if id, ok := strings.CutPrefix(path, "/api-jobs/"); ok {
		f.poll(w, id)
		return
	}
	f.calls[r.Method+" "+path]++
	switch {
	case path == "/healthz":
		w.WriteHeader(http.StatusOK)
	case path == "/accounts/login":
		f.login(w, r)
	case r.Header.Get("Authorization") != "OAuth "+session:
		http.Error(w, "no session", http.StatusBadRequest)
	case r.Method == http.MethodGet:
		f.query(w, r, path)
	default:
		f.accept(w, r, path)
	}
}

// Calls returns how often a method and path, such as "POST /zones", was called.
func (f *Fake) Calls(call string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[call]
}

func answer(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(status)
	_, _ = w.Write(text) // a client that is gone needs no answer
}

func (f *Fake) login(w http.ResponseWriter, r *http.Request) {
	var body struct {
		LogInByAccount struct{ AccountName, Password string }
	}
	err := json.NewDecoder(r.Body).Decode(&body)
	if l := body.LogInByAccount; err != nil || l.AccountName != "admin" || l.Password != f.Password {
		answer(w, http.StatusServiceUnavailable, failed("ID.1000", "wrong account or password"))
		return
	}
	answer(w, http.StatusOK, map[string]any{"inventory": map[string]any{"uuid": session}})
}

func failed(code, details string) map[string]any {
	return map[string]any{"error": map[string]any{"code": code, "description": "it failed", "details": details}}
}

// accept stores what a POST brings and answers with a job.
func (f *Fake) accept(w http.ResponseWriter, r *http.Request, path string) {
	var body map[string]map[string]any
	if r.ContentLength != 0 {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	f.serial++
	item := map[string]any{}
	for k, v := range body["params"] {
		item[k] = v
	}
	uuid, _ := item["resourceUuid"].(string)
	if uuid == "" {
		uuid = fmt.Sprintf("%032x", f.serial)
	}
	item["uuid"], item["state"] = uuid, "Running"
	j := &job{status: http.StatusOK, body: map[string]any{"inventory": item}}
	name, _ := item["name"].(string)
	if strings.HasPrefix(name, "fail") {
		j.status, j.body = http.StatusServiceUnavailable, failed("SYS.1006", name+" was to fail")
	} else if r.Method == http.MethodPost {
		if f.resources[path] == nil {
			f.resources[path] = map[string]map[string]any{}
		}
		f.resources[path][uuid] = item
	}
	id := fmt.Sprintf("%032x", 1<<40+f.serial)
	f.jobs[id] = j
	answer(w, http.StatusAccepted, map[string]any{
		"location": "http://elsewhere:8080" + root + "/api-jobs/" + id, "apiTimeout": 1800000})
}

func (f *Fake) poll(w http.ResponseWriter, id string) {
	j := f.jobs[id]
	switch {
	case j == nil:
		http.Error(w, "no such job", http.StatusNotFound)
	case j.polls < f.Polls:
		j.polls++
		answer(w, http.StatusAccepted, map[string]any{})
	default:
		answer(w, j.status, j.body)
	}
}

func (f *Fake) query(w http.ResponseWriter, r *http.Request, path string) {
	collection, uuid := path, ""
	if i := strings.LastIndex(path, "/"); f.resources[path] == nil && i > 0 {
		collection, uuid = path[:i], path[i+1:]
	}
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil {
		limit = 1000
	}
	total, found := 0, []any{}
	for id, item := range f.resources[collection] {
		if uuid != "" && id != uuid || !meets(item, r.URL.Query()["q"]) {
			continue
		}
		if total++; len(found) < limit {
			found = append(found, item)
		}
	}
	if r.URL.Query().Get("count") == "true" {
		answer(w, http.StatusOK, map[string]any{"total": total, "schema": map[string]any{}})
		return
	}
	answer(w, http.StatusOK, map[string]any{"inventories": found, "schema": map[string]any{}})
}

// meets knows "=" alone, and takes a member that is not there as equal.
func meets(item map[string]any, conditions []string) bool {
	for _, c := range conditions {
		name, value, _ := strings.Cut(c, "=")
		if v, ok := item[name]; ok && fmt.Sprint(v) != value {
			return false
		}
	}
	return true
}
