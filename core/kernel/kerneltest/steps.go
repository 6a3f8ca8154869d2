package kerneltest

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/store"
)

// ErrInjected is what steps fail with in FailEachStep.
var ErrInjected = errors.New("injected by the test")

// FailEachStep makes a call once for each way in which one of the steps can fail:
// it refuses, or it works and its answer is lost. The call must fail, and after
// it the resources of the types must be what they were before.
func (c *Cloud) FailEachStep(steps []string, types []string, call func() error) {
	c.t.Helper()
	defer flow.SetTestHooks(c.Flows, flow.TestHooks{})
	for _, step := range steps {
		for _, worked := range []bool{false, true} {
			before, called := c.Dump(types...), false
			flow.SetTestHooks(c.Flows, flow.TestHooks{Call: func(at string, undo bool, call func() error) error {
				if undo || at != step {
					return call()
				}
				called = true
				if worked {
					if err := call(); err != nil {
						return err
					}
				}
				return ErrInjected
			}})
			err := call()
			if !called {
				c.t.Errorf("step %s was not called: %v", step, err)
				continue
			}
			if err == nil || !strings.Contains(err.Error(), ErrInjected.Error()) {
				c.t.Errorf("step %s failed, worked %v: the call returned %v", step, worked, err)
			}
			if after := c.Dump(types...); after != before {
				c.t.Errorf("step %s failed, worked %v: before\n%s\nafter\n%s", step, worked, before, after)
			}
		}
	}
}

// answering begins the statements that read the inventory of an answer.
const answering = "SELECT t0."

// FailEachStatement makes a call as often as it has statements on some tables,
// each time with another one of them failing: whoever calls must be told. prepare
// is called before each, with the database whole, for what the call needs and for
// what is to be left of the one before; it returns the call. What is read for the
// answer, when all has been done, does not fail, nor do statements that begin as
// one of but: what goes on in the background of every call.
func (c *Cloud) FailEachStatement(tables []string, prepare func() (call func() error), but ...string) {
	c.t.Helper()
	defer store.SetTestHook(c.Store, nil)
	but, quiet := append(but, answering), 0
	for n := int64(1); ; n++ {
		call := prepare()
		var at atomic.Int64
		var failed atomic.Value
		store.SetTestHook(c.Store, func(query string) error {
			on := func(table string) bool { return strings.Contains(query, "`"+table+"`") }
			begins := func(text string) bool { return strings.HasPrefix(query, text) }
			if slices.ContainsFunc(but, begins) || !slices.ContainsFunc(tables, on) || at.Add(1) != n {
				return nil
			}
			failed.Store(query)
			return ErrInjected
		})
		err := call()
		store.SetTestHook(c.Store, nil)
		switch query := failed.Load(); {
		case query == nil:
			if err != nil || n == 1 {
				c.t.Errorf("with the database whole, and %d statements, the call returned %v", n-1, err)
			}
			return
		case err == nil && quiet < 20:
			quiet, n = quiet+1, n-1 // it may have been a statement of somebody else's
		case err == nil || !strings.Contains(err.Error(), ErrInjected.Error()):
			c.t.Errorf("statement %d failed, and the call returned %v: %s", n, err, query)
			fallthrough
		default:
			quiet = 0
		}
	}
}

// RepeatEachStep makes a call with each step, and each undo, done twice.
func (c *Cloud) RepeatEachStep(call func() error) error {
	c.t.Helper()
	defer flow.SetTestHooks(c.Flows, flow.TestHooks{})
	flow.SetTestHooks(c.Flows, flow.TestHooks{Call: func(_ string, _ bool, call func() error) error {
		if err := call(); err != nil {
			return err
		}
		return call()
	}})
	return call()
}

// Dump shows all resources of some types as the administrator sees them, but for
// when they were changed last: for comparing what is there before and after.
func (c *Cloud) Dump(types ...string) string {
	c.t.Helper()
	var text strings.Builder
	for _, name := range types {
		for _, row := range c.List(name) {
			undate(map[string]any(row))
			line, err := json.Marshal(row)
			c.must(err)
			text.WriteString(name + " " + string(line) + "\n")
		}
	}
	return text.String()
}

// undate removes when rows were written last, those that are embedded in them
// included.
func undate(v any) {
	switch v := v.(type) {
	case map[string]any:
		delete(v, "lastOpDate")
		for _, inner := range v {
			undate(inner)
		}
	case []any:
		for _, inner := range v {
			undate(inner)
		}
	}
}
