package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/job"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
)

// Row is one call. Of what the platform does by itself there are those calls
// only that went well and changed something.
type Row struct {
	UUID    string `db:"uuid" kumo:"size=32,immutable"`
	Message string `db:"message" kumo:"size=255,immutable" caption:"Message|消息"`
	// AccountUUID and UserUUID are the caller's, "" for one that is not known.
	AccountUUID string `db:"accountUuid" kumo:"size=32,null,immutable,index"`
	UserUUID    string `db:"userUuid" kumo:"size=32,null,immutable"`
	// Session tells the sessions of an account apart, and cannot be used as one.
	Session string `db:"session" kumo:"size=16,null,immutable" caption:"Session|会话"`
	// Client is the network address that the call came from.
	Client       string `db:"client" kumo:"size=64,null,immutable" caption:"Client address|客户端地址"`
	ResourceType string `db:"resourceType" kumo:"size=100,null,immutable"`
	ResourceUUID string `db:"resourceUuid" kumo:"size=32,null,immutable,index,refby=resourceType"`
	// Success, or the code of the error.
	Success   bool   `db:"success" kumo:"immutable" caption:"Success|成功"`
	ErrorCode string `db:"errorCode" kumo:"size=32,null,immutable" caption:"Error code|错误码"`
	// Fields are the columns of the resource that the call wrote, with commas
	// between.
	Fields  string `db:"fields" kumo:"text,null,immutable" caption:"Changed fields|变更字段"`
	JobUUID string `db:"jobUuid" kumo:"size=32,null,immutable"`
	// Took is the duration in milliseconds, of a job from its acceptance on.
	Took       int64         `db:"duration" kumo:"immutable,unit=ms" caption:"Duration|耗时"`
	CreateDate resource.Time `db:"createDate" kumo:"immutable,index" caption:"Time|时间"`
}

// Type is the type of audit records. An account sees its own.
var Type = resource.Define[Row](resource.Type{Name: "Audit", Path: "/audits", FQN: "org.zstack.zwatch.api.AuditsInventory", Owned: true, Incidental: true,
	View: resource.View{
		Caption: resource.Say("Audit record", "审计记录"), Noun: "audit",
		Group: "operations", Order: 40, Icon: "audit", Label: "message", Context: []string{"resourceType"},
		Doc:     resource.Say("Who called what from where, and what it changed.", "谁从何处发起了什么调用，以及它改变了什么。"),
		Columns: []string{"createDate", "message", "success", "resourceType", "resourceUuid", "accountUuid", "client", "-fields", "-errorCode", "-duration"},
	},
})

// Types returns the resource types of this package, for the registry.
func Types() []*resource.Type { return []*resource.Type{Type.Type} }

// Service keeps the records.
type Service struct {
	store  *store.Store
	config *config.Service
	log    hclog.Logger
	limit  limiter

	mu   sync.Mutex
	jobs map[string]*entry
}

// New makes the service and has it told of the ends of jobs.
func New(st *store.Store, c *config.Service, log hclog.Logger) *Service {
	s := &Service{store: st, config: c, log: log, jobs: map[string]*entry{}, limit: newLimiter()}
	st.Watch(s)
	return s
}

// Register defines the settings.
func (s *Service) Register() error {
	return s.config.Define(config.Setting{Category: "audit", Name: "retention.days", Type: "int", Default: "90", Min: 1, Max: 3650,
		Doc: "Days for which records of who changed what are kept."})
}

// entry is a call that has not ended. It is the cause of what it changes.
type entry struct {
	call  *action.Call
	begin time.Time

	mu     sync.Mutex
	about  action.Target
	wrote  bool                // something was changed
	fields map[string][]string // by resource
}

// maxResources bounds of how many resources a call's fields are noted; it has
// one as its subject, which is known when it has passed its checks.
const maxResources = 64

// JobUUID names the call's job, for events.
func (e *entry) JobUUID() string { return e.call.Job }

// Changed implements store.Cause.
func (e *entry) Changed(changes []store.Change) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.wrote = true
	for _, c := range changes {
		if c.Verb != store.Updated || e.about.UUID != "" && c.UUID != e.about.UUID || len(e.fields) >= maxResources {
			continue
		}
		if e.fields == nil {
			e.fields = map[string][]string{}
		}
		all := slices.Clone(e.fields[c.UUID])
		for _, name := range c.Fields {
			if f, ok := c.Type.Field(name); name != "lastOpDate" && (!ok || f.Visible()) && !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
		e.fields[c.UUID] = all
	}
}

// Begin implements action.Audit.
func (s *Service) Begin(ctx context.Context, c *action.Call) context.Context {
	s.mu.Lock()
	e := s.jobs[c.Job]
	s.mu.Unlock()
	if e == nil || c.Job == "" {
		e = &entry{call: c, begin: time.Now()}
	}
	return store.WithCause(ctx, e)
}

func entryOf(ctx context.Context, about action.Target) *entry {
	e, ok := store.CauseOf(ctx).(*entry)
	if ok {
		e.mu.Lock()
		e.about = about
		e.mu.Unlock()
	}
	return e
}

// Accepted implements action.Audit.
func (s *Service) Accepted(ctx context.Context, about action.Target) {
	if e := entryOf(ctx, about); e != nil {
		s.mu.Lock()
		s.jobs[e.call.Job] = e
		s.mu.Unlock()
	}
}

// Dropped implements action.Audit.
func (s *Service) Dropped(ctx context.Context) {
	if e, ok := store.CauseOf(ctx).(*entry); ok {
		s.forget(e.call.Job)
	}
}

func (s *Service) forget(job string) {
	s.mu.Lock()
	delete(s.jobs, job)
	s.mu.Unlock()
}

// End implements action.Audit.
func (s *Service) End(ctx context.Context, about action.Target, refused bool, err error) {
	e := entryOf(ctx, about)
	if e == nil || refused && !s.limit.allow(e.call, time.Now()) || e.call.Caller.System && (err != nil || !e.changed()) {
		return // what the platform looks at again and again is no change
	}
	row := e.row()
	if row.Success = err == nil; err != nil {
		row.ErrorCode = action.Wire(err).Code
	}
	werr := s.store.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error { return store.Insert(ctx, tx, Type, row) })
	if werr != nil {
		s.log.Error("call not recorded", "message", row.Message, "account", row.AccountUUID, "error", werr)
	}
}

func (e *entry) changed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.wrote
}

func (e *entry) row() *Row {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.call
	r := &Row{UUID: resource.NewUUID(), Message: c.Message, AccountUUID: c.Caller.AccountUUID, UserUUID: c.Caller.UserUUID, Client: c.Client,
		ResourceType: e.about.Type, ResourceUUID: e.about.UUID, JobUUID: c.Job, Took: time.Since(e.begin).Milliseconds(),
		CreateDate: resource.Time{Time: e.begin.UTC().Truncate(time.Millisecond)}, Fields: strings.Join(e.fields[e.about.UUID], ",")}
	if len(r.ResourceUUID) > 32 { // a refused call may name anything
		r.ResourceUUID = ""
	}
	if c.Caller.SessionUUID != "" {
		sum := sha256.Sum256([]byte(c.Caller.SessionUUID))
		r.Session = hex.EncodeToString(sum[:8])
	}
	return r
}

// Wants implements store.Watcher.
func (s *Service) Wants(t *resource.Type) bool { return t == job.RowType() }

// Committing implements store.Watcher: a job that ends has its record.
func (s *Service) Committing(ctx context.Context, tx *store.Tx, changes []store.Change) error {
	for i := range changes {
		c := &changes[i]
		if !ends(c) {
			continue
		}
		row, err := s.ofJob(ctx, tx, c.UUID)
		if err != nil {
			return err
		}
		row.Success = true
		if text, _ := c.Value("error"); text != nil && text != "" {
			row.Success, row.ErrorCode = false, action.Wire(action.DecodeError(text.(string))).Code
		}
		if err := store.Insert(ctx, tx, Type, row); err != nil {
			return err
		}
	}
	return nil
}

func ends(c *store.Change) bool {
	state, ok := c.Value("state")
	return ok && c.Verb == store.Updated && state == job.Done
}

// ofJob makes the record of a job: of one that the last process accepted what its
// row says.
func (s *Service) ofJob(ctx context.Context, tx *store.Tx, uuid string) (*Row, error) {
	s.mu.Lock()
	e := s.jobs[uuid]
	s.mu.Unlock()
	if e != nil {
		return e.row(), nil
	}
	values, err := store.GetValues(ctx, tx, job.RowType(), uuid)
	if err != nil {
		return nil, err
	}
	text := func(name string) string {
		s, _ := values[name].(string)
		return s
	}
	row := &Row{UUID: resource.NewUUID(), Message: text("message"), AccountUUID: text("accountUuid"), UserUUID: text("accountUuid"),
		ResourceType: text("resourceType"), ResourceUUID: text("resourceUuid"), JobUUID: uuid}
	if at, ok := values["createDate"].(resource.Time); ok {
		row.CreateDate, row.Took = at, time.Since(at.Time).Milliseconds()
	}
	return row, nil
}

// Committed implements store.Watcher.
func (s *Service) Committed(changes []store.Change) {
	for i := range changes {
		if ends(&changes[i]) {
			s.forget(changes[i].UUID)
		}
	}
}
