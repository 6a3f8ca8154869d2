package api

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/dispatch"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// cloud is a small API over maps: enough parts to serve real requests.
type cloud struct {
	mu    sync.Mutex
	zones map[string]string // uuid to name
	jobs  map[string]*JobStatus
	hooks map[string]string
	delay time.Duration
}

type createZone struct {
	Name string   `api:"name,required,max=8" doc:"What people call it."`
	Desc string   `api:"description"`
	Nets []string `api:"nets"`
}
type zoneUUID struct {
	UUID string `api:"uuid,path,required,resource=Zone,missingok"`
}
type updateZone struct {
	zoneUUID
	Name *string `api:"name"`
}

const (
	zoneA = "5d5b1f0c0f7b4c4f9d3ce1a5a2b6f901"
	zoneB = "5d5b1f0c0f7b4c4f9d3ce1a5a2b6f902"
	jobA  = "9f0c0f0c0f7b4c4f9d3ce1a5a2b6f9aa"
)

func newCloud(t testing.TB) (*cloud, *Server) {
	c := &cloud{zones: map[string]string{zoneA: "a"}, jobs: map[string]*JobStatus{}, hooks: map[string]string{}}
	r := action.NewRegistry(hclog.NewNullLogger())
	r.Wire(action.Ports{Auth: c, Lookup: c, Render: c, Query: c, Plan: c, Jobs: jobs{c}, Queue: queue{c, r.Run}})
	if err := r.RegisterQuery("Zone", "/zones", action.Normal, ""); err != nil {
		t.Fatal(err)
	}
	action.Register(r, action.Action{Message: "APICreateZoneMsg", Method: "POST", Path: "/zones", Async: true, Access: action.Admin, Create: true, Returns: "Zone", Doc: "Creates a zone."},
		func(_ context.Context, call *action.Call, p *createZone) (action.Ref, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.zones[call.ResourceUUID] = strings.Join(append([]string{p.Name}, call.UserTags...), ",")
			return action.Ref{Type: "Zone", UUID: call.ResourceUUID}, nil
		})
	action.Register(r, action.Action{Message: "APIUpdateZoneMsg", Method: "PUT", Path: "/zones/{uuid}/actions", Async: true, Access: action.Admin, Returns: "Zone"},
		func(_ context.Context, _ *action.Call, p *updateZone) (action.Ref, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if p.Name != nil {
				c.zones[p.UUID] = *p.Name
			}
			return action.Ref{Type: "Zone", UUID: p.UUID}, nil
		})
	action.Register(r, action.Action{Message: "APIPanicZoneMsg", Method: "PUT", Path: "/zones/{uuid}/actions", Access: action.Admin},
		func(context.Context, *action.Call, *zoneUUID) (action.Empty, error) { panic("boom") })
	action.Register(r, action.Action{Message: "APIDeleteZoneMsg", Method: "DELETE", Path: "/zones/{uuid}", Async: true, Access: action.Admin},
		func(_ context.Context, _ *action.Call, p *zoneUUID) (action.Empty, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			delete(c.zones, p.UUID)
			return action.Empty{}, nil
		})
	action.Register(r, action.Action{Message: "APIGetVersionMsg", Method: "PUT", Path: "/management-nodes/actions", Access: action.Anonymous},
		func(context.Context, *action.Call, *struct{}) (struct {
			Success bool   `json:"success"`
			Version string `json:"version"`
		}, error) {
			return struct {
				Success bool   `json:"success"`
				Version string `json:"version"`
			}{true, "1"}, nil
		})
	action.Register(r, action.Action{Message: "APIPurgeMsg", Method: "DELETE", Path: "/trash/{zoneUuid}", Access: action.Anonymous,
		Removes: func(context.Context, *action.Call, any) (action.Removal, error) { return action.Removal{}, nil }},
		func(context.Context, *action.Call, *struct {
			UUID string `api:"zoneUuid,path"`
		}) (action.Empty, error) {
			return action.Empty{}, nil
		})
	action.Register(r, action.Action{Message: "APIAttachMsg", Method: "POST", Path: "/eips/{uuid}/nics/{nicUuid}", Access: action.Anonymous},
		func(_ context.Context, _ *action.Call, p *struct {
			UUID string `api:"uuid,path"`
			NIC  string `api:"nicUuid,path"`
			N    int    `api:"n"`
		}) (map[string]any, error) {
			return map[string]any{"uuid": p.UUID, "nic": p.NIC, "n": p.N}, nil
		})
	s := New(Options{Actions: r, Jobs: c, MaxBody: 1 << 16, PollHold: func(context.Context) time.Duration { return 500 * time.Millisecond }}, hclog.New(&hclog.LoggerOptions{Output: logTo{t}}))
	return c, s
}

type logTo struct{ t testing.TB }

func (l logTo) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func (c *cloud) Authenticate(_ context.Context, cr action.Credentials) (action.Caller, error) {
	switch {
	case cr.SessionUUID == "admin":
		return action.Caller{AccountUUID: "root", Admin: true}, nil
	case cr.SessionUUID == "bob":
		return action.Caller{AccountUUID: "bob"}, nil
	case cr.AccessKeyID == "key" && cr.Signature == cr.Method+cr.URI:
		return action.Caller{AccountUUID: "root", Admin: true}, nil
	}
	return action.Caller{}, errs.New(errs.Unauthenticated, "session", "it is unknown or has expired")
}

func (c *cloud) Lookup(_ context.Context, _ action.Caller, ts []action.Target) ([]action.Found, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]action.Found, len(ts))
	for i, t := range ts {
		_, out[i].Exists = c.zones[t.UUID]
		out[i].Readable, out[i].Writable = out[i].Exists, out[i].Exists
	}
	return out, nil
}

func (c *cloud) Inventory(_ context.Context, _, uuid string) (json.RawMessage, map[string]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, _ := json.Marshal(map[string]string{"uuid": uuid, "name": c.zones[uuid]})
	return b, map[string]string{"": "org.zstack.header.zone.ZoneInventory"}, nil
}

func (c *cloud) Plan(_ context.Context, r action.Removal) (any, error) {
	return map[string]string{"type": r.Subject.Type, "uuid": r.Subject.UUID}, nil
}

func (c *cloud) Query(ctx context.Context, _ string, v url.Values, _ action.Caller) (json.RawMessage, error) {
	out := &action.QueryResult{Schema: map[string]string{}}
	uuid, ok := strings.CutPrefix(v.Get("q"), "uuid=")
	if v.Get("q") != "" && !ok {
		return nil, action.HTTPErrorf(400, "no operator in condition %q", v.Get("q"))
	}
	c.mu.Lock()
	_, has := c.zones[uuid]
	c.mu.Unlock()
	if has {
		inv, _, _ := c.Inventory(ctx, "Zone", uuid)
		out.Inventories = append(out.Inventories, inv)
		out.Schema["inventories[0]"] = "org.zstack.header.zone.ZoneInventory"
	}
	out.CountOnly = v.Get("count") == "true"
	return out.Body()
}

// queue runs soon what is submitted.
type queue struct {
	*cloud
	run func(dispatch.Item)
}

func (q queue) Submit(it dispatch.Item) error {
	d := q.delay
	go func() { time.Sleep(d); q.run(it) }()
	return nil
}

type jobs struct{ *cloud }

func (j jobs) Accept(_ context.Context, job action.Job) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, ok := j.jobs[job.UUID]; ok {
		return errs.New(errs.Exists, "job "+job.UUID, "it exists")
	}
	j.jobs[job.UUID], j.hooks[job.UUID] = &JobStatus{}, job.WebHook
	return nil
}

func (j jobs) Finish(ctx context.Context, uuid string, o action.Outcome) {
	st := &JobStatus{Done: true, Err: o.Err, Body: o.Result}
	if o.Ref != nil {
		inv, schema, _ := j.Inventory(ctx, o.Ref.Type, o.Ref.UUID)
		st.Body, st.Schema = json.RawMessage(`{"inventory":`+string(inv)+`}`), map[string]string{"inventory": schema[""]}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.jobs[uuid] = st
}

// Wait polls its map: a test double may.
func (c *cloud) Wait(ctx context.Context, uuid string, max time.Duration) (JobStatus, error) {
	end := time.Now().Add(max)
	for {
		c.mu.Lock()
		st, ok := c.jobs[uuid]
		c.mu.Unlock()
		if !ok {
			return JobStatus{}, errs.New(errs.NotFound, "job "+uuid, "unknown")
		}
		if st.Done || time.Now().After(end) {
			return *st, nil
		}
		time.Sleep(time.Millisecond)
	}
}

type answer struct {
	status int
	body   string
	header http.Header
}

func do(t testing.TB, s http.Handler, method, path, body string, header ...string) answer {
	t.Helper()
	req := httptest.NewRequest(method, "http://cloud.example:8080"+path, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if req.Header.Get("Authorization") == "" {
		req.Header.Set("Authorization", "OAuth admin")
	}
	if req.Header.Get("Authorization") == "-" {
		req.Header.Del("Authorization")
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, req)
	return answer{w.Code, w.Body.String(), w.Header()}
}

// result polls the job of a 202 until it is done.
func result(t testing.TB, s http.Handler, a answer, header ...string) answer {
	t.Helper()
	if a.status != http.StatusAccepted {
		t.Fatalf("status %d %s, want 202", a.status, a.body)
	}
	var acc struct {
		Location   string
		APITimeout int64
	}
	if err := json.Unmarshal([]byte(a.body), &acc); err != nil {
		t.Fatal(err)
	}
	path, ok := strings.CutPrefix(acc.Location, "http://cloud.example:8080")
	if !ok || !strings.HasPrefix(path, "/zstack/v1/api-jobs/") {
		t.Fatalf("location %q", acc.Location)
	}
	for range 100 {
		if r := do(t, s, "GET", path, "", append(header, "Authorization", "-")...); r.status != http.StatusAccepted {
			return r
		}
	}
	t.Fatal("the job did not end")
	return answer{}
}

func TestAnswers(t *testing.T) {
	const v = "/zstack/v1"
	for name, c := range map[string]struct {
		method, path, body string
		header             []string
		status             int
		want               string // the whole body, or its beginning before "…"
	}{
		"query":                   {"GET", v + "/zones", "", nil, 200, `{"inventories":[],"schema":{}}`},
		"query by uuid":           {"GET", v + "/zones/" + zoneA, "", nil, 200, `{"inventories":[{"name":"a","uuid":"` + zoneA + `"}],"schema":{"inventories[0]":"org.zstack.header.zone.ZoneInventory"}}`},
		"empty segments":          {"GET", v + "/zones//" + zoneA, "", nil, 200, `{"inventories":[{"name":"a"…`},
		"count":                   {"GET", v + "/zones?count=true", "", nil, 200, `{"total":0,"schema":{}}`},
		"bad condition":           {"GET", v + "/zones?q=name", "", nil, 400, `no operator in condition "name"`},
		"unknown path":            {"GET", v + "/moons", "", nil, 404, "no API is mapped to /zstack/v1/moons"},
		"outside":                 {"GET", "/moons", "", nil, 404, "nothing is served at /moons"},
		"no authorization":        {"GET", v + "/zones", "", []string{"Authorization", "-"}, 400, "the header Authorization is missing…"},
		"unknown scheme":          {"GET", v + "/zones", "", []string{"Authorization", "Basic x"}, 400, "the header Authorization has an unknown form…"},
		"bad session, sync":       {"GET", v + "/zones", "", []string{"Authorization", "OAuth eve"}, 503, `{"error":{"code":"ID.1001","description":"The session is invalid or has expired","details":"session: it is unknown or has expired"}}`},
		"shared path, no method":  {"DELETE", v + "/zones", "", nil, 500, "no API has method DELETE on path /zones"},
		"shared path, HEAD":       {"HEAD", v + "/zones", "", nil, 405, "method HEAD is not served here"},
		"no action key":           {"PUT", v + "/zones/" + zoneA + "/actions", `{"x":{}}`, nil, 400, "the body has none of the action keys panicZone, updateZone"},
		"not JSON":                {"POST", v + "/zones", `{"params":`, nil, 400, "the body is not a JSON object…"},
		"a list":                  {"POST", v + "/zones", `[]`, nil, 400, "the body is not a JSON object…"},
		"params are text":         {"POST", v + "/zones", `{"params":"x"}`, nil, 400, `"params" in the body is not a JSON object`},
		"params name is a list":   {"POST", v + "/zones", `{"params":{"name":[]}}`, nil, 400, "parameter name: one value is wanted, not a list or object"},
		"tags are text":           {"POST", v + "/zones", `{"params":{"name":"z"},"systemTags":"x"}`, nil, 400, `"systemTags" in the body is not a list of texts`},
		"too large":               {"POST", v + "/zones", `{"params":{"name":"` + strings.Repeat("x", 1<<16) + `"}}`, nil, 413, "the body is larger than 65536 bytes"},
		"bad job uuid":            {"POST", v + "/zones", `{"params":{"name":"z"}}`, []string{"X-Job-UUID", "short"}, 400, "X-Job-UUID must be 32 letters and digits"},
		"bad hook":                {"POST", v + "/zones", `{"params":{"name":"z"}}`, []string{"X-Web-Hook", "file:///etc"}, 400, "X-Web-Hook must be an http or https URL"},
		"bad timeout":             {"POST", v + "/zones", `{"params":{"name":"z"}}`, []string{"X-API-Timeout", "soon"}, 400, "X-API-Timeout must be a number of seconds above 0"},
		"accepted":                {"POST", v + "/zones", `{"params":{"name":"z"}}`, []string{"X-Job-UUID", jobA, "X-API-Timeout", "60"}, 202, `{"location":"http://cloud.example:8080/zstack/v1/api-jobs/` + jobA + `","apiTimeout":60000}`},
		"panic":                   {"PUT", v + "/zones/" + zoneA + "/actions", `{"panicZone":{}}`, nil, 503, `{"error":{"code":"SYS.1000"…`},
		"not the admin":           {"PUT", v + "/zones/" + zoneA + "/actions", `{"panicZone":{}}`, []string{"Authorization", "OAuth bob"}, 503, `{"error":{"code":"ID.1002"…`},
		"anonymous":               {"PUT", v + "/management-nodes/actions", `{"getVersion":{}}`, []string{"Authorization", "-"}, 200, `{"success":true,"version":"1"}`},
		"single API, PUT":         {"PUT", v + "/eips/e/nics/n", `{"params":{"n":"4"}}`, nil, 200, `{"n":4,"nic":"n","uuid":"e"}`},
		"single API, no body":     {"POST", v + "/eips/e/nics/n", ``, nil, 200, `{"n":0,"nic":"n","uuid":"e"}`},
		"a GET changes nothing":   {"GET", v + "/eips/e/nics/n", ``, nil, 405, "APIAttachMsg needs method POST"},
		"only DELETE deletes":     {"POST", v + "/trash/x", ``, nil, 405, "APIPurgeMsg needs method DELETE"},
		"DELETE only deletes":     {"DELETE", v + "/eips/e/nics/n", ``, nil, 405, "APIAttachMsg needs method POST"},
		"schema when asked":       {"PUT", v + "/management-nodes/actions", `{"getVersion":{}}`, []string{"X-JSON-Schema", "yes"}, 200, `{"success":true,"version":"1","schema":{}}`},
		"plan":                    {"DELETE", v + "/zones/" + zoneA + "?plan=true", "", nil, 200, `{"plan":{"type":"Zone","uuid":"` + zoneA + `"}}`},
		"plan of neither":         {"DELETE", v + "/zones/" + zoneA + "?plan=yes", "", nil, 400, "plan=yes is neither true nor false"},
		"no plan":                 {"PUT", v + "/zones/" + zoneA + "/actions?plan=true", `{"updateZone":{"name":"x"}}`, nil, 400, "APIUpdateZoneMsg has no plan…"},
		"unknown job":             {"GET", v + "/api-jobs/" + zoneB, "", nil, 404, "there is no job " + zoneB + ", or it has expired"},
		"poll with POST":          {"POST", v + "/api-jobs/" + zoneB, "", nil, 405, "a job is polled with GET"},
		"health":                  {"GET", "/healthz", "", nil, 200, `{"status":"serving"}` + "\n"},
		"escaped slash":           {"POST", v + "/eips/a%2Fb/nics/n", ``, nil, 200, `{"n":0,"nic":"n","uuid":"a/b"}`},
		"access key":              {"GET", v + "/zones?limit=1", "", []string{"Authorization", "ZStack key:GET/v1/zones", "Date", time.Now().UTC().Format(http.TimeFormat)}, 200, `{"inventories":[],"schema":{}}`},
		"access key without Date": {"GET", v + "/zones", "", []string{"Authorization", "ZStack key:x"}, 400, "a signed request needs a Date header"},
		"access key, old Date":    {"GET", v + "/zones", "", []string{"Authorization", "ZStack key:x", "Date", "Tue, 15 Nov 1994 08:12:31 GMT"}, 403, "requestTimeTooSkewed…"},
		"access key, no key":      {"GET", v + "/zones", "", []string{"Authorization", "ZStack x"}, 400, "the header Authorization is not ZStack…"},
	} {
		t.Run(name, func(t *testing.T) {
			_, s := newCloud(t)
			got := do(t, s, c.method, c.path, c.body, c.header...)
			prefix, cut := strings.CutSuffix(c.want, "…")
			if got.status != c.status || (cut && !strings.HasPrefix(got.body, prefix)) || (!cut && got.body != c.want) {
				t.Fatalf("%d %s\nwant %d %s", got.status, got.body, c.status, c.want)
			}
			wantType := typeJSON
			if !strings.HasPrefix(got.body, "{") {
				wantType = typeText
			}
			if got.header.Get("Content-Type") != wantType {
				t.Errorf("content type %q", got.header.Get("Content-Type"))
			}
		})
	}
}

func TestJobAnswers(t *testing.T) {
	c, s := newCloud(t)
	const v = "/zstack/v1"
	create := func(body string, header ...string) answer { return do(t, s, "POST", v+"/zones", body, header...) }
	for name, x := range map[string]struct {
		first  answer
		header []string
		status int
		want   string
	}{
		"created":           {create(`{"params":{"name":" z ","resourceUuid":"` + zoneB + `","unknown":{"deep":[1]}},"userTags":["t"]}`), nil, 200, `{"inventory":{"name":"z,t","uuid":"` + zoneB + `"}}`},
		"with schema":       {create(`{"params":{"name":"z","userTags":["in"]}}`), []string{"X-JSON-Schema", "1"}, 200, `"schema":{"inventory":"org.zstack.header.zone.ZoneInventory"}}`},
		"outer tags win":    {create(`{"params":{"name":"z","userTags":["in"]},"userTags":["out"]}`), nil, 200, `"name":"z,out"`},
		"null tags do not":  {create(`{"params":{"name":"z","userTags":["in"]},"userTags":null}`), nil, 200, `"name":"z,in"`},
		"no body":           {create(``), nil, 503, `{"error":{"code":"SYS.1007","description":"An argument of the API message is invalid","details":"parameter name of APICreateZoneMsg: it is required"}}`},
		"bad session":       {create(`{"params":{"name":"z"}}`, "Authorization", "OAuth eve"), nil, 503, `{"error":{"code":"ID.1001"`},
		"update":            {do(t, s, "PUT", v+"/zones/"+zoneA+"/actions", `{"updateZone":{"uuid":"x","name":"b"}}`), nil, 200, `{"inventory":{"name":"b","uuid":"` + zoneA + `"}}`},
		"update of nothing": {do(t, s, "PUT", v+"/zones/"+jobA+"/actions", `{"updateZone":{"name":"b"}}`), nil, 200, "{}"}, // missingok of the test's parameter
	} {
		t.Run(name, func(t *testing.T) {
			got := result(t, s, x.first, x.header...)
			if got.status != x.status || !strings.Contains(got.body, x.want) {
				t.Fatalf("%d %s\nwant %d %s", got.status, got.body, x.status, x.want)
			}
		})
	}
	if got := result(t, s, do(t, s, "DELETE", v+"/zones/"+zoneA+"?deleteMode=", ``)); got.status != 200 || got.body != "{}" {
		t.Errorf("delete: %d %s", got.status, got.body)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, still := c.zones[zoneA]; still {
		t.Error("the zone was not deleted")
	}
}

func TestJobUUIDAndHook(t *testing.T) {
	c, s := newCloud(t)
	h := []string{"X-Job-UUID", jobA, "X-Web-Hook", "http://hook.example/x"}
	if a := do(t, s, "POST", "/zstack/v1/zones", `{"params":{"name":"z"}}`, h...); a.status != 202 || c.hooks[jobA] != "http://hook.example/x" {
		t.Fatalf("%+v, hooks %v", a, c.hooks)
	}
	if a := do(t, s, "POST", "/zstack/v1/zones", `{"params":{"name":"z"}}`, h...); a.status != 400 || !strings.Contains(a.body, "used already") {
		t.Fatalf("second use: %+v", a)
	}
}

func TestPollIsHeld(t *testing.T) {
	c, s := newCloud(t)
	c.delay = 20 * time.Millisecond
	a := do(t, s, "POST", "/zstack/v1/zones", `{"params":{"name":"z"}}`, "X-Job-UUID", jobA)
	if a.status != 202 {
		t.Fatal(a)
	}
	if r := do(t, s, "GET", "/zstack/v1/api-jobs/"+jobA, ""); r.status != 200 {
		t.Fatalf("the poll did not wait for the job: %d %s", r.status, r.body)
	}
	c.delay = 2 * time.Second
	do(t, s, "POST", "/zstack/v1/zones", `{"params":{"name":"z"}}`, "X-Job-UUID", zoneB)
	if r := do(t, s, "GET", "/zstack/v1/api-jobs/"+zoneB, ""); r.status != 202 || r.body != "{}" {
		t.Fatalf("a running job: %d %s", r.status, r.body)
	}
}

func TestRawRoutesAndLateActions(t *testing.T) {
	_, s := newCloud(t)
	s.Handle("POST", "/uploads/{uuid}", func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.WriteString(w, Vars(req)[0])
	})
	if a := do(t, s, "POST", "/zstack/v1/uploads/u1", ""); a.body != "u1" {
		t.Fatalf("%+v", a)
	}
	for _, path := range []string{"/late", "/later"} {
		if err := s.opt.Actions.Bring(func() error {
			action.Register(s.opt.Actions, action.Action{Message: "APILateMsg", Method: "GET", Path: path, Access: action.Anonymous},
				func(context.Context, *action.Call, *struct{}) (action.Empty, error) { return action.Empty{}, nil })
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if a := do(t, s, "GET", "/zstack/v1"+path, ""); a.status != 200 {
			t.Fatalf("%s: %+v", path, a)
		}
	}
	if a := do(t, s, "GET", "/zstack/v1/late", ""); a.status != 404 {
		t.Fatalf("an action that was before: %+v", a)
	}
}

func TestMetrics(t *testing.T) {
	_, s := newCloud(t)
	do(t, s, "GET", "/zstack/v1/zones", "")
	do(t, s, "GET", "/zstack/v1/zones", "", "Authorization", "OAuth eve")
	a := do(t, s, "GET", "/metrics", "")
	for _, want := range []string{`kumo_api_requests_total{message="APIQueryZoneMsg",status="200"} 1`, `kumo_api_requests_total{message="APIQueryZoneMsg",status="503"} 1`,
		`kumo_api_duration_seconds_count{message="APIQueryZoneMsg"} 2`} {
		if !strings.Contains(a.body, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

func TestSamples(t *testing.T) {
	s := New(Options{Actions: action.NewRegistry(hclog.NewNullLogger()), Samples: func() []Sample {
		return []Sample{{Name: "kumo_plugin_restarts_total", Help: "Restarts.", Labels: map[string]string{"plugin": "p"}, Value: 3, Counter: true}, {Name: "kumo_queue_depth", Help: "Waiting.", Value: 7}}
	}}, hclog.NewNullLogger())
	a := do(t, s, "GET", "/metrics", "")
	for _, want := range []string{"# TYPE kumo_plugin_restarts_total counter\nkumo_plugin_restarts_total{plugin=\"p\"} 3", "# TYPE kumo_queue_depth gauge\nkumo_queue_depth 7"} {
		if !strings.Contains(a.body, want) {
			t.Errorf("metrics lack %q", want)
		}
	}
}

// TestSlowClients checks that a client which sends nothing loses its
// connection.
func TestSlowClients(t *testing.T) {
	_, s := newCloud(t)
	s.opt.HeaderTimeout, s.opt.BodyTimeout = 100*time.Millisecond, 100*time.Millisecond
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := s.HTTPServer()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	defer func() {
		_ = srv.Close()
		<-served
	}()
	for name, text := range map[string]string{
		"half a header": "GET /zstack/v1/zones HTTP/1.1\r\nHost: x\r\n",
		"half a body":   "POST /zstack/v1/zones HTTP/1.1\r\nHost: x\r\nAuthorization: OAuth admin\r\nContent-Length: 100\r\n\r\n{",
	} {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		b, err := io.ReadAll(conn)
		if err != nil {
			t.Errorf("%s: the connection stayed open: %v", name, err)
		}
		if time.Since(start) > 3*time.Second {
			t.Errorf("%s: closed only after %v (%q)", name, time.Since(start), b)
		}
		_ = conn.Close()
	}
}

func TestCheckDate(t *testing.T) {
	shanghai := time.FixedZone("CST", 8*3600)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string][2]int{ // without and with checkZone
		"Sun, 01 Mar 2026 12:10:00 GMT":           {0, 0},
		"Sun, 01 Mar 2026 20:00:00 CST":           {0, 0}, // the same instant in China
		"Sun, 01 Mar 2026 12:00:00 CST":           {0, 403},
		"Sun, 01 Mar 2026 12:00:00 XYZ":           {0, 403},
		"Sun, 01 Mar 2026 20:00:00 Asia/Shanghai": {0, 0},
		"Sun, 01 Mar 2026 20:00:00 +0800":         {0, 0},
		"Sun, 01 Mar 2026 12:16:00 GMT":           {403, 403},
		"Sun, 01 Mar 2026 11:44:00 GMT":           {403, 403},
		"yesterday":                               {400, 400},
		"Sun, 01 Mar 2026 20:00:00 ../etc/x":      {403, 403},
	} {
		for i, check := range []bool{false, true} {
			err := checkDate(text, now, check)
			got := 0
			if he, ok := err.(*action.HTTPError); ok {
				got = he.Status
			}
			if got != want[i] {
				t.Errorf("%q, check zone %v: %v, want %d", text, check, err, want[i])
			}
		}
	}
	if err := checkDate("Sun, 01 Mar 2026 20:00:00 GMT", now.In(shanghai), false); err != nil {
		t.Errorf("the server's own clock time with another zone name: %v", err)
	}
}

func BenchmarkGet(b *testing.B) {
	_, s := newCloud(b)
	req := httptest.NewRequest("GET", "http://cloud.example:8080/zstack/v1/zones/"+zoneA, nil)
	req.Header.Set("Authorization", "OAuth admin")
	b.ReportAllocs()
	for b.Loop() {
		s.ServeHTTP(httptest.NewRecorder(), req)
	}
}
