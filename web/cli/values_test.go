package cli

import (
	"reflect"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/web/cli/schema"
)

// colours are the legal values of the enum of that name.
var colours = &App{doc: &schema.Document{Enums: map[string][]schema.Value{"colour": {{Value: "Red"}, {Value: "DarkBlue"}}}}}

func flagOf(f schema.Field) *schema.Flag {
	return &schema.Flag{Param: &schema.Param{Field: f}, Name: "flag"}
}

// The text of a flag is read by its unit, else by its kind; what cannot be meant is
// refused with the flag's name.
func TestOneValue(t *testing.T) {
	for _, c := range []struct {
		field schema.Field
		text  string
		want  any // or of type error: a part of what is said
	}{
		{schema.Field{Kind: "int"}, "-7", int64(-7)}, {schema.Field{Kind: "long"}, "1.5", fault("not a whole number")}, {schema.Field{Kind: "long"}, "10G", fault("not a whole number")},
		{schema.Field{Kind: "double"}, "1.5", 1.5}, {schema.Field{Kind: "double"}, "x", fault("not a number")},
		{schema.Field{Kind: "object"}, `{"a":[1]}`, map[string]any{"a": []any{1.0}}}, {schema.Field{Kind: "object"}, "{a}", fault("not JSON")},
		{schema.Field{Kind: "string"}, "1", "1"}, {schema.Field{Kind: "string", Enum: "colour"}, "darkblue", "DarkBlue"}, {schema.Field{Kind: "string", Enum: "colour"}, "Red", "Red"},
		{schema.Field{Kind: "string", Enum: "colour"}, "rad", fault("not one of Red, DarkBlue")}, {schema.Field{Kind: "string", Enum: "colour"}, "rad", fault("did you mean Red?")},
		{schema.Field{Kind: "long", Unit: "bytes"}, "10G", int64(10 << 30)}, {schema.Field{Kind: "long", Unit: "bytesPerSecond"}, "1k", int64(1024)},
		{schema.Field{Kind: "long", Unit: "bitsPerSecond"}, "1k", int64(1000)}, {schema.Field{Kind: "long", Unit: "bitsPerSecond"}, "fast", fault("100M")},
		{schema.Field{Kind: "int", Unit: "seconds"}, "5m", int64(300)}, {schema.Field{Kind: "int", Unit: "milliseconds"}, "1.5s", int64(1500)},
		{schema.Field{Kind: "int", Unit: "percent"}, "80%", int64(80)}, {schema.Field{Kind: "int", Unit: "count"}, "few", fault("--flag")},
	} {
		got, err := colours.oneValue(flagOf(c.field), c.text)
		if want, bad := c.want.(fault); bad {
			if err == nil || !strings.Contains(err.Error(), string(want)) || !strings.Contains(err.Error(), "--flag") {
				t.Errorf("%+v %q: %v, %v; want an error with %q", c.field, c.text, got, err, want)
			}
		} else if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%+v %q: %#v, %v; want %#v", c.field, c.text, got, err, c.want)
		}
	}
}

// fault is a part of an error that is wanted.
type fault string

func TestListValue(t *testing.T) {
	for _, c := range []struct {
		field schema.Field
		texts []string
		want  any
	}{
		{schema.Field{Kind: "list"}, []string{"a"}, []string{"a"}}, {schema.Field{Kind: "list", Item: &schema.Field{Kind: "string"}}, []string{"1"}, []string{"1"}},
		{schema.Field{Kind: "list", Item: &schema.Field{Kind: "long"}}, []string{"1", "2"}, []any{int64(1), int64(2)}},
		{schema.Field{Kind: "list", Item: &schema.Field{Kind: "long", Unit: "bytes"}}, []string{"1K"}, []any{int64(1024)}},
		{schema.Field{Kind: "list", Enum: "colour", Item: &schema.Field{Kind: "string"}}, []string{"red"}, []any{"Red"}},
		{schema.Field{Kind: "list", Item: &schema.Field{Kind: "string", Enum: "colour"}}, []string{"green"}, nil},
	} {
		got, err := colours.listValue(flagOf(c.field), c.texts)
		if (err != nil) != (c.want == nil) || err == nil && !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: %#v, %v; want %#v", c.texts, got, err, c.want)
		}
	}
}

func TestStructured(t *testing.T) {
	words, lists := schema.Field{Kind: "map"}, schema.Field{Kind: "map", Item: &schema.Field{Kind: "list"}}
	objects := schema.Field{Kind: "list"}
	for _, c := range []struct {
		field schema.Field
		texts []string
		want  any
	}{
		{words, []string{"a=1", "b=x=y"}, map[string]any{"a": "1", "b": "x=y"}}, {words, []string{"a=1,2"}, map[string]any{"a": "1,2"}}, {words, []string{"a=1", "a=2"}, map[string]any{"a": "2"}},
		{lists, []string{"a=1,2", "a=3", "b=4"}, map[string]any{"a": []string{"1", "2", "3"}, "b": []string{"4"}}},
		{words, []string{`{"a":{"b":1}}`, "c=2"}, map[string]any{"a": map[string]any{"b": 1.0}, "c": "2"}}, {words, []string{"a"}, nil}, {words, []string{"{a}"}, nil},
		{objects, []string{`{"a":1}`, `[{"b":2},{"c":3}]`}, []any{map[string]any{"a": 1.0}, map[string]any{"b": 2.0}, map[string]any{"c": 3.0}}}, {objects, []string{"a=1"}, nil}, {objects, nil, []any{}},
	} {
		got, err := structured(flagOf(c.field), c.texts)
		if (err != nil) != (c.want == nil) || err == nil && !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: %#v, %v; want %#v", c.texts, got, err, c.want)
		}
	}
}

// Sizes are powers of 1024 and no larger than a number can be; times are in the unit
// of their field, and whole.
func TestNumbersWithUnits(t *testing.T) {
	const no = -1 << 40 // refused
	for text, want := range map[string]int64{"0": 0, "7": 7, "1k": 1 << 10, "1KiB": 1 << 10, "2MB": 2 << 20, " 3g ": 3 << 30, "4T": 4 << 40, "8191P": 8191 << 50,
		"8192P": no, "9223372036854775808": no, "-1": no, "": no, "B": no, "G": no, "1.5G": no, "1GG": no, "1E": no} {
		if got, err := ParseSize(text); err == nil && got != want || err != nil && want != no {
			t.Errorf("size %q: %d, %v; want %d", text, got, err, want)
		}
	}
	for text, want := range map[string][2]int64{"5": {5, 5}, "5m": {300, 300000}, "1h30m": {5400, 5400000}, "2d": {172800, 172800000}, "1500ms": {no, 1500}, "1us": {no, no},
		"soon": {no, no}, "": {no, no}, "1.5d": {no, no}, "1s": {1, 1000}} {
		for i, unit := range []string{"seconds", "milliseconds"} {
			if got, err := unitValue(&schema.Field{Unit: unit}, text); err == nil && got != want[i] || err != nil && want[i] != no {
				t.Errorf("%q in %s: %d, %v; want %d", text, unit, got, err, want[i])
			}
		}
	}
	for _, c := range []struct {
		unit  string
		value any
		want  string
	}{{"seconds", int64(59), "59"}, {"seconds", int64(5400), "1h30m0s"}, {"milliseconds", int64(999), "999"}, {"milliseconds", int64(1500), "1.5s"}, {"count", int64(70000), "70000"}, {"bytes", "?", "?"}} {
		if got := unitWriter(&schema.Field{Unit: c.unit})(c.value); got != c.want {
			t.Errorf("%v %s is shown as %q, want %q", c.value, c.unit, got, c.want)
		}
	}
}

// --set takes JSON for JSON and everything else for text: a name may look like a
// number.
func TestAnyValue(t *testing.T) {
	for text, want := range map[string]any{"7": "7", "true": true, "false": false, "True": "True", `"7"`: "7", `[1,"a"]`: []any{1.0, "a"}, `{"a":null}`: map[string]any{"a": nil}, "{a}": "{a}", "[": "[", "": ""} {
		if got := anyValue(text); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %#v, want %#v", text, got, want)
		}
	}
}
