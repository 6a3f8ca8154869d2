package action

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"time"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Request is one API call from outside.
type Request struct {
	Action *Action
	Input  Input
	// Credentials are nil when the client sent none (anonymous actions).
	Credentials *Credentials
	// Caller is who sent it, when Registry.Authenticate has told that already.
	Caller *Caller
	// JobUUID is the UUID that the client wants for the job; "" for a new one.
	JobUUID, WebHook string
	// Timeout overrides the action's bound when positive.
	Timeout time.Duration
	// Client is the network address that the request came from.
	Client string
	// Plan asks for the plan of a delete in place of the delete.
	Plan bool
}

// Reply is the answer: a job, or a body.
type Reply struct {
	Job     string
	Timeout time.Duration
	Body    json.RawMessage
	// Schema maps JSON paths of the body to Java classes; may be nil.
	Schema map[string]string
	// Query tells that the body has its schema already, which is always shown.
	Query bool
}

// validationOnly is the system tag that stops a call after its checks.
const validationOnly = "validationOnly"

// Serve runs a request. Errors of type *HTTPError are failures of the HTTP
// layer; all others are API errors of a synchronous call. For asynchronous
// actions every API error goes to the job.
func (r *Registry) Serve(ctx context.Context, req *Request) (*Reply, error) {
	a := req.Action
	limit := r.limit(ctx, req)
	if a.Query != "" {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return r.serveQuery(ctx, req)
	}
	params, b, err := a.decode(&req.Input)
	if err != nil {
		return nil, err
	}
	c := &Call{Message: a.Message, Client: req.Client, SystemTags: b.systemTags, UserTags: b.userTags, Plan: req.Plan}
	ctx = r.auditBegin(WithCall(ctx, c), a, c)
	stop, err := r.admit(ctx, req, c, params, &b)
	if err == nil && !stop {
		params, stop, err = r.observed(ctx, a, c, &req.Input, params)
	}
	if req.Plan {
		if err != nil {
			return nil, err
		}
		return r.servePlan(ctx, a, c, params)
	}
	if a.Async {
		return r.accept(ctx, req, c, params, limit, stop, err)
	}
	if err != nil {
		r.auditEnd(ctx, a, c, params, true, err)
		return nil, err
	}
	if stop {
		return &Reply{Body: json.RawMessage("{}")}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	res, err := r.call(ctx, a, c, params)
	r.auditEnd(ctx, a, c, params, false, err)
	if err != nil {
		return nil, err
	}
	body, schema, err := r.Render(ctx, res)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: body, Schema: schema}, nil
}

func (r *Registry) limit(ctx context.Context, req *Request) time.Duration {
	if req.Timeout > 0 {
		return req.Timeout
	}
	if r.ports.Timeout != nil && req.Action.Async {
		if d := r.ports.Timeout(ctx, req.Action); d > 0 {
			return d
		}
	}
	return req.Action.Limit()
}

// admit runs every check before the handler. stop is true when the call ends
// here with success: validationOnly, or a missing resource that does not
// matter. The session comes first: strangers learn nothing about what
// exists, and a caller who is known has the web hook called also for bad fields.
func (r *Registry) admit(ctx context.Context, req *Request, c *Call, params any, b *base) (stop bool, err error) {
	a := req.Action
	if err := r.authenticate(ctx, req, c); err != nil {
		return false, err
	}
	if err := a.checkFields(params, b); err != nil {
		return false, err
	}
	if err := a.setIdentity(c, b); err != nil {
		return false, err
	}
	return r.permit(ctx, a, c, params)
}

func (r *Registry) authenticate(ctx context.Context, req *Request, c *Call) error {
	if req.Action.Access == Anonymous {
		return nil
	}
	if req.Credentials == nil {
		return errs.New(errs.Unauthenticated, req.Action.Message, "no session or access key was given").
			WithAdvice("log in and send Authorization: OAuth <session>")
	}
	if req.Caller != nil {
		c.Caller = *req.Caller
		return nil
	}
	caller, err := r.Authenticate(ctx, *req.Credentials)
	c.Caller = caller
	return err
}

// Authenticate tells who a client is, before its request is read: a stranger's
// costs less. errs.Unauthenticated as of Authenticator.
func (r *Registry) Authenticate(ctx context.Context, c Credentials) (Caller, error) {
	if r.ports.Auth == nil {
		return Caller{}, errs.New(errs.Internal, "action registry", "no authenticator is wired")
	}
	return r.ports.Auth.Authenticate(ctx, c)
}

// setIdentity checks and sets what base messages carry.
func (a *Action) setIdentity(c *Call, b *base) error {
	if a.Create {
		c.ResourceUUID = b.resourceUUID
		if c.ResourceUUID == "" {
			c.ResourceUUID = resource.NewUUID()
		} else if !IsUUID(c.ResourceUUID) {
			return errs.New(errs.Invalid, "parameter resourceUuid of "+a.Message,
				"%q is not a UUID of 32 hex digits without dashes", c.ResourceUUID)
		}
	}
	if a.Method != http.MethodDelete {
		return nil
	}
	switch b.deleteMode {
	case "", "Permissive":
		c.DeleteMode = "Permissive"
	case "Enforcing":
		c.DeleteMode = "Enforcing"
	default:
		return errs.New(errs.Invalid, "parameter deleteMode of "+a.Message,
			"%q is neither Permissive nor Enforcing", b.deleteMode)
	}
	return nil
}

// permit checks access class, existence, ownership, tags and quota.
func (r *Registry) permit(ctx context.Context, a *Action, c *Call, params any) (stop bool, err error) {
	if a.Access == Internal && !c.Caller.System {
		return false, errs.New(errs.Denied, a.Message, "only the platform itself may call it")
	}
	if a.Access == Admin && !c.Caller.Admin {
		return false, errs.New(errs.Denied, a.Message, "only the admin account may call it")
	}
	gone, err := r.checkTargets(ctx, a, c, params)
	if err != nil || gone {
		return gone, err
	}
	if !c.Plan {
		if err := r.checkTags(ctx, a, c); err != nil {
			return false, err
		}
	}
	if r.ports.Quota != nil && !c.Caller.Admin && a.Access != Anonymous {
		if err := r.ports.Quota.Check(ctx, c, params); err != nil {
			if errs.ClassOf(err) == errs.Exhausted {
				err = WithCode("ID.1003", err)
			}
			return false, err
		}
	}
	if slices.Contains(c.SystemTags, validationOnly) {
		return true, nil
	}
	return false, nil
}

func (r *Registry) checkTags(ctx context.Context, a *Action, c *Call) error {
	if !a.Create || a.TagType == "-" || r.ports.Tags == nil {
		return nil
	}
	system := slices.DeleteFunc(slices.Clone(c.SystemTags), func(s string) bool { return s == validationOnly })
	if len(system) == 0 && len(c.UserTags) == 0 {
		return nil
	}
	t := a.TagType
	if t == "" {
		t = a.Returns
	}
	if err := r.ports.Tags.CheckCreate(ctx, t, system, c.UserTags); err != nil {
		return err
	}
	if slices.Contains(c.SystemTags, validationOnly) {
		system = append(system, validationOnly)
	}
	c.SystemTags = system // as they are spelled
	return nil
}

// checkTargets finds the resources that the call names and checks their owner.
// gone is true when a missing one means success.
func (r *Registry) checkTargets(ctx context.Context, a *Action, c *Call, params any) (gone bool, err error) {
	if r.ports.Lookup == nil {
		return false, nil
	}
	targets, of := a.targets(params)
	if len(targets) == 0 {
		return false, nil
	}
	found, err := r.ports.Lookup.Lookup(ctx, c.Caller, targets)
	if err != nil {
		return false, fmt.Errorf("check the resources that %s names: %w", a.Message, err)
	}
	for i, t := range targets {
		f := of[i]
		if !found[i].Exists {
			if (f.MissingOK || a.SuccessIfMissing && f.In == "path") && IsUUID(t.UUID) {
				gone = true
				continue
			}
			return false, errs.New(errs.NotFound, t.Type+" "+t.UUID, "it does not exist (parameter %s of %s)", f.Name, a.Message)
		}
		if err := found[i].allows(t, a.changes(f)); err != nil {
			return false, err
		}
	}
	return gone, nil
}

// changes reports whether the action changes the resource that a parameter
// names: that of the path, unless the declaration says otherwise.
func (a *Action) changes(f *field) bool {
	return f.Write || f.In == "path" && a.Method != http.MethodGet && !f.Use
}

// allows refuses what the caller may not do with a resource that exists.
func (f Found) allows(t Target, write bool) error {
	switch {
	case f.Writable, f.Readable && !write:
		return nil
	case f.Readable && f.Ownerless:
		return errs.New(errs.Denied, t.Type+" "+t.UUID, "only the admin account may change resources of this type")
	case f.Readable:
		return errs.New(errs.Refused, t.Type+" "+t.UUID, "it does not belong to your account, which may use it but not change it").
			WithAdvice("ask its owner or the administrator")
	}
	return errs.New(errs.Refused, t.Type+" "+t.UUID, "it belongs to another account and is not shared with yours").
		WithAdvice("ask its owner or the administrator to share it")
}

// Authorize checks that the caller may use a resource whose type is known only
// at run time (tags, settings of a resource): errs.NotFound, errs.Refused.
func (r *Registry) Authorize(ctx context.Context, caller Caller, t Target, write bool) error {
	if r.ports.Lookup == nil {
		return errs.New(errs.Internal, "action registry", "no look-up is wired")
	}
	found, err := r.ports.Lookup.Lookup(ctx, caller, []Target{t})
	if err != nil {
		return err
	}
	if !found[0].Exists {
		return errs.New(errs.NotFound, t.Type+" "+t.UUID, "it does not exist")
	}
	return found[0].allows(t, write)
}

// call runs the handler; a panic is an error of this call alone.
func (r *Registry) call(ctx context.Context, a *Action, c *Call, params any) (res any, err error) {
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("API handler panicked", "message", a.Message, "job", c.Job, "error", p, "stack", string(debug.Stack()))
			res, err = nil, errs.New(errs.Internal, a.Message, "the handler failed unexpectedly").
				WithAdvice("the management node's log has the details")
		}
	}()
	return a.handler(ctx, c, params)
}

// accept makes the call a job. checkErr and stop are how the checks ended.
func (r *Registry) accept(ctx context.Context, req *Request, c *Call, params any, limit time.Duration, stop bool, checkErr error) (*Reply, error) {
	a := req.Action
	if r.ports.Jobs == nil || r.ports.Queue == nil {
		return nil, errs.New(errs.Internal, a.Message, "no job store is wired")
	}
	c.Job = req.JobUUID
	if c.Job == "" {
		c.Job = resource.NewUUID()
	}
	key, keyErr := a.queueKey(ctx, c, params)
	if checkErr == nil && !stop {
		checkErr = cmp.Or(keyErr, wouldWait(ctx, a.Message, key))
	}
	job := Job{UUID: c.Job, Message: a.Message, AccountUUID: c.Caller.AccountUUID, WebHook: req.WebHook, Timeout: limit}
	if a.Returns != "" && a.result == refType {
		job.ResourceType, job.ResourceUUID = a.Returns, a.shown(c, params, key)
	}
	reply := &Reply{Job: c.Job, Timeout: limit}
	if rej, ok := r.ports.Jobs.(Rejecter); ok && checkErr != nil {
		r.auditEnd(ctx, a, c, params, true, checkErr)
		return reply, jobError(rej.Reject(ctx, job, checkErr), c.Job)
	}
	if r.ports.Audit != nil {
		r.ports.Audit.Accepted(ctx, a.about(c, params))
	}
	if err := r.ports.Jobs.Accept(ctx, job); err != nil {
		if r.ports.Audit != nil {
			r.ports.Audit.Dropped(ctx)
		}
		return nil, jobError(err, c.Job)
	}
	// The job outlives the request that started it.
	ctx = context.WithoutCancel(ctx)
	if checkErr != nil || stop {
		r.ports.Jobs.Finish(ctx, c.Job, Outcome{Err: checkErr})
		return reply, nil
	}
	o := order(a, c, &req.Input, params, key, limit)
	o.inside = detached(ctx)
	if err := r.enqueue(ctx, a, o); err != nil {
		r.ports.Jobs.Finish(ctx, c.Job, Outcome{Err: err})
	}
	return reply, nil
}

// jobError makes a job UUID that was used before a malformed request.
func jobError(err error, uuid string) error {
	if err != nil && errs.ClassOf(err) == errs.Exists {
		return HTTPErrorf(http.StatusBadRequest, "X-Job-UUID %s has been used already", uuid)
	}
	return err
}

func (r *Registry) outcome(ctx context.Context, res any) Outcome {
	switch v := res.(type) {
	case Ref:
		if v.UUID == "" {
			return Outcome{}
		}
		return Outcome{Ref: &v}
	case Empty:
		return Outcome{}
	}
	body, _, err := r.Render(ctx, res)
	return Outcome{Result: body, Err: err}
}

// queueKey is the key whose calls run one after another.
func (a *Action) queueKey(ctx context.Context, c *Call, params any) (string, error) {
	key := a.ownKey(c, params)
	if a.Under == nil {
		return key, nil
	}
	whole, err := a.Under(ctx, key)
	return cmp.Or(whole, key), err
}

func (a *Action) ownKey(c *Call, params any) string {
	if a.Queue != "" {
		if s := a.text(a.Queue, params); s != "" {
			return s
		}
	}
	if a.Create {
		return c.ResourceUUID
	}
	for i := range a.fields {
		if f := &a.fields[i]; f.In == "path" && f.kind == kindText {
			if s := a.text(f.Name, params); s != "" {
				return s
			}
		}
	}
	return a.Message
}

// shown is the UUID of the resource whose inventory the answer has, where the
// request tells it: of a part, it is the whole in whose queue the call is.
func (a *Action) shown(c *Call, params any, key string) string {
	if a.Create {
		return c.ResourceUUID
	}
	for i := range a.fields {
		if f := &a.fields[i]; f.Resource == a.Returns && f.kind == kindText {
			return a.text(f.Name, params)
		}
	}
	if a.Under != nil {
		return key
	}
	return ""
}
