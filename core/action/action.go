package action

import (
	"context"
	"reflect"
	"time"

	"github.com/kumo-cloud/kumo/core/resource"
)

// Access says who may call an action. The zero value is no access class, so
// that a forgotten one is found at registration and never opens an API.
type Access int

const (
	// Anonymous actions need no session.
	Anonymous Access = iota + 1
	// Normal actions need any valid session.
	Normal
	// Admin actions need a session of the admin account.
	Admin
	// Internal actions are what the platform asks of itself (Registry.Submit,
	// Registry.Do as System). They have no route, and nobody else may call them.
	Internal
)

// String returns the catalogue's word for the class.
func (a Access) String() string {
	switch a {
	case Anonymous:
		return "anonymous"
	case Normal:
		return "normal"
	case Admin:
		return "admin"
	case Internal:
		return "internal"
	}
	return "unset"
}

// Caller is who makes a call. Its zero value is the anonymous caller.
type Caller struct {
	// SessionUUID is the row of the session, empty for access keys and the system.
	// It is not what the client proves itself by.
	SessionUUID string
	// AccountUUID owns what the call creates.
	AccountUUID string
	// UserUUID is the user of the account; for an account's own session it is
	// the account's UUID.
	UserUUID string
	// Admin callers pass every access, ownership and quota check.
	Admin bool
	// System is the platform itself (System); no client ever is.
	System bool
}

// Call is one call of an action.
type Call struct {
	// Job is the API job's UUID; empty for synchronous and in-process calls.
	Job string
	// Caller is who calls.
	Caller Caller
	// Client is the network address that the request came from, without its
	// port; empty for calls inside the process.
	Client string
	// Message is the API message's name.
	Message string
	// ResourceUUID is, for create messages, the UUID of the new resource: the
	// one the client chose, or a new one.
	ResourceUUID string
	// SystemTags and UserTags were given with the message. Those of create
	// messages have been checked; the handler stores them in its transaction.
	SystemTags, UserTags []string
	// DeleteMode is "Permissive" or "Enforcing" for delete messages, else "".
	DeleteMode string
	// Plan is true when only the plan of a delete is wanted. Handlers never see
	// it set: the registry answers plans itself.
	Plan bool
}

type callKey struct{}

// WithCall returns a context that carries c.
func WithCall(ctx context.Context, c *Call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// FromContext returns the call that ctx belongs to, or nil outside of one.
func FromContext(ctx context.Context) *Call {
	c, _ := ctx.Value(callKey{}).(*Call)
	return c
}

// Param is one declared parameter of an action.
type Param struct {
	// Name is the wire name.
	Name string
	// Type is the catalogue's type word: "string", "int", "long?", "[]string",
	// "map<string>", … ("?": may be absent, told from its zero value).
	Type string
	// In is "path" for a variable of the URL, else "".
	In string
	// Required parameters must be given.
	Required bool
	// NonEmpty lists must have an element; NoEmptyString strings a character.
	NonEmpty, NoEmptyString bool
	// Secret values never reach logs or OpenAPI examples.
	Secret bool
	// NoTrim keeps blanks around the text; they are trimmed otherwise.
	NoTrim bool
	// MinLength and MaxLength count characters. A MaxLength of 0 is Most, else
	// that of the kind, else defaultText: the wire's catalogue has no bound there.
	MinLength, MaxLength, Most int
	// Holds is the kind of the text, or of each of a list (kinds.All): it is
	// checked by that, and handlers get its one spelling.
	Holds string
	// Values are the only texts allowed, when there are any. Captions has what
	// people call some of them.
	Values   []string
	Captions map[string]resource.Caption
	// Range has the inclusive bounds of numbers; nil for none.
	Range *[2]int64
	// Resource is the resource type that the UUID must name. The caller may read
	// it, and for a parameter of the path or with Write change it.
	Resource string
	// AnyType: the UUID names a resource of a type that is known only when the
	// call is made; its handler looks it up by Registry.Authorize, or only the
	// administrator may call it. Or the UUID is a secret, as a session's is.
	AnyType bool
	// Write: the action changes the resource though it is not in the path. Use:
	// it does not, though it is.
	Write, Use bool
	// MissingOK lets the message succeed when the resource is gone
	// (successIfResourceNotExisting).
	MissingOK bool
	// Default is the value when none is given, as text.
	Default string
	// Doc is one sentence for people.
	Doc string
	// View is how people see it.
	View ParamView
	// Members are those of each element, for the type Objects.
	Members []Param

	goType reflect.Type
}

// Action declares one API message.
type Action struct {
	// Message is the name, such as "APICreateZoneMsg".
	Message string
	// Method and Path are the route, without "/zstack/v1"; variables in braces.
	// Internal actions have none.
	Method, Path string
	// Optional has more paths with the same method.
	Optional []string
	// Key is the body key that holds the parameters: "params", "null" or the
	// action's name. Empty means the usual one for the method ("params" for
	// POST, the message without API and Msg for PUT, none else); "-" means none.
	Key string
	// Async actions answer 202 with a job.
	Async bool
	// Access says who may call it; required.
	Access Access
	// Params come from the parameter struct; RegisterDynamic needs them here.
	Params []Param
	// Values are those of parameters whose values are known only when the server
	// starts, such as what plugins offer.
	Values map[string][]resource.Value
	// Create marks messages with resourceUuid and tags (APICreateMessage).
	Create bool
	// Queue names the parameter whose value is the dispatch key. By default
	// it is the new UUID for creates, else the first path variable, else the
	// message.
	Queue string
	// Under, which may be nil, tells the key when it is not the value of Queue itself:
	// what is done to a part of a resource runs in the queue of the whole. It only
	// reads, quickly; "" leaves the value as it is.
	Under func(ctx context.Context, value string) (key string, err error)
	// Kind is the class of work whose concurrency dispatch bounds; may be "".
	Kind string
	// On tells for which host the work under a key will wait, "" when that is not
	// known: an account's work on a host that hangs leaves places for its other work.
	// It is asked of every call before it is queued, so it must be quick. nil knows none;
	// the work itself tells with each call of a plugin (WaitsFor).
	On func(ctx context.Context, key string, params any) string
	// Returns is the resource type of "inventory", "" for none. For creates it
	// is also the type whose tag patterns apply.
	Returns string
	// TagType is the resource type whose tag patterns apply when it is not
	// Returns; "-" leaves tags unchecked (a create that stores none).
	TagType string
	// FQN is the Java class of the message (apiTimeout settings); may be "".
	FQN string
	// Doc is what the action does, one or two sentences.
	Doc string
	// SuccessIfMissing makes the action succeed when the resource named by any
	// of its MissingOK parameters is gone.
	SuccessIfMissing bool
	// Timeout bounds the call; 0 is 30 minutes, for synchronous calls 5 minutes.
	Timeout time.Duration
	// Query is the resource type that a query lists; set by RegisterQuery.
	Query string
	// Removes tells what a DELETE message takes away, for ?plan=true; it changes
	// nothing. A message whose paths end in their only variable, which names a
	// resource, deletes that resource and needs none; every other one must have
	// it, for the resource that its path names first is not what it removes.
	Removes func(ctx context.Context, c *Call, params any) (Removal, error)
	// TakesUp is for actions that take up by themselves what earlier operations
	// under their key left to be undone; for all others Ports.Finish has done it.
	TakesUp bool
	// View is how people see it.
	View View
	// Plugin is the name of the plugin that carries it out, when the action does not
	// tell by its type.
	Plugin string

	fields  []field
	handler handler
	brought bool // registered by Bring
	newP    func() reflect.Value
	result  reflect.Type
}

// Removal is what a DELETE message takes away.
type Removal struct {
	// Subject is the resource that the message is about. It stays, unless it is
	// one of Rows.
	Subject Row
	// Rows go, with all that depends on them; none when there is nothing to do.
	Rows []Row
	// Against has the reasons for which the message would be refused now.
	Against []error
}

// Row is a row of a removal. Name is what people call it; it may be empty where
// its type has names.
type Row struct{ Type, UUID, Name string }

// Removes makes Action.Removes of a function on the message's parameters.
func Removes[P any](f func(ctx context.Context, c *Call, p *P) (Removal, error)) func(context.Context, *Call, any) (Removal, error) {
	return func(ctx context.Context, c *Call, params any) (Removal, error) { return f(ctx, c, params.(*P)) }
}

// Ref is a result that names a resource: {"inventory": …}.
type Ref struct{ Type, UUID string }

// Refs is a result that names several: {"inventories": […]}.
type Refs []Ref

// Empty is the result of actions that answer {}.
type Empty struct{}

// Default bounds of a call (README of the catalogue, section 4).
const (
	DefaultAsyncTimeout = 30 * time.Minute
	DefaultSyncTimeout  = 5 * time.Minute
)

// FormatTime writes an instant as the wire does, in the server's zone: "Nov 14,
// 2017 10:20:57 PM" (catalogue README, section 5).
func FormatTime(t time.Time) string { return t.Local().Format("Jan 2, 2006 3:04:05 PM") }

// Limit returns the time that a call may take.
func (a *Action) Limit() time.Duration {
	switch {
	case a.Timeout > 0:
		return a.Timeout
	case a.Async:
		return DefaultAsyncTimeout
	}
	return DefaultSyncTimeout
}

// Param returns the declared parameter of that name.
func (a *Action) Param(name string) (Param, bool) {
	for _, p := range a.Params {
		if p.Name == name {
			return p, true
		}
	}
	return Param{}, false
}

// ParamType returns the Go type that holds the parameter, nil for dynamic ones.
func (p Param) ParamType() reflect.Type { return p.goType }

// ResultType returns the Go type of the handler's result, nil for queries.
func (a *Action) ResultType() reflect.Type { return a.result }

// Paths returns Path and Optional, without an empty Path.
func (a *Action) Paths() []string {
	out := make([]string, 0, 1+len(a.Optional))
	if a.Path != "" {
		out = append(out, a.Path)
	}
	return append(out, a.Optional...)
}
