package action

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"strconv"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

var refType = reflect.TypeFor[Ref]()

// Render turns a handler's result into the answer's body and schema.
func (r *Registry) Render(ctx context.Context, res any) (json.RawMessage, map[string]string, error) {
	switch v := res.(type) {
	case nil, Empty, *Empty:
		return json.RawMessage("{}"), nil, nil
	case Ref:
		return r.renderRef(ctx, v)
	case Refs:
		return r.renderRefs(ctx, v)
	case json.RawMessage:
		return v, nil, nil
	}
	b, err := json.Marshal(res)
	if err != nil {
		return nil, nil, errs.Wrap(errs.Internal, "the answer", err, "write it as JSON")
	}
	return b, nil, nil
}

func (r *Registry) renderRef(ctx context.Context, ref Ref) (json.RawMessage, map[string]string, error) {
	if ref.UUID == "" {
		return json.RawMessage("{}"), nil, nil
	}
	inv, schema, err := r.inventory(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	body := make([]byte, 0, len(inv)+16)
	body = append(body, `{"inventory":`...)
	body = append(body, inv...)
	body = append(body, '}')
	return body, prefixSchema(nil, "inventory", schema), nil
}

func (r *Registry) renderRefs(ctx context.Context, refs Refs) (json.RawMessage, map[string]string, error) {
	items := make([]json.RawMessage, 0, len(refs))
	var full map[string]string
	for i, ref := range refs {
		inv, schema, err := r.inventory(ctx, ref)
		if err != nil {
			return nil, nil, err
		}
		items = append(items, inv)
		full = prefixSchema(full, "inventories["+strconv.Itoa(i)+"]", schema)
	}
	body, err := (&QueryResult{Inventories: items}).Body()
	return body, full, err
}

func (r *Registry) inventory(ctx context.Context, ref Ref) (json.RawMessage, map[string]string, error) {
	if r.ports.Render == nil {
		return nil, nil, errs.New(errs.Internal, ref.Type+" "+ref.UUID, "no renderer is wired")
	}
	return r.ports.Render.Inventory(ctx, ref.Type, ref.UUID)
}

// prefixSchema adds schema's paths below prefix to dst.
func prefixSchema(dst map[string]string, prefix string, schema map[string]string) map[string]string {
	for path, class := range schema {
		if dst == nil {
			dst = map[string]string{}
		}
		if path != "" {
			path = prefix + "." + path
		} else {
			path = prefix
		}
		dst[path] = class
	}
	return dst
}

// Body writes {"inventories":[…],"total":N,"names":{…},"schema":{…}} from ready
// parts, in a text of its exact size, as it may be kept for long.
func (q *QueryResult) Body() (json.RawMessage, error) {
	var schema []byte
	if q.Schema != nil {
		var err error
		if schema, err = json.Marshal(q.Schema); err != nil {
			return nil, errs.Wrap(errs.Internal, "the answer", err, "write its schema")
		}
	}
	b := bytes.NewBuffer(make([]byte, 0, q.size()+len(schema)))
	b.WriteByte('{')
	if !q.CountOnly {
		b.WriteString(`"inventories":[`)
		for i, inv := range q.Inventories {
			if i > 0 {
				b.WriteByte(',')
			}
			b.Write(inv)
		}
		b.WriteByte(']')
	}
	if q.HasTotal || q.CountOnly {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.WriteString(`"total":`)
		b.WriteString(strconv.FormatInt(q.Total, 10))
	}
	if q.Names != nil {
		b.WriteString(`,"names":`)
		b.Write(q.Names)
	}
	if schema != nil {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.WriteString(`"schema":`)
		b.Write(schema)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// size is about the length of the body without its schema.
func (q *QueryResult) size() int {
	n := 64 + len(q.Names) // the members' names, and the total
	for _, inv := range q.Inventories {
		n += len(inv) + 1
	}
	return n
}

// text returns the value of a text parameter, "" when it has none.
func (a *Action) text(name string, params any) string {
	p := reflect.ValueOf(params).Elem()
	for i := range a.fields {
		if f := &a.fields[i]; f.Name == name && f.kind == kindText {
			v, given := f.value(p)
			if !given {
				return ""
			}
			return v.String()
		}
	}
	return ""
}
