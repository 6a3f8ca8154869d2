// Package render writes what the API sent as a table for people, or as JSON or
// YAML for programs. It must not import anything of the project.
package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Format is how results are written.
type Format string

// The formats. Wide is a table with UUIDs and more columns, Name the names only.
const (
	Table Format = "table"
	Wide  Format = "wide"
	JSON  Format = "json"
	YAML  Format = "yaml"
	Name  Format = "name"
)

// Formats lists them for help and completion.
var Formats = []string{string(Table), string(Wide), string(JSON), string(YAML), string(Name)}

// People tells whether the format is a table, which people read.
func (f Format) People() bool { return f == Table || f == Wide }

// Column is a column of a table: a title and the path of the value in the
// inventory, such as vmNics.ip. Write says how one value is written; nil writes
// it as it is.
type Column struct {
	Title, Path string
	Write       func(any) string
}

// List writes inventories: a table with the columns, the label of each (a path
// too), or all that the API sent.
func List(w io.Writer, f Format, columns []Column, label string, inventories []json.RawMessage) error {
	if !f.People() && f != Name {
		if inventories == nil {
			inventories = []json.RawMessage{}
		}
		all, err := json.Marshal(inventories)
		if err != nil {
			return err
		}
		return Raw(w, f, all)
	}
	var t table
	if f == Name {
		columns = []Column{{Path: label}}
	} else {
		var titles []string
		for _, c := range columns {
			titles = append(titles, Safe(c.Title))
		}
		t.add(titles...)
	}
	for _, inventory := range inventories {
		value, err := Decode(inventory)
		if err != nil {
			return err
		}
		var cells []string
		for _, c := range columns {
			text := c.text(value)
			if f == Name && text == "" {
				text = Column{Path: "uuid"}.text(value)
			}
			cells = append(cells, text)
		}
		t.add(cells...)
	}
	return t.write(w)
}

// One writes one inventory: as "title  value" lines, the described members first
// and then the others, or all that the API sent.
func One(w io.Writer, f Format, columns []Column, label string, inventory json.RawMessage) error {
	if f == Name {
		return List(w, f, nil, label, []json.RawMessage{inventory})
	}
	if !f.People() {
		return Raw(w, f, inventory)
	}
	value, err := Decode(inventory)
	if err != nil {
		return err
	}
	object, ok := value.(map[string]any)
	if !ok {
		return Raw(w, f, inventory)
	}
	var t table
	shown := map[string]bool{}
	for _, c := range columns {
		member, _, _ := strings.Cut(c.Path, ".")
		if _, there := object[member]; there {
			shown[member] = true
			t.add(Safe(c.Title), c.text(value))
		}
	}
	for _, m := range members(inventory) {
		if !shown[m.name] {
			t.add(Safe(m.name), Text(object[m.name]))
		}
	}
	return t.write(w)
}

// Raw writes a JSON text in the format; as a table it is JSON too.
func Raw(w io.Writer, f Format, raw json.RawMessage) error {
	if f == YAML {
		return writeYAML(w, raw)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return fmt.Errorf("answer of the server: %w", err)
	}
	b.WriteByte('\n')
	_, err := w.Write(safeLines(b.Bytes()))
	return err
}

func writeYAML(w io.Writer, raw json.RawMessage) error {
	value, err := Decode(raw)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(quoted(value)); err != nil {
		return err
	}
	if err := enc.Close(); err != nil {
		return err
	}
	_, err = w.Write(safeLines(b.Bytes()))
	return err
}

// quoted puts texts with harmful characters into double quotes, the only place
// where YAML has escapes.
func quoted(v any) any {
	switch v := v.(type) {
	case string:
		if !safe(v) {
			return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: v}
		}
	case []any:
		for i := range v {
			v[i] = quoted(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = quoted(v[k])
		}
	}
	return v
}

// Decode reads JSON and keeps whole numbers whole: sizes do not fit a float.
func Decode(raw json.RawMessage) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("answer of the server: %w", err)
	}
	return plain(v), nil
}

func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, err := v.Float64()
		if err != nil || math.IsInf(f, 0) {
			return v.String()
		}
		return f
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plain(v[k])
		}
	}
	return v
}

func (c Column) text(inventory any) string {
	v := Lookup(inventory, c.Path)
	if c.Write == nil || v == nil {
		return Text(v)
	}
	list, ok := v.([]any)
	if !ok {
		return Safe(c.Write(v))
	}
	var parts []string
	for _, one := range list {
		parts = append(parts, Safe(c.Write(one)))
	}
	return strings.Join(parts, ",")
}

// Lookup reads the value at a path, such as vmNics.ip; through a list it gathers
// the values of all members.
func Lookup(inventory any, path string) any { return lookup(inventory, strings.Split(path, ".")) }

// lookup follows a path; through a list it gathers the values of all members.
func lookup(v any, path []string) any {
	if len(path) == 0 {
		return v
	}
	switch v := v.(type) {
	case map[string]any:
		return lookup(v[path[0]], path[1:])
	case []any:
		var out []any
		for _, one := range v {
			if found := lookup(one, path); found != nil {
				out = append(out, found)
			}
		}
		return out
	}
	return nil
}

// Text writes a value in one line, harmless for a terminal. Of an object it
// writes what people call it.
func Text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return Safe(v)
	case []any:
		var parts []string
		for _, one := range v {
			parts = append(parts, Text(one))
		}
		return strings.Join(parts, ",")
	case map[string]any:
		if name, ok := v["name"].(string); ok {
			return Safe(name)
		}
		if uuid, ok := v["uuid"].(string); ok {
			return Safe(uuid)
		}
		b, err := json.Marshal(v)
		if err != nil {
			return ""
		}
		return Safe(string(b))
	}
	return fmt.Sprint(v)
}

// Size writes bytes for people: 1.5G. It loses digits; programs use JSON.
func Size(n int64) string {
	units := "BKMGTPE"
	f, u := float64(n), 0
	for f >= 1024 && u < len(units)-1 {
		f /= 1024
		u++
	}
	if u == 0 {
		return strconv.FormatInt(n, 10)
	}
	return strings.TrimSuffix(strconv.FormatFloat(f, 'f', 1, 64), ".0") + units[u:u+1]
}
