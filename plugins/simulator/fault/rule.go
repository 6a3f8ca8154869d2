package fault

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Action is what a rule does to a call.
type Action string

// The actions; the package comment tells what each does.
const (
	Fail    Action = "fail"
	Latency Action = "latency"
	Hang    Action = "hang"
	Crash   Action = "crash"
)

// maxWait bounds latency and hang; it is also the length of a hang that names
// none.
const maxWait = 10 * time.Minute

// Rule is one parsed rule. Its zero options mean "every call, before the
// effect".
type Rule struct {
	// Method is a strategy method, or "*".
	Method string
	// Action is what happens.
	Action Action
	// Class is the class of the error of Fail.
	Class errs.Class
	// Min and Max bound the wait of Latency and Hang; equal for a fixed one.
	Min, Max time.Duration
	// Nth is the only call to act on, counted from 1; 0 for no such limit.
	Nth uint64
	// First is the number of calls to act on; 0 for no such limit.
	First uint64
	// Rate is the share of calls to act on; 0 means all.
	Rate float64
	// Seed starts the rule's random numbers; 0 stands for 1.
	Seed uint64
	// On is the only object to act on; "" for all.
	On string
	// After acts when the call has had its effect.
	After bool
}

var classes = map[errs.Class]bool{
	errs.Invalid: true, errs.NotFound: true, errs.Exists: true, errs.Refused: true,
	errs.Exhausted: true, errs.Denied: true, errs.Unauthenticated: true,
	errs.Unavailable: true, errs.Timeout: true, errs.Cancelled: true,
	errs.Unsupported: true, errs.Internal: true,
}

// Parse reads rules in the syntax of the package comment. The errors are of
// class Invalid and name line and rule; methods holds the method names that
// exist, nil accepts every identifier.
func Parse(text string, methods map[string]bool) ([]Rule, error) {
	var rules []Rule
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		for part := range strings.SplitSeq(line, ";") {
			part = strings.TrimSpace(part)
			if part == "" {
				continue
			}
			r, err := parseRule(part, methods)
			if err != nil {
				return nil, errs.Wrap(errs.Invalid, fmt.Sprintf("fault rule %q, line %d", part, n+1), err, "cannot be read").
					WithAdvice("write METHOD:ACTION[:OPTION]..., such as StartVM:fail=unavailable:nth=3:after")
			}
			rules = append(rules, r)
		}
	}
	return rules, nil
}

func parseRule(text string, methods map[string]bool) (Rule, error) {
	parts := strings.Split(text, ":")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	r := Rule{Method: parts[0]}
	switch {
	case r.Method == "*":
	case !identifier(r.Method):
		return r, fmt.Errorf("%q is no method name", r.Method)
	case methods != nil && !methods[r.Method]:
		return r, fmt.Errorf("the simulator has no method %q", r.Method)
	}
	if len(parts) < 2 {
		return r, fmt.Errorf("the action is missing")
	}
	if err := r.parseAction(parts[1]); err != nil {
		return r, err
	}
	seen := map[string]bool{}
	for _, option := range parts[2:] {
		key, value, has := strings.Cut(option, "=")
		if key == "before" {
			key = "after" // both say when, so only one may be there
			r.After = false
		} else if key == "after" {
			r.After = true
		} else if err := r.parseOption(key, value); err != nil {
			return r, err
		}
		if key == "after" && has {
			return r, fmt.Errorf("%q takes no value", option)
		}
		if seen[key] {
			return r, fmt.Errorf("option %q is there twice", key)
		}
		seen[key] = true
	}
	if r.Nth > 0 && r.First > 0 {
		return r, fmt.Errorf("nth and first exclude each other")
	}
	return r, nil
}

func (r *Rule) parseAction(text string) error {
	name, value, has := strings.Cut(text, "=")
	r.Action = Action(name)
	var err error
	switch r.Action {
	case Fail:
		r.Class = errs.Class(value)
		if !classes[r.Class] {
			return fmt.Errorf("%q is no error class; one is %q", value, errs.Unavailable)
		}
	case Latency:
		low, high, ranged := strings.Cut(value, "-")
		if r.Min, err = wait(low); err != nil {
			return err
		}
		r.Max = r.Min
		if ranged {
			if r.Max, err = wait(high); err != nil {
				return err
			}
		}
		if r.Max < r.Min {
			return fmt.Errorf("latency range %q ends before it begins", value)
		}
	case Hang:
		r.Min = maxWait
		if has {
			if r.Min, err = wait(value); err != nil {
				return err
			}
		}
		r.Max = r.Min
	case Crash:
		if has {
			return fmt.Errorf("crash takes no value")
		}
	default:
		return fmt.Errorf("%q is no action: use fail, latency, hang or crash", name)
	}
	return nil
}

func (r *Rule) parseOption(key, value string) error {
	var err error
	switch key {
	case "nth":
		r.Nth, err = number(key, value)
	case "first":
		r.First, err = number(key, value)
	case "seed":
		r.Seed, err = number(key, value)
	case "rate":
		r.Rate, err = strconv.ParseFloat(value, 64)
		if err != nil || !(r.Rate > 0 && r.Rate <= 1) {
			return fmt.Errorf("rate %q is not above 0 and at most 1", value)
		}
	case "on":
		if r.On = value; !identifier(value) {
			return fmt.Errorf("%q is no UUID", value)
		}
	default:
		return fmt.Errorf("%q is no option: use nth, first, rate, seed, on, after or before", key)
	}
	return err
}

func number(key, value string) (uint64, error) {
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%s %q is no whole number above 0", key, value)
	}
	return n, nil
}

func wait(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 || d > maxWait {
		return 0, fmt.Errorf("%q is no duration between 0 and %s", value, maxWait)
	}
	return d, nil
}

// identifier reports whether s is made of letters and digits only.
func identifier(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// String writes the rule so that Parse reads it back.
func (r Rule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%s", r.Method, r.Action)
	switch r.Action {
	case Fail:
		fmt.Fprintf(&b, "=%s", r.Class)
	case Hang:
		fmt.Fprintf(&b, "=%s", r.Min)
	case Latency:
		fmt.Fprintf(&b, "=%s-%s", r.Min, r.Max)
	}
	for _, o := range []struct {
		key   string
		value uint64
	}{{"nth", r.Nth}, {"first", r.First}, {"seed", r.Seed}} {
		if o.value > 0 {
			fmt.Fprintf(&b, ":%s=%d", o.key, o.value)
		}
	}
	if r.Rate > 0 {
		fmt.Fprintf(&b, ":rate=%s", strconv.FormatFloat(r.Rate, 'g', -1, 64))
	}
	if r.On != "" {
		fmt.Fprintf(&b, ":on=%s", r.On)
	}
	if r.After {
		b.WriteString(":after")
	}
	return b.String()
}
