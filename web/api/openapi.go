package api

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
)

// obj is a JSON object under construction.
type obj = map[string]any

// serveOpenAPI answers the API's description, written once per set of actions.
func (s *Server) serveOpenAPI(w http.ResponseWriter, req *http.Request) {
	b := s.openapi.Load()
	if b == nil {
		text, err := json.Marshal(OpenAPI(s.opt.Actions, s.opt.Types, s.opt.Version))
		if err != nil {
			s.writeError(w, req, err)
			return
		}
		b = &text
		s.openapi.Store(b)
	}
	s.writeJSON(w, http.StatusOK, *b)
}

// OpenAPI describes all actions as OpenAPI 3.0.3. Several messages share a path
// and method and differ by the body's key; there the key is appended to the path
// as a fragment, which clients never send. types may be nil.
func OpenAPI(r *action.Registry, types *resource.Registry, version string) any {
	d := &describer{types: types, paths: map[string]obj{}, names: map[string]string{}, schemas: obj{}}
	if version == "" {
		version = "0"
	}
	for _, a := range r.All() {
		for i, p := range a.Paths() {
			d.add(a, p, i)
		}
	}
	if types != nil {
		for _, t := range types.All() {
			if !t.Internal {
				d.schemas[t.Name] = d.inventory(t)
			}
		}
	}
	d.schemas["Error"] = obj{"type": "object", "properties": obj{"error": obj{"type": "object", "required": []string{"code"}, "properties": obj{
		"code": text(), "description": text(), "details": text(), "cause": obj{"type": "object"}}}}}
	d.schemas["Job"] = obj{"type": "object", "properties": obj{"location": text(), "apiTimeout": obj{"type": "integer", "format": "int64"}}}
	d.addPoll()
	return obj{
		"openapi": "3.0.3",
		"info": obj{"title": "Kumo", "version": version, "license": obj{"name": "see the project's LICENSE file"},
			"description": "Calls that change something answer 202 with the address of a job to poll. " +
				"Where a path ends in #key, the key is not sent in the URL: it is the member of the body that holds the parameters."},
		"servers":    []any{obj{"url": basePath}},
		"paths":      d.paths,
		"components": obj{"schemas": d.schemas, "securitySchemes": obj{"session": obj{"type": "apiKey", "in": "header", "name": "Authorization", "description": "OAuth <session uuid>"}}},
	}
}

type describer struct {
	types   *resource.Registry
	paths   map[string]obj
	names   map[string]string // shape to the path with the names used first
	schemas obj
}

func text() obj { return obj{"type": "string"} }

// add describes an action at the i-th of its paths.
func (d *describer) add(a *action.Action, path string, i int) {
	path = "/" + strings.Trim(path, "/")
	shape := action.Shape(path)
	if _, ok := d.names[shape]; !ok {
		d.names[shape] = path
	}
	shown := d.names[shape]
	own, common := variables(path), variables(shown)
	if a.Method == http.MethodPut && a.Key != "" {
		shown += "#" + a.Key
	}
	op := obj{"operationId": operationID(a, path, i), "responses": d.responses(a), "tags": []string{tagOf(path)}}
	if a.Doc != "" {
		op["summary"] = a.Doc
	}
	if a.Access != action.Anonymous {
		op["security"] = []any{obj{"session": []string{}}}
	}
	params := []any{}
	for j, name := range own {
		p := obj{"name": common[j], "in": "path", "required": true, "schema": text()}
		if decl, ok := a.Param(name); ok {
			p["schema"] = d.param(decl)
			if decl.Doc != "" {
				p["description"] = decl.Doc
			}
		}
		params = append(params, p)
	}
	d.rest(a, op, params, own)
	item := d.paths[shown]
	if item == nil {
		item = obj{}
		d.paths[shown] = item
	}
	item[strings.ToLower(a.Method)] = op
}

// rest describes the parameters that are not in the path.
func (d *describer) rest(a *action.Action, op obj, params []any, inPath []string) {
	query := a.Method == http.MethodGet || a.Method == http.MethodDelete
	props, required := obj{}, []string{}
	for _, p := range a.Params {
		if contains(inPath, p.Name) {
			continue
		}
		if query {
			params = append(params, queryParam(p, d.param(p)))
			continue
		}
		props[p.Name] = d.param(p)
		if p.Required {
			required = append(required, p.Name)
		}
	}
	if a.Query != "" && len(inPath) == 0 {
		params = append(params, queryParams()...)
	}
	if a.Method == http.MethodDelete {
		if _, has := a.Param("deleteMode"); !has {
			params = append(params, obj{"name": "deleteMode", "in": "query", "schema": obj{"type": "string", "enum": []string{"Permissive", "Enforcing"}}})
		}
		params = append(params, obj{"name": "plan", "in": "query", "schema": obj{"type": "boolean"}, "description": "Answer what would be deleted, and delete nothing."})
	}
	if len(params) > 0 {
		op["parameters"] = params
	}
	if query || a.Key == "" {
		return
	}
	if a.Create {
		props["resourceUuid"] = obj{"type": "string", "description": "UUID for the new resource."}
	}
	inner := obj{"type": "object", "properties": props}
	if len(required) > 0 {
		inner["required"] = required
	}
	tags := obj{"type": "array", "items": text()}
	op["requestBody"] = obj{"required": len(required) > 0, "content": obj{"application/json": obj{"schema": obj{
		"type": "object", "properties": obj{a.Key: inner, "systemTags": tags, "userTags": tags}}}}}
}

func queryParam(p action.Param, schema obj) obj {
	out := obj{"name": p.Name, "in": "query", "required": p.Required, "schema": schema}
	if schema["type"] == "object" {
		out["style"], out["explode"] = "deepObject", true
	}
	if p.Doc != "" {
		out["description"] = p.Doc
	}
	return out
}

func queryParams() []any {
	q := func(name, typ, doc string) any {
		return obj{"name": name, "in": "query", "schema": obj{"type": typ}, "description": doc}
	}
	return []any{
		obj{"name": "q", "in": "query", "schema": obj{"type": "array", "items": text()}, "description": "A condition such as name=web; repeated ones are joined by and."},
		q("limit", "integer", "At most so many, 1000 by default."), q("start", "integer", "Leave out so many."),
		q("count", "boolean", "Answer only the number."), q("replyWithCount", "boolean", "Add the number of all matches."),
		q("sort", "string", "A field, with + or - before it."), q("fields", "string", "Only these fields, with commas between."),
		q("names", "boolean", "Add the names of the resources that are referred to."),
		q("groupBy", "string", "Accepted, without effect."),
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// variables lists the names in braces.
func variables(path string) []string {
	var out []string
	for _, s := range split(path) {
		if strings.HasPrefix(s, "{") {
			out = append(out, strings.Trim(s, "{}"))
		}
	}
	return out
}

// operationID is the message without API and Msg; further paths of an action
// add the variable that sets them apart.
func operationID(a *action.Action, path string, i int) string {
	id := strings.TrimSuffix(strings.TrimPrefix(a.Message, "API"), "Msg")
	if i == 0 {
		return id
	}
	vars := variables(path)
	if len(vars) == 0 {
		return id + "Alias"
	}
	v := vars[len(vars)-1]
	return id + "By" + strings.ToUpper(v[:1]) + v[1:]
}

func tagOf(path string) string {
	segs := split(path)
	if len(segs) == 0 || strings.HasPrefix(segs[0], "{") {
		return "other"
	}
	return segs[0]
}

// responses describes what an action answers.
func (d *describer) responses(a *action.Action) obj {
	body := func(schema any) obj { return obj{"application/json": obj{"schema": schema}} }
	out := obj{"503": obj{"description": "The API failed.", "content": body(obj{"$ref": "#/components/schemas/Error"})}}
	result := d.result(a)
	if a.Async {
		out["202"] = obj{"description": "Accepted; poll the location. Its result: see 200.", "content": body(obj{"$ref": "#/components/schemas/Job"})}
	}
	out["200"] = obj{"description": "The result.", "content": body(result)}
	return out
}

func (d *describer) result(a *action.Action) obj {
	switch {
	case a.Query != "":
		return obj{"type": "object", "properties": obj{"inventories": obj{"type": "array", "items": d.ref(a.Query)}, "total": obj{"type": "integer", "format": "int64"}, "schema": obj{"type": "object"}}}
	case a.ResultType() == reflect.TypeFor[action.Ref]():
		return obj{"type": "object", "properties": obj{"inventory": d.ref(a.Returns)}}
	case a.ResultType() == reflect.TypeFor[action.Refs]():
		return obj{"type": "object", "properties": obj{"inventories": obj{"type": "array", "items": d.ref(a.Returns)}}}
	case a.ResultType() == nil || a.ResultType() == reflect.TypeFor[action.Empty]():
		return obj{"type": "object"}
	}
	return goSchema(a.ResultType(), 0)
}

// addPoll describes the poll of a job, which is no action.
func (d *describer) addPoll() {
	d.paths["/api-jobs/{uuid}"] = obj{"get": obj{
		"operationId": "PollJob", "summary": "Waits up to a second for a job and answers its result.", "tags": []string{"api-jobs"},
		"parameters": []any{obj{"name": "uuid", "in": "path", "required": true, "schema": text()}},
		"responses": obj{
			"200": obj{"description": "The job is done; the body is the result of the call."},
			"202": obj{"description": "The job is still running."},
			"404": obj{"description": "The job is unknown or has expired."},
			"503": obj{"description": "The job failed.", "content": obj{"application/json": obj{"schema": obj{"$ref": "#/components/schemas/Error"}}}},
		},
	}}
}
