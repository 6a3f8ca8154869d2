package api

import (
	"encoding/json"
	"reflect"
	"strings"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
)

// param is the JSON schema of a parameter.
func (d *describer) param(p action.Param) obj {
	s := d.wordSchema(p.Type)
	if t := p.ParamType(); t != nil {
		s = goSchema(t, 0)
	}
	leaf := s
	if items, ok := s["items"].(obj); ok {
		leaf = items
	}
	if p.MaxLength > 0 && leaf["type"] == "string" {
		leaf["maxLength"] = p.MaxLength
	}
	if len(p.Values) > 0 {
		leaf["enum"] = p.Values
	}
	if p.Range != nil && leaf["type"] == "integer" {
		leaf["minimum"], leaf["maximum"] = p.Range[0], p.Range[1]
	}
	if p.Secret && leaf["type"] == "string" {
		leaf["format"] = "password"
	}
	if p.Doc != "" {
		s["description"] = p.Doc
	}
	return s
}

func (d *describer) wordSchema(word string) obj {
	word = strings.TrimSuffix(word, "?")
	switch {
	case strings.HasPrefix(word, "[]"):
		return obj{"type": "array", "items": d.wordSchema(word[2:])}
	case strings.HasPrefix(word, "map<"):
		return obj{"type": "object", "additionalProperties": d.wordSchema(strings.TrimSuffix(word[4:], ">"))}
	}
	switch word {
	case "int", "long":
		return obj{"type": "integer", "format": "int64"}
	case "double":
		return obj{"type": "number"}
	case "bool":
		return obj{"type": "boolean"}
	case "string":
		return text()
	}
	return obj{}
}

// goSchema is the schema of a Go type as encoding/json writes it.
func goSchema(t reflect.Type, depth int) obj {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if depth > 5 {
		return obj{}
	}
	switch t.Kind() {
	case reflect.String:
		return text()
	case reflect.Bool:
		return obj{"type": "boolean"}
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint32, reflect.Uint64, reflect.Uint, reflect.Uint8, reflect.Int8, reflect.Int16, reflect.Uint16:
		return obj{"type": "integer", "format": "int64"}
	case reflect.Float32, reflect.Float64:
		return obj{"type": "number"}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return obj{}
		}
		return obj{"type": "array", "items": goSchema(t.Elem(), depth+1)}
	case reflect.Map:
		return obj{"type": "object", "additionalProperties": goSchema(t.Elem(), depth+1)}
	case reflect.Struct:
		return structSchema(t, depth)
	}
	return obj{}
}

func structSchema(t reflect.Type, depth int) obj {
	if t.Implements(reflect.TypeFor[json.Marshaler]()) {
		return text() // times and the like
	}
	props := obj{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		if f.Anonymous && name == "" {
			if inner, ok := goSchema(f.Type, depth+1)["properties"].(obj); ok {
				for k, v := range inner {
					props[k] = v
				}
			}
			continue
		}
		if name == "" {
			name = f.Name
		}
		props[name] = goSchema(f.Type, depth+1)
	}
	return obj{"type": "object", "properties": props}
}

// ref points to the schema of a type, when it has one.
func (d *describer) ref(name string) obj {
	if d.types != nil {
		if t, ok := d.types.Get(name); ok && !t.Internal {
			return obj{"$ref": "#/components/schemas/" + name}
		}
	}
	return obj{"type": "object"}
}

// inventory is the schema of a type's inventory, with its parents' fields.
func (d *describer) inventory(t *resource.Type) obj {
	props := obj{}
	for _, lt := range d.types.Lineage(t) {
		for _, f := range lt.Fields {
			if f.Visible() {
				props[f.Name] = fieldSchema(f)
			}
		}
		for _, e := range lt.Embeds {
			items := d.ref(e.Type)
			if e.Scalar != "" {
				items = text()
			}
			props[e.Name] = obj{"type": "array", "items": items}
			if e.One {
				props[e.Name] = items
			}
		}
	}
	return obj{"type": "object", "properties": props}
}

func fieldSchema(f resource.Field) obj {
	s := text()
	switch f.Kind {
	case resource.Int, resource.Long:
		s = obj{"type": "integer", "format": "int64"}
	case resource.Bool:
		s = obj{"type": "boolean"}
	case resource.Double:
		s = obj{"type": "number"}
	}
	if len(f.Values) > 0 {
		s["enum"] = f.Values
	}
	if f.Doc != "" {
		s["description"] = f.Doc
	}
	return s
}
