package query

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Op is an operator of a condition, as the wire writes it.
type Op string

// The operators.
const (
	Ne      Op = "!="
	Ge      Op = ">="
	Le      Op = "<="
	NotIn   Op = "!?="
	NotLike Op = "!~="
	Like    Op = "~="
	In      Op = "?="
	Eq      Op = "="
	Gt      Op = ">"
	Lt      Op = "<"
	IsNull  Op = "is null"
	NotNull Op = "not null"
)

// operators in the order in which they are looked for: the first one found
// anywhere in the text wins (zstack-api README section 8).
var operators = []Op{Ne, Ge, Le, NotIn, NotLike, Like, In, Eq, Gt, Lt, IsNull, NotNull}

// negative reports operators that ask for the absence of something.
func (o Op) negative() bool { return o == Ne || o == NotIn || o == NotLike || o == IsNull }

// opposite returns the positive operator of a negative one.
func (o Op) opposite() Op {
	switch o {
	case Ne:
		return Eq
	case NotIn:
		return In
	case NotLike:
		return Like
	case IsNull:
		return NotNull
	}
	return o
}

// Condition compares a field, or a path of edges to one, with a value.
type Condition struct {
	// Name is a field, or steps and a field joined by dots.
	Name string
	// Op is one of the operators above.
	Op Op
	// Value is text; the field's kind decides what it means. The null tests
	// have none.
	Value string
}

// String writes the condition as the wire does.
func (c Condition) String() string {
	if c.Op == IsNull || c.Op == NotNull {
		return c.Name + " " + string(c.Op)
	}
	return c.Name + string(c.Op) + c.Value
}

// Query is one query of a type's rows.
type Query struct {
	// Conditions all hold.
	Conditions []Condition
	// Sort is a field; "" leaves the order to the database, which keeps it
	// from one page to the next while nothing changes.
	Sort string
	// Desc sorts downwards.
	Desc bool
	// Limit is the most inventories returned; 0 = DefaultLimit.
	Limit int
	// Start is how many are skipped.
	Start int
	// Count asks for the total only, ReplyWithCount for both.
	Count, ReplyWithCount bool
	// Fields are the members wanted; empty = all.
	Fields []string
	// GroupBy is accepted and has no effect.
	GroupBy string
	// Names asks for the names of what the inventories refer to (Engine.Names).
	Names bool
}

// Bounds of one query.
const (
	DefaultLimit  = 1000
	MaxLimit      = 100000
	MaxConditions = 48
	MaxDepth      = 8     // steps of a path
	MaxValues     = 10000 // of all lists together
)

// invalid makes the error of a query that no server could answer; the HTTP
// layer tells it as 400 with this text.
func invalid(format string, args ...any) error {
	return errs.New(errs.Invalid, "query", format, args...)
}

// Parse reads the URL parameters of a query:
//
//	q               one condition, repeatable, all must hold
//	limit, start    numbers
//	count           true: only the total
//	replyWithCount  true: the total beside the inventories
//	sort            +field, -field or field
//	fields          names joined by commas
//	groupBy         accepted
//	names           true: the names of what is referred to
//
// Others are ignored. Errors are errs.Invalid.
func Parse(v url.Values) (q Query, err error) {
	for _, text := range v["q"] {
		c, err := ParseCondition(text)
		if err != nil {
			return Query{}, err
		}
		q.Conditions = append(q.Conditions, c)
	}
	if len(q.Conditions) > MaxConditions {
		return Query{}, invalid("%d conditions are more than %d", len(q.Conditions), MaxConditions)
	}
	if q.Limit, err = number(v, "limit", MaxLimit); err != nil {
		return Query{}, err
	}
	if q.Start, err = number(v, "start", 1<<31-1); err != nil {
		return Query{}, err
	}
	if v.Get("limit") != "" && q.Limit == 0 {
		return Query{}, invalid("limit is at least 1")
	}
	if q.Count, err = flag(v, "count"); err != nil {
		return Query{}, err
	}
	if q.Names, err = flag(v, "names"); err != nil {
		return Query{}, err
	}
	if q.ReplyWithCount, err = flag(v, "replyWithCount"); err != nil {
		return Query{}, err
	}
	if s := v.Get("sort"); s != "" {
		// A plus sign in a URL is decoded to a blank.
		q.Sort, q.Desc = strings.TrimSpace(strings.TrimLeft(s, "+- ")), strings.HasPrefix(s, "-")
		if q.Sort == "" {
			return Query{}, invalid("sort=%s names no field", s)
		}
	}
	for _, list := range v["fields"] {
		for _, f := range strings.Split(list, ",") {
			if f = strings.TrimSpace(f); f != "" {
				q.Fields = append(q.Fields, f)
			}
		}
	}
	if v.Get("filterName") != "" {
		return Query{}, invalid("filterName: no filter of this name exists")
	}
	q.GroupBy = v.Get("groupBy")
	return q, nil
}

func number(v url.Values, name string, highest int) (int, error) {
	s := strings.TrimSpace(v.Get(name))
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > highest {
		return 0, invalid("%s=%s is not a number in 0..%d", name, s, highest)
	}
	return n, nil
}

func flag(v url.Values, name string) (bool, error) {
	switch s := v.Get(name); strings.ToLower(s) {
	case "":
		return false, nil
	case "true":
		return true, nil
	case "false":
		return false, nil
	default:
		return false, invalid("%s=%s is neither true nor false", name, s)
	}
}

// ParseCondition reads one condition. Of the operators, in their fixed order,
// the first that occurs anywhere in the text splits it: the name before it is
// trimmed, the value behind it is not.
func ParseCondition(text string) (Condition, error) {
	for _, op := range operators {
		name, value, found := strings.Cut(text, string(op))
		if !found {
			continue
		}
		name = strings.TrimSpace(name)
		if err := checkPath(name); err != nil {
			return Condition{}, err
		}
		if op == IsNull || op == NotNull {
			value = ""
		}
		return Condition{Name: name, Op: op, Value: value}, nil
	}
	return Condition{}, invalid("q=%s has no operator; it has one of %s", clip(text), joined())
}

func joined() string {
	s := make([]string, len(operators))
	for i, op := range operators {
		s[i] = string(op)
	}
	return strings.Join(s, " ")
}

// checkPath bounds a name; whether it means something is known when it is
// resolved.
func checkPath(name string) error {
	if name == "" {
		return invalid("a condition has no field name")
	}
	if n := strings.Count(name, ".") + 1; n > MaxDepth+1 {
		return invalid("%s has %d steps, at most %d are followed", clip(name), n-1, MaxDepth)
	}
	return nil
}

// clip shortens text of clients for error messages.
func clip(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%q...", s[:80])
	}
	return fmt.Sprintf("%q", s)
}
