package action

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
)

// Asked is a call that has passed its checks and is not accepted yet.
type Asked struct {
	Action *Action
	Call   *Call
	// About is the resource that it is about, with the UUID that a create will have.
	About Target
	// Parameters gives those that the caller gave, by their names on the wire, without
	// secrets; the map is the caller's of Parameters.
	Parameters func() map[string]json.RawMessage
}

// Amended is what an observer changes of a call: parameters of its body, and system
// tags that are added to those of a create.
type Amended struct {
	Parameters map[string]json.RawMessage
	SystemTags []string
}

// observed shows a call that passed its checks to who observes it (Ports.Before).
// What they amend passes the checks again, and stands in the input from then on. It
// returns the parameters.
func (r *Registry) observed(ctx context.Context, a *Action, c *Call, in *Input, params any) (any, bool, error) {
	if r.ports.Before == nil || c.Plan || a.reads() {
		return params, false, nil
	}
	changes, err := r.ports.Before(ctx, Asked{Action: a, Call: c, About: a.about(c, params),
		Parameters: func() map[string]json.RawMessage { return a.given(in) }})
	if err != nil || len(changes.Parameters)+len(changes.SystemTags) == 0 {
		return params, false, err
	}
	next := *in
	if len(changes.Parameters) > 0 {
		next.Body = maps.Clone(in.Body)
		if next.Body == nil {
			next.Body = map[string]json.RawMessage{}
		}
		maps.Copy(next.Body, changes.Parameters)
	}
	if len(changes.SystemTags) > 0 {
		next.SystemTags = append(slices.Clone(c.SystemTags), changes.SystemTags...)
		c.SystemTags = next.SystemTags
	}
	p, b, err := a.decode(&next)
	if err == nil {
		err = a.checkFields(p, &b)
	}
	if err != nil {
		return params, false, err
	}
	stop, err := r.permit(ctx, a, c, p)
	if err == nil {
		*in = next
	}
	return p, stop, err
}

// given are the parameters of an input that may be shown.
func (a *Action) given(in *Input) map[string]json.RawMessage {
	all := map[string]json.RawMessage{}
	for i := range a.fields {
		f := &a.fields[i]
		if f.Secret {
			continue
		}
		if raw, ok := f.raw(in); ok {
			all[f.Name] = raw
		}
	}
	return all
}

// raw is the value of a parameter as JSON.
func (f *field) raw(in *Input) (json.RawMessage, bool) {
	for i := 0; i+1 < len(in.Path); i += 2 {
		if in.Path[i] == f.Name {
			return jsonText(in.Path[i+1]), true
		}
	}
	if raw, ok := in.Body[f.Name]; ok {
		var text string
		if json.Unmarshal(raw, &text) == nil {
			return jsonText(withoutSecrets(text)), true
		}
		return raw, true
	}
	texts := queryTexts(in.Query, f.Name)
	switch {
	case len(texts) == 0:
		return nil, false
	case f.kind != kindList:
		return jsonText(withoutSecrets(texts[0])), true
	}
	list := make([]json.RawMessage, len(texts))
	for i, text := range texts {
		list[i] = jsonText(withoutSecrets(text))
	}
	return jsonOf(list), true
}

// withoutSecrets leaves out user, password and query where a text is a URL.
func withoutSecrets(text string) string {
	if strings.Contains(text, "://") {
		return kinds.Shown(text)
	}
	return text
}

func jsonText(text string) json.RawMessage { return jsonOf(text) }

func jsonOf(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil { // no text does that, and no list of them
		return json.RawMessage(`""`)
	}
	return b
}
