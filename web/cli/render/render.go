// Package render writes what the API sent as a table for people, or as JSON or
// YAML for programs. It must not import anything of the project.
package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"gopkg.in/yaml.v3"
)

// Format is how results are written.
type Format string

// The formats.
const (
	Table Format = "table"
	JSON  Format = "json"
	YAML  Format = "yaml"
)

// Formats lists them for help and completion.
var Formats = []string{string(Table), string(JSON), string(YAML)}

// Column is a column of a table: a title and the path of the value in the
// inventory, such as vmNics.ip. Size columns are bytes, written as 1.5G.
type Column struct {
	Title, Path string
	Size        bool
}

// List writes inventories: a table with the columns, or all that the API sent.
func List(w io.Writer, f Format, columns []Column, inventories []json.RawMessage) error {
	if f != Table {
		if inventories == nil {
			inventories = []json.RawMessage{}
		}
		all, err := json.Marshal(inventories)
		if err != nil {
			return err
		}
		return Raw(w, f, all)
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	var titles []string
	for _, c := range columns {
		titles = append(titles, c.Title)
	}
	line(t, titles)
	for _, inventory := range inventories {
		value, err := decode(inventory)
		if err != nil {
			return err
		}
		var cells []string
		for _, c := range columns {
			cells = append(cells, cell(c, value))
		}
		line(t, cells)
	}
	return t.Flush()
}

// Columns chooses a table's columns for a type that nobody described: name and
// UUID first, then the first plain values of the first inventory.
func Columns(inventories []json.RawMessage) []Column {
	out := []Column{{Title: "UUID", Path: "uuid"}}
	if len(inventories) == 0 {
		return out
	}
	value, err := decode(inventories[0])
	object, ok := value.(map[string]any)
	if err != nil || !ok {
		return out
	}
	if _, named := object["name"]; named {
		out = append([]Column{{Title: "NAME", Path: "name"}}, out...)
	}
	for _, member := range members(inventories[0]) {
		switch object[member].(type) {
		case []any, map[string]any:
			continue
		}
		if !slices.Contains([]string{"name", "uuid", "description", "createDate", "lastOpDate"}, member) && len(out) < 7 {
			out = append(out, Column{Title: strings.ToUpper(member), Path: member})
		}
	}
	return out
}

// line writes one row; trailing empty cells leave no blanks behind.
func line(w io.Writer, cells []string) {
	for len(cells) > 1 && cells[len(cells)-1] == "" {
		cells = cells[:len(cells)-1]
	}
	fmt.Fprintln(w, strings.Join(cells, "\t"))
}

// One writes one inventory: as "field  value" lines, or all that the API sent.
func One(w io.Writer, f Format, inventory json.RawMessage) error {
	if f != Table {
		return Raw(w, f, inventory)
	}
	value, err := decode(inventory)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, name := range members(inventory) {
		line(t, []string{name, text(value.(map[string]any)[name])})
	}
	return t.Flush()
}

// Raw writes a JSON text in the format; as a table it is JSON too.
func Raw(w io.Writer, f Format, raw json.RawMessage) error {
	if f == YAML {
		value, err := decode(raw)
		if err != nil {
			return err
		}
		enc := yaml.NewEncoder(w)
		enc.SetIndent(2)
		if err := enc.Encode(value); err != nil {
			return err
		}
		return enc.Close()
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return fmt.Errorf("answer of the server: %w", err)
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

// decode reads JSON and keeps whole numbers whole: sizes do not fit a float.
func decode(raw json.RawMessage) (any, error) {
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

// members lists an object's members in the order in which they were sent.
func members(raw json.RawMessage) []string {
	d := json.NewDecoder(bytes.NewReader(raw))
	var out []string
	if _, err := d.Token(); err != nil {
		return nil
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return out
		}
		out = append(out, fmt.Sprint(name))
		var skip json.RawMessage
		if err := d.Decode(&skip); err != nil {
			return out
		}
	}
	return out
}

func cell(c Column, inventory any) string {
	v := lookup(inventory, strings.Split(c.Path, "."))
	if n, ok := v.(int64); ok && c.Size {
		return Size(n)
	}
	return text(v)
}

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

func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return strings.NewReplacer("\n", " ", "\t", " ").Replace(v)
	case []any:
		var parts []string
		for _, one := range v {
			parts = append(parts, text(one))
		}
		return strings.Join(parts, ",")
	case map[string]any:
		if name, ok := v["name"].(string); ok {
			return name
		}
		if uuid, ok := v["uuid"].(string); ok {
			return uuid
		}
		b, err := json.Marshal(v)
		if err != nil {
			return ""
		}
		return string(b)
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
