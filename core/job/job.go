package job

import (
	"context"
	"encoding/json"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/dispatch"
	"github.com/kumo-cloud/kumo/core/errtext"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/outbound"
)

// Job is an API call that was accepted.
type Job struct {
	// UUID is the job's, 32 characters; the caller may have chosen it.
	UUID string
	// Message is the API message's name.
	Message string
	// ResourceType and ResourceUUID name the inventory in the answer, when
	// they are known beforehand.
	ResourceType, ResourceUUID string
	// AccountUUID is the caller's account, "" for one that is not known.
	AccountUUID string
	// WebHook is the http or https URL that is told of the end; "" for none.
	WebHook string
}

// Outcome is how a job ended: with Err; or with the inventory of a resource;
// or with Result as the whole body; or, when all is empty, with "{}".
type Outcome struct {
	Err                        error
	ResourceType, ResourceUUID string
	Result                     json.RawMessage
}

// Status is what a poll sees.
type Status struct {
	// Done is false while the job is processing; the rest is then empty.
	Done bool
	// Err is why the job failed.
	Err error
	// Body is the answer of a job that did not fail: a JSON object.
	Body json.RawMessage
	// Schema maps the paths of Body to Java classes.
	Schema map[string]string
}

// Renderer shows resources. It is given by who has a query engine.
type Renderer interface {
	// Render returns the inventory of a resource and its schema: the path
	// below the inventory, "" for itself, to the Java class. errs.NotFound
	// when the resource is gone.
	Render(ctx context.Context, resourceType, resourceUUID string) (json.RawMessage, map[string]string, error)
}

// Settings bound the jobs. DefaultSettings returns the values of the API's
// documentation (catalogue README, section 4).
type Settings struct {
	// Expiry is how long after its creation an ended job is kept, SweepEvery
	// how often the expired ones are deleted.
	Expiry, SweepEvery time.Duration
	// KeepFailed is for how long a job that failed stays to be looked at with what
	// its flows did (flow.Engine.Traces); polls find it no longer than Expiry.
	KeepFailed time.Duration
	// Remember is how many ended jobs are kept in memory as well, and how many
	// refused ones of strangers, which are nowhere else.
	Remember int
	// Refused is how many refused jobs are kept of one account.
	Refused int
	// Waiters bounds the polls that are held open; more are answered at once.
	Waiters int
	// HookTries and HookPause are how often and with what pause a web hook is
	// called until it answers 2xx; HookTimeout bounds each call.
	HookTries              int
	HookPause, HookTimeout time.Duration
	// EncodeError and DecodeError keep the error of an ended job as text, for
	// polls after it has left the memory. Default: package errtext.
	EncodeError func(error) string
	DecodeError func(string) error
	// ErrorBody returns what a poll of a failed job answers, for web hooks.
	ErrorBody func(error) json.RawMessage
	// Trusted tells whether an account's web hooks may lead to the server itself,
	// Listed to which networks everybody's may (package outbound). Default: no
	// account, and none.
	Trusted func(accountUUID string) bool
	Listed  func() []netip.Prefix
}

// DefaultSettings returns the settings that New uses.
func DefaultSettings() Settings {
	return Settings{
		Expiry: 10800 * time.Second, SweepEvery: 3600 * time.Second, KeepFailed: 24 * time.Hour,
		Remember: 2000, Refused: 1000, Waiters: 10000,
		HookTries: 15, HookPause: 2 * time.Second, HookTimeout: 10 * time.Second,
		EncodeError: errtext.Encode, DecodeError: errtext.Decode, ErrorBody: plainErrorBody,
		Trusted: func(string) bool { return false }, Listed: func() []netip.Prefix { return nil },
	}
}

// plainErrorBody is the error shape of the API with the class as its code.
func plainErrorBody(err error) json.RawMessage {
	body, jsonErr := json.Marshal(map[string]any{"error": map[string]string{"code": string(errs.ClassOf(err)), "details": err.Error()}})
	if jsonErr != nil {
		return json.RawMessage(`{"error":{}}`)
	}
	return body
}

// The states of a job's row.
const (
	Processing = "Processing"
	Done       = "Done"
)

// Row is a job in the database; its account may list and read it.
type Row struct {
	UUID         string        `db:"uuid" kumo:"size=32,immutable"`
	Message      string        `db:"message" kumo:"size=255,immutable" caption:"Message|消息"`
	State        string        `db:"state" kumo:"size=16,values=Processing|Done"`
	ResourceType string        `db:"resourceType" kumo:"size=100,null"`
	ResourceUUID string        `db:"resourceUuid" kumo:"size=32,null,refby=resourceType"`
	AccountUUID  string        `db:"accountUuid" kumo:"size=32,null,hidden"`
	Error        string        `db:"error" kumo:"text,null,hidden"`
	Why          string        `db:"cause" kumo:"text,null" caption:"Why it failed|失败原因"` // the text of Error
	Result       string        `db:"result" kumo:"text,null,secret" caption:"Result|结果"`
	WebHook      string        `db:"webHook" kumo:"text,null,secret" caption:"Web hook|回调地址"` // cleared when it is delivered or given up
	CreateDate   resource.Time `db:"createDate" kumo:"immutable,index"`
	DoneDate     resource.Time `db:"doneDate" kumo:"null" caption:"Ended|结束时间"`
	// OwnerUUID and Epoch are those of the management node that accepted it.
	OwnerUUID string `db:"ownerUuid" kumo:"size=32,null" caption:"Management node|管理节点"`
	Epoch     int64  `db:"epoch" caption:"Epoch|纪元"`
}

var rows = resource.Define[Row](resource.Type{
	Name: "Job", Path: "/jobs", FQN: "cloud.kumo.job.JobInventory", Owned: true, Incidental: true,
	Enums: map[string]*resource.Enum{"state": {Name: "JobState", Values: []resource.Value{
		{Name: Processing, Caption: resource.Say("At work", "执行中"), Tone: resource.Progress, Transient: true},
		{Name: Done, Caption: resource.Say("Done", "已结束"), Tone: resource.Success},
	}}},
	View: resource.View{
		Caption: resource.Say("Task", "任务"), Noun: "job", Aliases: []string{"task"},
		Group: "operations", Order: 10, Icon: "task", Label: "message", Context: []string{"resourceType"},
		Doc:     resource.Say("A call that was accepted, and what came of it.", "已受理的调用及其结果。"),
		Columns: []string{"message", "state", "resourceType", "resourceUuid", "cause", "createDate", "doneDate"},
	},
})

// Types returns the resource types of this package, for the registry.
func Types() []*resource.Type { return []*resource.Type{rows.Type} }

// Service keeps the jobs. Its methods may be called from any goroutine.
type Service struct {
	// Owner is set before the first job.
	Owner store.Owner

	store  *store.Store
	render Renderer
	log    hclog.Logger
	hooks  *dispatch.Queues
	// client calls the web hooks of accounts, trusted those of administrators.
	client, trusted httpClient

	mu       sync.Mutex
	settings Settings
	entries  map[string]*entry // every job that is processing, and the last ended ones
	ended    ring              // those of the ended ones that the database has
	// strangers are the refused ones of callers that are not known.
	strangers ring
	refused   map[string]*ring // by account
	refusals  []refusal        // to be written
	writing   bool             // somebody writes them
	waiters   int
	pending   int  // web hooks that wait or run
	overflow  bool // there are web hooks in the database that are not pending
	closed    bool
}

// New makes the service. render may be nil when no job has an inventory.
func New(s *store.Store, render Renderer, log hclog.Logger) *Service {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	j := &Service{store: s, render: render, log: log, entries: map[string]*entry{}, refused: map[string]*ring{}, settings: DefaultSettings()}
	listed := func() []netip.Prefix { return j.config().Listed() }
	j.client, j.trusted = newClient(outbound.Policy{Listed: listed}), newClient(outbound.Policy{Trusted: true, Listed: listed})
	j.hooks = dispatch.New(dispatch.Limits{Parallel: hookWorkers, Queue: 2 * maxPending, Log: log},
		func(it dispatch.Item) { j.deliver(it.Work.(hook)) })
	return j
}

// Configure changes the settings; zero fields keep their value. Remember and
// Refused take effect only before the first job.
func (s *Service) Configure(c Settings) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set(&s.settings.Expiry, c.Expiry)
	set(&s.settings.SweepEvery, c.SweepEvery)
	set(&s.settings.KeepFailed, c.KeepFailed)
	set(&s.settings.Remember, c.Remember)
	set(&s.settings.Refused, c.Refused)
	set(&s.settings.Waiters, c.Waiters)
	set(&s.settings.HookTries, c.HookTries)
	set(&s.settings.HookPause, c.HookPause)
	set(&s.settings.HookTimeout, c.HookTimeout)
	if c.EncodeError != nil && c.DecodeError != nil {
		s.settings.EncodeError, s.settings.DecodeError = c.EncodeError, c.DecodeError
	}
	if c.ErrorBody != nil {
		s.settings.ErrorBody = c.ErrorBody
	}
	if c.Trusted != nil && c.Listed != nil {
		s.settings.Trusted, s.settings.Listed = c.Trusted, c.Listed
	}
}

func set[T comparable](to *T, v T) {
	var zero T
	if v != zero {
		*to = v
	}
}

func (s *Service) config() Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settings
}

// check refuses a job that could not be kept.
func (j *Job) check() error {
	if len(j.UUID) != 32 {
		return errs.New(errs.Invalid, "job "+j.UUID, "a job's uuid has 32 characters, not %d", len(j.UUID))
	}
	for _, c := range []byte(j.UUID) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') {
			return errs.New(errs.Invalid, "job "+j.UUID, "a job's uuid is made of letters and digits")
		}
	}
	if j.WebHook == "" {
		return nil
	}
	u, err := url.Parse(j.WebHook)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || len(j.WebHook) > 2048 {
		return errs.Wrap(errs.Invalid, "web hook of job "+j.UUID, err, "it is not an http or https URL of at most 2048 characters")
	}
	return nil
}
