package kerneltest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/event"
	"github.com/kumo-cloud/kumo/core/query"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// P are the parameters of a call by their wire names; those of the path are
// among them. "resourceUuid", "systemTags" and "userTags" work as on the wire,
// "deleteMode" too.
type P map[string]any

// Row is an inventory as the wire shows it: numbers are float64.
type Row map[string]any

// Text returns a field, "" when it is absent or no text.
func (r Row) Text(field string) string { s, _ := r[field].(string); return s }

// Int returns a number, 0 when it is absent or none.
func (r Row) Int(field string) int64 { f, _ := r[field].(float64); return int64(f) }

// Rows returns a list of objects within the row, such as a guest's vmNics.
func (r Row) Rows(field string) []Row {
	list, _ := r[field].([]any)
	rows := make([]Row, 0, len(list))
	for _, v := range list {
		if m, ok := v.(map[string]any); ok {
			rows = append(rows, m)
		}
	}
	return rows
}

// Caller makes calls on behalf of an account.
type Caller struct {
	c       *Cloud
	account string
}

// As returns a caller of an account.
func (c *Cloud) As(account string) Caller { return Caller{c, account} }

// Call is As(Admin).Call.
func (c *Cloud) Call(message string, p P) (Row, error) {
	c.t.Helper()
	return c.As(Admin).Call(message, p)
}

// Do is As(Admin).Do.
func (c *Cloud) Do(message string, p P) Row { c.t.Helper(); return c.As(Admin).Do(message, p) }

// Create is As(Admin).Create.
func (c *Cloud) Create(message string, p P) string {
	c.t.Helper()
	return c.As(Admin).Create(message, p)
}

// Refused is As(Admin).Refused.
func (c *Cloud) Refused(class errs.Class, message string, p P, words ...string) {
	c.t.Helper()
	c.As(Admin).Refused(class, message, p, words...)
}

// Do makes a call that must succeed and returns the inventory of its answer, or
// the whole answer when there is none.
func (w Caller) Do(message string, p P) Row {
	w.c.t.Helper()
	row, err := w.Call(message, p)
	if err != nil {
		w.c.t.Fatalf("%s %v: %v", message, p, err)
	}
	return row
}

// Create is Do for the UUID of the inventory.
func (w Caller) Create(message string, p P) string {
	w.c.t.Helper()
	row := w.Do(message, p)
	if row.Text("uuid") == "" {
		w.c.t.Fatalf("%s: its answer has no uuid: %v", message, row)
	}
	return row.Text("uuid")
}

// Refused makes a call that must fail with an error of the class whose text has
// all the words.
func (w Caller) Refused(class errs.Class, message string, p P, words ...string) {
	w.c.t.Helper()
	row, err := w.Call(message, p)
	if err == nil {
		w.c.t.Fatalf("%s %v: it should have been refused, but answered %v", message, p, row)
	}
	if errs.ClassOf(err) != class {
		w.c.t.Fatalf("%s %v: class %s, want %s: %v", message, p, errs.ClassOf(err), class, err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			w.c.t.Fatalf("%s %v: %q does not say %q", message, p, err, word)
		}
	}
}

// Call makes a call through every check, waits for its job, and returns the
// inventory of the answer (the whole answer when there is none) or the error.
func (w Caller) Call(message string, p P) (Row, error) {
	w.c.t.Helper()
	job, body, err := w.begin(message, p)
	if err != nil || job == "" {
		return inventory(body), err
	}
	return w.c.Wait(job)
}

// Begin makes an asynchronous call and returns its job, for Wait.
func (w Caller) Begin(message string, p P) string {
	w.c.t.Helper()
	job, _, err := w.begin(message, p)
	w.c.must(err)
	return job
}

func (w Caller) begin(message string, p P) (job string, body json.RawMessage, err error) {
	w.c.t.Helper()
	reply, err := w.c.Actions.Serve(w.c.ctx, w.request(message, p))
	if err != nil {
		return "", nil, err
	}
	return reply.Job, reply.Body, nil
}

// Plan returns the answer to a DELETE message with plan=true, as the
// administrator gets it.
func (c *Cloud) Plan(message string, p P) Row {
	c.t.Helper()
	r := c.As(Admin).request(message, p)
	r.Plan = true
	reply, err := c.Actions.Serve(c.ctx, r)
	c.must(err)
	return inventory(reply.Body)
}

func (w Caller) request(message string, p P) *action.Request {
	w.c.t.Helper()
	a, ok := w.c.Actions.Get(message)
	if !ok {
		w.c.t.Fatalf("no service registered %s", message)
	}
	in := action.Input{Body: map[string]json.RawMessage{}}
	if a.Method == http.MethodDelete {
		in.Query = url.Values{}
	}
	for name, v := range p {
		raw, err := json.Marshal(v)
		w.c.must(err)
		text, isText := v.(string)
		list, isList := v.([]string)
		lists, isMap := v.(map[string][]string)
		switch param, _ := a.Param(name); {
		case param.In == "path":
			in.Path = append(in.Path, name, text)
		case in.Query != nil && isList:
			in.Query[name] = list
		case in.Query != nil && isMap: // name.key=value
			for key, values := range lists {
				in.Query[name+"."+key] = values
			}
		case in.Query != nil && isText:
			in.Query.Set(name, text)
		case in.Query != nil:
			in.Query.Set(name, string(raw))
		default:
			in.Body[name] = raw
		}
	}
	return &action.Request{Action: a, Input: in, Credentials: &action.Credentials{SessionUUID: w.account}}
}

// Wait waits for the end of a job and returns what Call does.
func (c *Cloud) Wait(job string) (Row, error) {
	c.t.Helper()
	st, err := c.Jobs.Wait(c.ctx, job, patience)
	c.must(err)
	if !st.Done {
		c.t.Fatalf("job %s has not ended within %s", job, patience)
	}
	return inventory(st.Body), st.Err
}

func inventory(body json.RawMessage) Row {
	var answer Row
	if json.Unmarshal(body, &answer) != nil {
		return nil
	}
	if inner, ok := answer["inventory"].(map[string]any); ok {
		return inner
	}
	return answer
}

// Get returns a resource as the wire shows it to the administrator, nil when it
// is gone.
func (c *Cloud) Get(typeName, uuid string) Row {
	c.t.Helper()
	all, err := c.Query.Inventories(c.ctx, c.Store, typeName, []string{uuid})
	c.must(err)
	one, ok := all[uuid]
	if !ok {
		return nil
	}
	var row Row
	c.must(json.Unmarshal(one.Inventory, &row))
	return row
}

// List returns the resources that fit conditions of the query grammar
// ("name=a"), as the administrator sees them.
func (c *Cloud) List(typeName string, conditions ...string) []Row {
	c.t.Helper()
	q, err := query.Parse(url.Values{"q": conditions})
	c.must(err)
	res, err := c.Query.Run(c.ctx, typeName, q, query.Scope{Admin: true, AccountUUID: Admin})
	c.must(err)
	rows := make([]Row, len(res.Inventories))
	for i, body := range res.Inventories {
		c.must(json.Unmarshal(body, &rows[i]))
	}
	return rows
}

// Want compares what a test has got with what it wants, and says what that is.
func (c *Cloud) Want(what string, got, want any) {
	c.t.Helper()
	if got != want {
		c.t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// Ok ends the test with an error that should not be.
func (c *Cloud) Ok(err error) { c.t.Helper(); c.must(err) }

// Tx runs f in a transaction and returns its error.
func (c *Cloud) Tx(f func(*store.Tx) error) error { return c.Store.Update(c.ctx, f) }

// System asks for an internal message as the platform does, and waits for it.
func (c *Cloud) System(message string, p P) error {
	_, err := c.Actions.DoSystem(c.ctx, message, p)
	return err
}

// Until calls ok at once and after every event until it says yes: for what a
// service does in the background and tells the bus of.
func (c *Cloud) Until(what string, ok func() bool) {
	c.t.Helper()
	events, _ := c.Events.Read("")
	defer events.Close()
	for buffer := make([]event.Event, 0, 256); !ok(); {
		if got, lost := events.Next(c.ctx, buffer, patience); len(got) == 0 && lost == 0 {
			c.t.Fatalf("not %s, and no event came any more", what)
		}
	}
}

// Idle waits until nothing is queued or runs under the key of a resource, so
// that what other work has left for it is done.
func (c *Cloud) Idle(key string) {
	c.t.Helper()
	c.must(c.Actions.Turn(c.ctx, nil, key, "test", "Idle", func(context.Context) error { return nil }))
}
