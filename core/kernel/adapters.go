package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/batch"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/job"
	"github.com/kumo-cloud/kumo/core/query"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// The packages of the core do not import each other where a small interface
// is enough; these adapters fit one's interface to another's type.

// jobs is job.Service as the action registry and the API see it.
type jobs struct{ *job.Service }

func (j jobs) Accept(ctx context.Context, a action.Job) error { return j.Service.Accept(ctx, jobOf(a)) }

func (j jobs) Reject(ctx context.Context, a action.Job, err error) error {
	return j.Service.Reject(ctx, jobOf(a), err)
}

func jobOf(a action.Job) job.Job {
	return job.Job{UUID: a.UUID, Message: a.Message, ResourceType: a.ResourceType, ResourceUUID: a.ResourceUUID,
		AccountUUID: a.AccountUUID, WebHook: a.WebHook}
}

func (j jobs) Finish(ctx context.Context, uuid string, o action.Outcome) {
	out := job.Outcome{Err: o.Err, Result: o.Result}
	if o.Ref != nil {
		out.ResourceType, out.ResourceUUID = o.Ref.Type, o.Ref.UUID
	}
	j.Service.Finish(ctx, uuid, out)
}

// renderer shows resources for jobs and actions.
type renderer struct {
	query *query.Engine
	store *store.Store
	dear  *dear
	// shown reads what those ask for whose work the same commit has ended.
	shown *batch.Groups[map[string]query.Shown]
}

func (r renderer) Render(ctx context.Context, typeName, uuid string) (json.RawMessage, map[string]string, error) {
	return r.Inventory(ctx, typeName, uuid)
}

// Inventory gives the schema's paths below the inventory, as jobs and actions
// put them under a key of theirs; the engine's begin with "inventory".
func (r renderer) Inventory(ctx context.Context, typeName, uuid string) (json.RawMessage, map[string]string, error) {
	all, err := r.shown.Do(ctx, typeName, uuid, func(uuids []string) (map[string]query.Shown, error) {
		return r.query.Inventories(ctx, r.store, typeName, uuids)
	})
	if err != nil {
		return nil, nil, err
	}
	one, ok := all[uuid]
	if !ok {
		return nil, nil, errs.New(errs.NotFound, typeName+" "+uuid, "there is no such row")
	}
	below := make(map[string]string, len(one.Schema))
	for path, class := range one.Schema {
		below[strings.TrimPrefix(strings.TrimPrefix(path, "inventory"), ".")] = class
	}
	return one.Inventory, below, nil
}

// Query answers the query of a URL (action.Querier), from memory while nothing
// that it was made of has changed.
func (r renderer) Query(ctx context.Context, typeName string, v url.Values, c action.Caller) (json.RawMessage, error) {
	limited, end, err := r.dear.begin(ctx, v, c)
	if err != nil {
		return nil, r.dear.explain(ctx, typeName, c, err)
	}
	defer end()
	res, err := r.remembered(limited, typeName, v, c)
	return res, r.dear.explain(ctx, typeName, c, err)
}

func (r renderer) remembered(ctx context.Context, typeName string, v url.Values, c action.Caller) (json.RawMessage, error) {
	key := "query\x00" + typeName + "\x00" + c.AccountUUID + "\x00" + strconv.FormatBool(c.Admin) + v.Encode()
	return store.Remember(ctx, r.store, key, func(db store.Querier) (json.RawMessage, int, error) {
		res, err := r.ask(ctx, db, typeName, v, c)
		if err != nil {
			return nil, 0, err
		}
		body, err := res.Body()
		return body, cap(body), err
	})
}

// AskQuery answers the query of a URL as a caller sees it (action.Querier); its
// errors are those of the API.
func (k *Kernel) AskQuery(ctx context.Context, typeName string, v url.Values, c action.Caller) (json.RawMessage, error) {
	return k.shown.Query(ctx, typeName, v, c)
}

func (r renderer) ask(ctx context.Context, db store.Querier, typeName string, v url.Values, c action.Caller) (*action.QueryResult, error) {
	q, err := query.Parse(v)
	if err != nil {
		return nil, action.HTTPErrorf(http.StatusBadRequest, "%s", err.Error())
	}
	scope := query.Scope{Admin: c.Admin, AccountUUID: c.AccountUUID}
	res, err := r.query.RunIn(ctx, db, typeName, q, scope)
	if errors.Is(err, query.ErrUnknownField) {
		// The wire's code for this is that of an internal error (catalogue
		// README, section 8).
		return nil, action.WithCode("SYS.1000", err)
	}
	if err != nil {
		return nil, err
	}
	out := &action.QueryResult{Inventories: res.Inventories, Total: res.Total, HasTotal: res.HasTotal, CountOnly: q.Count, Schema: res.Schema}
	if !q.Names || q.Count {
		return out, nil
	}
	names, err := r.query.Names(ctx, db, typeName, res.Inventories, scope)
	if err != nil {
		return nil, err
	}
	if out.Names, err = json.Marshal(names); err != nil {
		return nil, errs.Wrap(errs.Internal, typeName, err, "write the names")
	}
	return out, nil
}

// Called has a call of a plugin in the trace of the flow that made it.
func Called(ctx context.Context, plugin, method string, took time.Duration, tries int, err error) {
	c := flow.TraceCall{Plugin: plugin, Method: method, Took: flow.Millis(took), Tries: tries}
	if err != nil {
		c.Error = err.Error()
	}
	flow.Called(ctx, c)
}

// planner answers ?plan=true.
type planner struct{ *cascade.Engine }

func (p planner) Plan(ctx context.Context, r action.Removal) (any, error) {
	rows := make([]cascade.Named, len(r.Rows))
	for i, row := range r.Rows {
		rows[i] = cascade.Named(row)
	}
	return p.Engine.PlanRemoval(ctx, cascade.Removal{Subject: cascade.Named(r.Subject), Rows: rows, Against: r.Against})
}

// PluginHandler answers what plugins ask of the core (plugin.CoreHandler). It
// is made before the plugins start, and given its answers as the parts that
// have them are made; until then it says that the core is starting.
type PluginHandler struct {
	// OnHost carries a call to the agent of a host; the service of hosts sets it.
	OnHost func(ctx context.Context, hostUUID, method string, payload []byte, emit func([]byte) error) error
	// Rows are those of plugins' own types; the service of them sets it.
	Rows interface {
		Get(ctx context.Context, plugin, typeName, uuid string) (*pluginv1.Resource, error)
		Put(ctx context.Context, plugin string, c *pluginv1.RowChanges) error
	}
	// Addresses are those that plugins take; the service of networks sets it.
	Addresses interface {
		AllocateFor(ctx context.Context, plugin string, r *pluginv1.AllocateAddressRequest) (*pluginv1.Address, error)
		ReleaseFor(ctx context.Context, plugin, key string) error
	}
	// Trust has the cloud's authorities and what plugins keep; the service of them sets it.
	Trust interface {
		Sign(ctx context.Context, r *pluginv1.SignRequest) (*pluginv1.SignResponse, error)
		Secret(ctx context.Context, plugin, name string) ([]byte, error)
		PutSecret(ctx context.Context, plugin, name string, value []byte) error
	}

	emit     func(plugin string, e *pluginv1.EmitRequest)
	setting  func(ctx context.Context, category, name, resourceUUID string) string
	progress func(operationID string, percent int, message string)
	calls    *callbacks
}

// Progress reports how far the flow's step is that a plugin works for.
func (h *PluginHandler) Progress(_, operationID string, percent int, message string) {
	if h.progress != nil {
		h.progress(operationID, percent, message)
	}
}

// HostCall carries one typed operation to a host. Errors: Unavailable while
// the core is starting.
func (h *PluginHandler) HostCall(ctx context.Context, hostUUID, method string, payload []byte, emit func([]byte) error) error {
	if h.OnHost == nil {
		return errs.New(errs.Unavailable, "host "+hostUUID, "the core is starting").WithAdvice("repeat the call")
	}
	return h.OnHost(ctx, hostUUID, method, payload, emit)
}

// Setting reads a global setting or its override on a resource. Errors:
// Unavailable while the core is starting.
func (h *PluginHandler) Setting(ctx context.Context, category, name, resourceUUID string) (string, error) {
	if h.setting == nil {
		return "", errs.New(errs.Unavailable, "setting "+category+"/"+name, "the core is starting").WithAdvice("repeat the call")
	}
	return h.setting(ctx, category, name, resourceUUID), nil
}

// Get reads a row of a plugin's own types. Errors: Unavailable while the core is
// starting.
func (h *PluginHandler) Get(ctx context.Context, plugin, typeName, uuid string) (*pluginv1.Resource, error) {
	if h.Rows == nil {
		return nil, errs.New(errs.Unavailable, typeName+" "+uuid, "the core is starting").WithAdvice("repeat the call")
	}
	return h.Rows.Get(ctx, plugin, typeName, uuid)
}

// Put changes rows of a plugin's own types. Errors: Unavailable while the core is
// starting.
func (h *PluginHandler) Put(ctx context.Context, plugin string, c *pluginv1.RowChanges) error {
	if h.Rows == nil {
		return errs.New(errs.Unavailable, "rows of plugin "+plugin, "the core is starting").WithAdvice("repeat the call")
	}
	return h.Rows.Put(ctx, plugin, c)
}

// AllocateAddress takes an address for a plugin. Errors: Unavailable while the core is
// starting.
func (h *PluginHandler) AllocateAddress(ctx context.Context, plugin string, r *pluginv1.AllocateAddressRequest) (*pluginv1.Address, error) {
	if h.Addresses == nil {
		return nil, errs.New(errs.Unavailable, "addresses of L3Network "+r.GetL3NetworkUuid(), "the core is starting").WithAdvice("repeat the call")
	}
	return h.Addresses.AllocateFor(ctx, plugin, r)
}

// ReleaseAddress gives one back. Errors: Unavailable while the core is starting.
func (h *PluginHandler) ReleaseAddress(ctx context.Context, plugin, key string) error {
	if h.Addresses == nil {
		return errs.New(errs.Unavailable, "address "+key, "the core is starting").WithAdvice("repeat the call")
	}
	return h.Addresses.ReleaseFor(ctx, plugin, key)
}

// Sign has an authority sign a certificate. Errors: Unavailable while the core is
// starting.
func (h *PluginHandler) Sign(ctx context.Context, r *pluginv1.SignRequest) (*pluginv1.SignResponse, error) {
	if h.Trust == nil {
		return nil, errs.New(errs.Unavailable, "authority "+r.GetAuthority(), "the core is starting").WithAdvice("repeat the call")
	}
	return h.Trust.Sign(ctx, r)
}

// Secret reads what a plugin keeps. Errors: Unavailable while the core is starting.
func (h *PluginHandler) Secret(ctx context.Context, plugin, name string) ([]byte, error) {
	if h.Trust == nil {
		return nil, errs.New(errs.Unavailable, "secret "+name, "the core is starting").WithAdvice("repeat the call")
	}
	return h.Trust.Secret(ctx, plugin, name)
}

// PutSecret keeps it. Errors: Unavailable while the core is starting.
func (h *PluginHandler) PutSecret(ctx context.Context, plugin, name string, value []byte) error {
	if h.Trust == nil {
		return errs.New(errs.Unavailable, "secret "+name, "the core is starting").WithAdvice("repeat the call")
	}
	return h.Trust.PutSecret(ctx, plugin, name, value)
}

// Emit tells those who listen; while the core is starting nobody does.
func (h *PluginHandler) Emit(plugin string, e *pluginv1.EmitRequest) {
	if h.emit != nil {
		h.emit(plugin, e)
	}
}
