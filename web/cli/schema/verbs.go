package schema

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Verb is what can be done with a noun.
type Verb struct {
	Name    string
	Aliases []string
	// Actions are the messages behind it: one, or one for each kind.
	Actions []*Action
	// Subject is the parameter that the objects named on the command line are
	// for, "" when none are.
	Subject string
	// Fixed are parameters that the verb's name already says.
	Fixed map[string]string
	// Creates is true when one is made that is named by the arguments; Uploads when
	// its bytes come from a file of the person's machine.
	Creates, Uploads bool
}

// First is the action that speaks for all kinds: they differ in parameters only.
func (v *Verb) First() *Action { return v.Actions[0] }

// Kinds lists the names of the kinds, nil when there are none. One that a server
// has alone is named too: another server may have more.
func (v *Verb) Kinds() []string {
	if len(v.Actions) == 1 && v.First().Variant == "" {
		return nil
	}
	var out []string
	for _, a := range v.Actions {
		out = append(out, cmp.Or(a.Variant, Kebab(a.Message)))
	}
	return out
}

// Verbs lists what can be done with a type beside listing and showing: create,
// update, delete, recover, its actions, then those that link something else to it.
// Two verbs never share a name.
func (d *Document) Verbs(t *Type) []*Verb {
	var out []*Verb
	add := func(v *Verb) { out = append(out, v) }
	var rest []*Action
	creates := &Verb{Name: "create", Aliases: []string{"add"}, Creates: true}
	for _, a := range d.creates(t) {
		if a.Scope == "type" {
			creates.Actions = append(creates.Actions, a)
		} else {
			rest = append(rest, a)
		}
	}
	if len(creates.Actions) > 0 {
		add(creates)
	}
	if a := uploads(creates.Actions); a != nil {
		add(&Verb{Name: "upload", Creates: true, Uploads: true, Actions: []*Action{a}})
	}
	for _, one := range []struct{ name, message string }{{"update", t.Update}, {"delete", t.Delete}, {"recover", t.Recover}} {
		if a := d.Actions[one.message]; a != nil {
			add(&Verb{Name: one.name, Actions: []*Action{a}, Subject: a.Subject})
		}
	}
	for _, message := range t.Actions {
		if a := d.Actions[message]; a != nil {
			rest = append(rest, a)
		}
	}
	for _, a := range rest {
		if events := d.events(t, a); events != nil {
			out = append(out, events...)
			continue
		}
		if i := slices.IndexFunc(out, func(v *Verb) bool { return v.Name == a.Verb }); i >= 0 && a.Variant != "" && a.Subject == out[i].Subject {
			out[i].Actions = append(out[i].Actions, a) // of one kind of the type
			continue
		}
		name := d.nameOf(a, rest)
		if slices.ContainsFunc(out, func(v *Verb) bool { return v.Name == name }) {
			name = Kebab(a.Message)
		}
		add(&Verb{Name: name, Actions: []*Action{a}, Subject: a.Subject})
	}
	out = d.links(t, out)
	nameAgain(t, out)
	return out
}

// common are the verbs that every noun has by itself, and cobra's.
var common = []string{"ls", "list", "show", "get", "help"}

// nameOf is the verb of an action, or a longer one where others have the same.
// What only reads is called by what it tells: "trace", not "get-trace".
func (d *Document) nameOf(a *Action, others []*Action) string {
	name := a.Verb
	if same := func(b *Action) bool { return b != a && b.Verb == a.Verb }; name == "" || slices.ContainsFunc(others, same) {
		name = d.longName(a, others)
	}
	if slices.Contains(common, name) {
		return shortMessage(a)
	}
	if a.Effect == "read" {
		return strings.TrimPrefix(name, "get-")
	}
	return name
}

// links adds the actions of other types whose path names one of this type too:
// what is attached to a cluster, or made in a network, can be done from both ends.
// The verb has the noun of the other end: attach-l2, add-ip-range.
func (d *Document) links(t *Type, out []*Verb) []*Verb {
	messages := slices.Sorted(maps.Keys(d.Actions))
	for _, m := range messages {
		a := d.Actions[m]
		other := d.Types[a.Type]
		linking := a.Effect == "attach" || a.Effect == "detach" || a.Effect == "create"
		if other == nil || other == t || other.Noun == "" || !linking {
			continue
		}
		for _, p := range a.Params {
			if p.In != "path" || p.Ref != t.Name || p.Name == a.Subject {
				continue
			}
			name := a.Verb + "-" + other.Noun
			i := slices.IndexFunc(out, func(v *Verb) bool { return v.Name == name })
			switch {
			case i < 0:
				out = append(out, &Verb{Name: name, Actions: []*Action{a}, Subject: p.Name})
			case out[i].Subject == p.Name && out[i].First().Type == a.Type:
				out[i].Actions = append(out[i].Actions, a)
			}
		}
	}
	return out
}

// creates lists the creating actions of a type and of its subtypes.
func (d *Document) creates(t *Type) []*Action {
	var out []*Action
	messages := slices.Clone(t.Create)
	for _, name := range t.Subtypes {
		if sub := d.Types[name]; sub != nil && d.sharesPath(sub) {
			messages = append(messages, sub.Create...)
		}
	}
	for _, m := range messages {
		if a := d.Actions[m]; a != nil && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// uploads is the creating action that takes a file.
func uploads(actions []*Action) *Action {
	for _, a := range actions {
		if a.FileParam() != nil {
			return a
		}
	}
	return nil
}

// FileParam is the parameter whose value may be a file that is sent, nil for
// none.
func (a *Action) FileParam() *Param {
	for _, p := range a.Params {
		if p.Widget == "upload" {
			return p
		}
	}
	return nil
}

// events makes one verb for each event of an action that only asks for an event
// of the type's states; nil for other actions.
func (d *Document) events(t *Type, a *Action) []*Verb {
	for _, p := range a.Params {
		values := d.Values(&p.Field)
		if !p.Required || len(values) == 0 {
			continue
		}
		for _, s := range t.States {
			var out []*Verb
			for _, v := range values {
				if s.Moves[v] != nil {
					out = append(out, &Verb{Name: Kebab(v), Actions: []*Action{a}, Subject: a.Subject, Fixed: map[string]string{p.Name: v}})
				}
			}
			if len(out) > 0 {
				return out
			}
		}
	}
	return nil
}

// longName tells an action from others of the same verb: by the noun that it
// refers to beside its subject, else by its message.
func (d *Document) longName(a *Action, others []*Action) string {
	name := func(a *Action) string {
		for _, p := range a.Params {
			if ref := d.ItemRef(&p.Field); p.Name != a.Subject && p.Required && ref != nil && ref.Noun != "" {
				return a.Verb + "-" + ref.Noun
			}
		}
		return ""
	}
	mine := name(a)
	if mine == "" || a.Verb == "" || slices.ContainsFunc(others, func(b *Action) bool { return b != a && name(b) == mine }) {
		return shortMessage(a)
	}
	return mine
}

// shortMessage is the message without what it is done to: attach-dns of
// APIAttachDnsToL3NetworkMsg.
func shortMessage(a *Action) string {
	text := Kebab(a.Message)
	for _, word := range []string{"-to-", "-from-"} {
		if before, _, ok := strings.Cut(text, word); ok {
			text = before
		}
	}
	return text
}

// ends is a long name's first and last word: add-range of add-ip-range; "" of a
// name that has no more.
func ends(name string) string {
	words := strings.Split(name, "-")
	if len(words) < 3 {
		return ""
	}
	return words[0] + "-" + words[len(words)-1]
}

// nameAgain gives each verb the other words by which it may be called: the verb
// of its action, its message, the message's first word, and first and last words.
// A word that two could mean is dropped.
func nameAgain(t *Type, verbs []*Verb) {
	taken := map[string]int{}
	for _, name := range common {
		taken[name]++
	}
	for _, v := range verbs {
		taken[v.Name]++
	}
	count := map[string]int{}
	for _, v := range verbs {
		for _, a := range v.Actions {
			message := Kebab(a.Message)
			first, _, _ := strings.Cut(message, "-")
			words := []string{a.Verb, message, shortMessage(a), strings.TrimSuffix(message, "-"+Kebab(t.Name)),
				ends(v.Name), ends(message), ends(shortMessage(a))}
			if v.Fixed != nil || v.Uploads {
				words = nil
			} else {
				words = append(words, first)
			}
			for _, w := range words {
				if w != "" && !slices.Contains(v.Aliases, w) {
					v.Aliases = append(v.Aliases, w)
				}
			}
		}
		for _, w := range v.Aliases {
			count[w]++
		}
	}
	for _, v := range verbs {
		v.Aliases = slices.DeleteFunc(v.Aliases, func(w string) bool { return taken[w] > 0 || count[w] > 1 })
	}
}
