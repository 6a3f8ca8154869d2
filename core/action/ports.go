package action

import (
	"context"
	"encoding/json"
	"net/url"
	"time"

	"github.com/kumo-cloud/kumo/core/dispatch"
)

// Credentials are what a client sent to prove who it is. Web parses them; the
// Authenticator judges.
type Credentials struct {
	// SessionUUID is set for "OAuth".
	SessionUUID string
	// AccessKeyID and Signature are set for "ZStack"; Method, Date and URI are
	// what was signed.
	AccessKeyID, Signature, Method, Date, URI string
}

// Authenticator tells who a client is.
type Authenticator interface {
	// Authenticate returns the caller. errs.Unauthenticated when the session is
	// unknown or has expired, or the signature is wrong.
	Authenticate(ctx context.Context, c Credentials) (Caller, error)
}

// Target names a resource that a parameter points to.
type Target struct{ Type, UUID string }

// Found is what is known of a Target, and what the caller may do with it.
type Found struct {
	Exists bool
	// Readable: it belongs to the caller, is shared with it, or everybody may
	// read it, so that a call may use it. Writable: a call may change it.
	Readable, Writable bool
	// Ownerless: its type belongs to no account, and so to the administrator.
	Ownerless bool
}

// Lookup finds resources for the checks of existence and ownership, which are
// one: nobody gets a row of another account unchecked.
type Lookup interface {
	// Lookup answers one Found for each target, in order.
	Lookup(ctx context.Context, caller Caller, targets []Target) ([]Found, error)
}

// Quota checks the caller's quota before a create; errors are
// errs.Exhausted and become ID.1003.
type Quota interface {
	Check(ctx context.Context, c *Call, params any) error
}

// Tags checks the tags of a create message before anything happens, and puts the
// spelling in which a tag is kept in its place.
type Tags interface {
	CheckCreate(ctx context.Context, resourceType string, systemTags, userTags []string) error
}

// Renderer gives the inventory of a resource as JSON and its schema (JSON path
// below the inventory, "" for itself, to Java class).
type Renderer interface {
	Inventory(ctx context.Context, typeName, uuid string) (json.RawMessage, map[string]string, error)
}

// QueryResult is the answer to a query.
type QueryResult struct {
	Inventories []json.RawMessage
	Total       int64
	// HasTotal adds "total"; CountOnly leaves "inventories" out.
	HasTotal, CountOnly bool
	// Schema has full paths: "inventories[0].nics[1]"; nil is not written.
	Schema map[string]string
	// Names are what the resources are called that the inventories refer to, when
	// they were asked for: a JSON object by UUID.
	Names json.RawMessage
}

// Querier runs the query of a URL. Its answer is that of QueryResult.Body, which
// others may be given too: nobody changes it. Errors in the grammar are *HTTPError.
type Querier interface {
	Query(ctx context.Context, typeName string, v url.Values, c Caller) (json.RawMessage, error)
}

// Planner answers ?plan=true: the tree that a removal would touch, as JSON can
// write it. errs.NotFound when the subject is gone.
type Planner interface {
	Plan(ctx context.Context, r Removal) (any, error)
}

// Job is an accepted asynchronous call.
type Job struct {
	UUID, Message string
	// ResourceType and ResourceUUID name what the answer will show, so that it
	// can be shown after a restart; empty when there is no inventory.
	ResourceType, ResourceUUID string
	AccountUUID                string
	WebHook                    string
	Timeout                    time.Duration
}

// Outcome is how a call ended: Err, or an inventory (Ref), or a Result.
type Outcome struct {
	Err    error
	Ref    *Ref
	Result json.RawMessage
}

// Jobs keeps asynchronous calls. Accept returns once the job is durable;
// errs.Exists when its UUID was used before.
type Jobs interface {
	Accept(ctx context.Context, j Job) error
	Finish(ctx context.Context, uuid string, o Outcome)
}

// Rejecter is optional for Jobs: it takes a call that failed its checks, so
// that unauthenticated clients cause no writes. Same errors as Accept.
type Rejecter interface {
	Reject(ctx context.Context, j Job, err error) error
}

// Queue has Registry.Run run items in the order of their keys. On an error an
// item is never run.
type Queue interface {
	Submit(dispatch.Item) error
}

// Ports are what the registry needs of others. Nil ones switch their check
// off, except Auth, Jobs and Queue, without which calls that need them fail
// with errs.Internal.
type Ports struct {
	Auth   Authenticator
	Lookup Lookup
	Quota  Quota
	Tags   Tags
	Render Renderer
	Query  Querier
	Plan   Planner
	Jobs   Jobs
	Queue  Queue
	// SystemAccount is the account as which the platform acts.
	SystemAccount string
	Audit         Audit
	// Before shows a call that has passed its checks to those who observe it, who may
	// refuse or amend it. nil asks nobody.
	Before func(ctx context.Context, q Asked) (Amended, error)
	// Finish ends what earlier operations under a queue's key left to be undone;
	// with force, what cannot be undone is passed over. It runs before each
	// asynchronous handler; its error does not stop those that work without it.
	Finish func(ctx context.Context, key string, force bool) error
	// Timeout returns the configured bound of an action (category apiTimeout);
	// nil or 0 leaves the declared one.
	Timeout func(ctx context.Context, a *Action) time.Duration
}
