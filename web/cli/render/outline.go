package render

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strings"
)

// Outline writes an answer of any shape for people: the members of an object one a
// line, lists of objects as tables, and what is within a row indented below it.
func Outline(w io.Writer, raw json.RawMessage) error {
	var b strings.Builder
	if err := outline(&b, raw, ""); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// member is one of an object.
type member struct {
	name string
	raw  json.RawMessage
}

// nested tells whether the value has objects in it, so that a line is too short.
func (m member) nested() bool {
	begin := bytes.TrimLeft(m.raw, "[ \t\r\n")
	return len(begin) > 0 && begin[0] == '{'
}

func (m member) text() (string, error) {
	v, err := Decode(m.raw)
	return Text(v), err
}

func outline(b *strings.Builder, raw json.RawMessage, indent string) error {
	var objects []json.RawMessage
	if json.Unmarshal(raw, &objects) == nil {
		return outlineRows(b, objects, indent)
	}
	var t table
	var below []member
	for _, m := range members(raw) {
		if m.nested() {
			below = append(below, m)
			continue
		}
		text, err := m.text()
		if err != nil {
			return err
		}
		t.add(Safe(m.name), text)
	}
	for _, line := range t.lines() {
		b.WriteString(indent + line + "\n")
	}
	return outlineBelow(b, below, indent)
}

// outlineRows writes a list of objects as a table of the members that fit a line,
// and the others below their row.
func outlineRows(b *strings.Builder, objects []json.RawMessage, indent string) error {
	var titles []string
	below := make([][]member, len(objects))
	cells := make([]map[string]string, len(objects))
	for i, object := range objects {
		cells[i] = map[string]string{}
		for _, m := range members(object) {
			if m.nested() {
				below[i] = append(below[i], m)
				continue
			}
			text, err := m.text()
			if err != nil {
				return err
			}
			cells[i][Safe(m.name)] = text
			if !slices.Contains(titles, Safe(m.name)) {
				titles = append(titles, Safe(m.name))
			}
		}
	}
	var t table
	t.add(titles...)
	for _, row := range cells {
		var line []string
		for _, title := range titles {
			line = append(line, row[title])
		}
		t.add(line...)
	}
	for i, line := range t.lines() {
		b.WriteString(indent + line + "\n")
		if i > 0 {
			if err := outlineBelow(b, below[i-1], indent+"  "); err != nil {
				return err
			}
		}
	}
	return nil
}

func outlineBelow(b *strings.Builder, below []member, indent string) error {
	for _, m := range below {
		b.WriteString(indent + Safe(m.name) + "\n")
		if err := outline(b, m.raw, indent+"  "); err != nil {
			return err
		}
	}
	return nil
}

// members lists an object's members in the order in which they were sent.
func members(raw json.RawMessage) []member {
	d := json.NewDecoder(bytes.NewReader(raw))
	var out []member
	if _, err := d.Token(); err != nil {
		return nil
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return out
		}
		name, _ := token.(string)
		m := member{name: name}
		if err := d.Decode(&m.raw); err != nil {
			return out
		}
		out = append(out, m)
	}
	return out
}
