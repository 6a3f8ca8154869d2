package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
)

// Options are what a Server needs; zero values get the defaults told.
type Options struct {
	// Actions are served. Required.
	Actions *action.Registry
	// Types describe inventories in OpenAPI; may be nil.
	Types *resource.Registry
	// Auth tells who a caller is, for what is no action; nil knows nobody.
	Auth action.Authenticator
	// Schema makes what GET /schema answers; nil: none.
	Schema Describer
	// Jobs answers polls; nil knows no job.
	Jobs Jobs
	// Version is shown in OpenAPI.
	Version string
	// Ready says whether the server can work, for /healthz; nil: always.
	Ready func(ctx context.Context) error
	// Plugins tells the state of each plugin, for /healthz; may be nil.
	Plugins func() map[string]string
	// Samples are measured values of other parts for /metrics; may be nil.
	Samples func() []Sample
	// CheckTimeZone is the setting rest/checkTimeZone; nil: false.
	CheckTimeZone func(ctx context.Context) bool
	// PollHold is how long a poll waits for its job, at most one second; nil:
	// one second. Longer would look like a lost server to some clients.
	PollHold func(ctx context.Context) time.Duration
	// Proxies are the networks of reverse proxies, whose word is taken for who
	// their clients are; nil: none.
	Proxies func(ctx context.Context) []netip.Prefix

	// MaxBody bounds request bodies, 4 MiB.
	MaxBody int64
	// MaxCalls bounds the calls in work at once, 1024; more wait.
	MaxCalls int
	// MaxPolls bounds the polls held open at once, 16384.
	MaxPolls int
	// HeaderTimeout (10 s), BodyTimeout (60 s), WriteTimeout (60 s) and
	// IdleTimeout (2 min) free what slow clients hold.
	HeaderTimeout, BodyTimeout, WriteTimeout, IdleTimeout time.Duration
}

func (o *Options) setDefaults() {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&o.HeaderTimeout, 10*time.Second)
	def(&o.BodyTimeout, time.Minute)
	def(&o.WriteTimeout, time.Minute)
	def(&o.IdleTimeout, 2*time.Minute)
	if o.MaxBody <= 0 {
		o.MaxBody = 4 << 20
	}
	if o.MaxCalls <= 0 {
		o.MaxCalls = 1024
	}
	if o.MaxPolls <= 0 {
		o.MaxPolls = 16384
	}
}

// Server answers HTTP requests. It is safe for concurrent use.
type Server struct {
	opt    Options
	log    hclog.Logger
	engine *gin.Engine
	meters *meters
	calls  chan struct{}
	polls  chan struct{}

	table   atomic.Pointer[table]
	openapi atomic.Pointer[[]byte]
	schema  documents

	queries atomic.Pointer[map[string]action.Access] // by type

	mu      sync.Mutex
	raws    []rawRoute
	streams *streams // of events
}

// rawRoute is a route that another part of web serves itself.
type rawRoute struct {
	method, pattern string
	handler         http.HandlerFunc
}

// New makes a server of all registered actions, and of those registered later.
func New(o Options, log hclog.Logger) *Server {
	o.setDefaults()
	s := &Server{opt: o, log: log, meters: newMeters(o.Samples), calls: make(chan struct{}, o.MaxCalls), polls: make(chan struct{}, o.MaxPolls)}
	gin.SetMode(gin.ReleaseMode)
	s.engine = gin.New()
	s.engine.RedirectTrailingSlash, s.engine.RedirectFixedPath = false, false
	s.engine.UseRawPath, s.engine.UnescapePathValues = true, false
	s.engine.Use(s.recover)
	s.engine.Any(basePath+"/*path", s.serve)
	s.engine.GET("/healthz", s.serveHealth)
	s.engine.GET("/metrics", gin.WrapH(s.meters.handler()))
	s.engine.NoRoute(func(c *gin.Context) {
		s.writeError(c.Writer, c.Request, action.HTTPErrorf(http.StatusNotFound, "nothing is served at %s", c.Request.URL.Path))
	})
	o.Actions.OnChange(s.rebuild)
	s.rebuild()
	return s
}

// Engine is the gin engine, for other parts of web to add routes outside of
// /zstack/v1 (the console, the user interface) before the first request.
func (s *Server) Engine() *gin.Engine { return s.engine }

// Handle adds a route below /zstack/v1 that is no action, such as an upload
// or a stream of events. pattern has variables in braces; the handler gets
// their values by Vars. It authenticates by itself (Credentials).
func (s *Server) Handle(method, pattern string, h http.HandlerFunc) {
	s.mu.Lock()
	s.raws = append(s.raws, rawRoute{method: method, pattern: pattern, handler: h})
	s.mu.Unlock()
	s.rebuild()
}

// Credentials reads who sent a request, for raw routes. Errors as of the API.
func (s *Server) Credentials(req *http.Request) (*action.Credentials, error) {
	return credentials(req, time.Now(), s.checkZone)
}

// WriteError answers a raw route with an error in the API's form.
func (s *Server) WriteError(w http.ResponseWriter, req *http.Request, err error) {
	s.writeError(w, req, err)
}

func (s *Server) rebuild() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table.Store(newTable(s.opt.Actions.All(), s.raws, s.meters.of))
	s.openapi.Store(nil)
	s.queries.Store(nil)
}

// HTTPServer returns a server with time-outs set, ready for Serve. Deadlines of
// bodies and answers are set for each request, because jobs' polls and streams
// differ.
func (s *Server) HTTPServer() *http.Server {
	h := &http.Server{
		Handler:           s.engine,
		ReadHeaderTimeout: s.opt.HeaderTimeout,
		IdleTimeout:       s.opt.IdleTimeout,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          s.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	h.RegisterOnShutdown(s.endStreams)
	return h
}

// fromHere tells whether a request comes from this machine, and by no proxy.
func fromHere(req *http.Request) bool {
	for _, h := range []string{"Forwarded", forwardedFor, "Via"} {
		if req.Header.Get(h) != "" {
			return false
		}
	}
	at, err := netip.ParseAddrPort(req.RemoteAddr)
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, req *http.Request) { s.engine.ServeHTTP(w, req) }

func (s *Server) checkZone(ctx context.Context) bool {
	return s.opt.CheckTimeZone != nil && s.opt.CheckTimeZone(ctx)
}

func (s *Server) pollHold(ctx context.Context) time.Duration {
	if s.opt.PollHold == nil {
		return time.Second
	}
	return min(max(s.opt.PollHold(ctx), 0), time.Second)
}

// recover ends a panic in the dispatcher with 500.
func (s *Server) recover(c *gin.Context) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(p) // net/http's own way to cut a connection
		}
		s.log.Error("request panicked", "method", c.Request.Method, "path", c.Request.URL.Path, "error", p, "stack", string(debug.Stack()))
		if !c.Writer.Written() {
			s.write(c.Writer, http.StatusInternalServerError, typeText, []byte("an unexpected error happened; the server's log has the details"))
		}
	}()
	c.Next()
}

type varsKey struct{}

// Vars returns the values of a raw route's variables, in order.
func Vars(req *http.Request) []string {
	v, _ := req.Context().Value(varsKey{}).([]string)
	return v
}

// serve dispatches what is below /zstack/v1.
func (s *Server) serve(c *gin.Context) {
	w, req := c.Writer, c.Request
	path := strings.TrimPrefix(req.URL.EscapedPath(), basePath)
	if job, ok := strings.CutPrefix(strings.TrimLeft(path, "/"), "api-jobs/"); ok {
		start := time.Now()
		s.meters.poll.done(s.serveJob(w, req, strings.Trim(job, "/")), start)
		return
	}
	switch own := strings.Trim(path, "/"); {
	case own == "openapi.json" && req.Method == http.MethodGet:
		s.serveOpenAPI(w, req)
		return
	case own == "schema" && req.Method == http.MethodGet:
		s.serveSchema(w, req)
		return
	}
	r, values := s.table.Load().match(path)
	if r == nil {
		s.meters.unknown.done(s.writeError(w, req, action.HTTPErrorf(http.StatusNotFound, "no API is mapped to %s", req.URL.Path)), time.Now())
		return
	}
	if h := r.raw[req.Method]; h != nil {
		h(w, req.WithContext(context.WithValue(req.Context(), varsKey{}, values)))
		return
	}
	s.serveRoute(w, req, r, values)
}

// serveRoute runs one API call within the bound of calls at once.
func (s *Server) serveRoute(w http.ResponseWriter, req *http.Request, r *route, values []string) {
	start := time.Now()
	in, err := s.take(w, req, r)
	if err != nil {
		s.meters.unknown.done(s.writeError(w, req, err), start)
		return
	}
	select {
	case s.calls <- struct{}{}:
	default:
		select {
		case s.calls <- struct{}{}:
		case <-req.Context().Done():
			return
		}
	}
	defer func() { <-s.calls }()
	e, reply, err := s.serveAction(req.Context(), req, r, values, in)
	m := s.meters.unknown
	if e != nil {
		m = e.meter
	}
	if err != nil {
		m.done(s.writeError(w, req, err), start)
		return
	}
	m.done(s.writeReply(w, req, reply), start)
}

// serveHealth answers 200 while the server serves. A plugin that is down is
// told, and is no reason for another status: the rest goes on. Whoever asks from
// another machine is told that something is wrong, and not about the paths here.
func (s *Server) serveHealth(c *gin.Context) {
	if s.opt.Ready != nil {
		if err := s.opt.Ready(c.Request.Context()); err != nil {
			s.log.Debug("asked for its health, and not well", "client", c.Request.RemoteAddr, "error", err)
			text := err.Error()
			if !fromHere(c.Request) {
				text = "not serving: kumo's log, and this page asked for on the server's machine, say why"
			}
			s.write(c.Writer, http.StatusServiceUnavailable, typeText, []byte(text+"\n"))
			return
		}
	}
	health := struct {
		Status  string            `json:"status"`
		Plugins map[string]string `json:"plugins,omitempty"`
	}{Status: "serving"}
	if s.opt.Plugins != nil {
		health.Plugins = s.opt.Plugins()
	}
	body, err := json.Marshal(health)
	if err != nil {
		s.writeError(c.Writer, c.Request, err)
		return
	}
	s.write(c.Writer, http.StatusOK, typeJSON, append(body, '\n'))
}
