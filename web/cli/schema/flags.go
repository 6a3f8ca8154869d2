package schema

import (
	"slices"
	"strings"
)

// reserved are the flags that the command line has by itself. A parameter that
// would be called so is called --param-NAME.
var reserved = []string{"help", "kind", "no-wait", "output", "plan", "server", "set", "system-tag", "user-tag", "version", "wait", "yes"}

// Flag is a parameter as the command line names it.
type Flag struct {
	*Param
	// Name is the one shown; Aliases are accepted as well.
	Name    string
	Aliases []string
	// Tag is the system tag that the parameter is a part of, nil for one of the
	// message.
	Tag *Tag
	// Ref is the type whose names are accepted, nil for none.
	Ref *Type
	// File: it names a file that has the value, or asks for it.
	File bool
}

// Flags names the parameters of some actions, of which one is meant (see
// Verb.Actions); those in skip have none.
//
// A reference is called by the noun of its type: imageUuid is --image. When
// several refer to one type, the one that is named like the type has the short
// form, and the others keep their own name without "uuid". Where the last word
// of the parameter's name is one of the type's, it is shown instead of the noun:
// l3NetworkUuids is --network of a type with that alias.
func (d *Document) Flags(actions []*Action, tags []Tag, skip ...string) []*Flag {
	out := d.parameters(actions, tags, skip)
	named := map[string]int{}
	for _, f := range out {
		f.Name = own(f)
		if f.Ref != nil && short(f, out) {
			f.Name = f.Ref.Noun
			if words := strings.Split(own(f), "-"); slices.Contains(f.Ref.Words(), words[len(words)-1]) {
				f.Name = words[len(words)-1]
			}
		}
		named[f.Name]++
	}
	taken := map[string]bool{}
	for _, f := range out {
		if named[f.Name] > 1 { // two of one name both keep their own
			f.Name = file(f, Kebab(f.Param.Name))
		}
		if slices.Contains(reserved, f.Name) {
			f.Name = "param-" + f.Name
		}
		taken[f.Name] = true
	}
	count := map[string]int{}
	for _, f := range out {
		f.Aliases = aliases(f, out)
		for _, a := range f.Aliases {
			count[a]++
		}
	}
	for _, f := range out {
		f.Aliases = slices.DeleteFunc(f.Aliases, func(a string) bool { return taken[a] || count[a] > 1 || slices.Contains(reserved, a) })
	}
	return out
}

// parameters gathers those of the actions and the tags, each once.
func (d *Document) parameters(actions []*Action, tags []Tag, skip []string) []*Flag {
	var out []*Flag
	known := func(p *Param) bool {
		return slices.ContainsFunc(out, func(f *Flag) bool { return f.Param.Name == p.Name })
	}
	for _, a := range actions {
		for _, p := range a.Params {
			if !slices.Contains(skip, p.Name) && !known(p) {
				out = append(out, &Flag{Param: p, Ref: d.ItemRef(&p.Field), File: d.inFile(a, p)})
			}
		}
	}
	for i := range tags {
		// A tag of several parts is given as a tag: --system-tag.
		if len(tags[i].Params) == 1 && !known(tags[i].Params[0]) {
			p := tags[i].Params[0]
			out = append(out, &Flag{Param: p, Tag: &tags[i], Ref: d.ItemRef(&p.Field), File: p.Secret})
		}
	}
	return out
}

// inFile tells whether the value of a parameter is read from a file, as it must
// not stand in the list of processes: that of a secret, unless the resource itself
// shows it to its readers, as an image does its address and a tag its text.
func (d *Document) inFile(a *Action, p *Param) bool {
	if !p.Secret {
		return false
	}
	name := p.Name
	if p.Kind == "list" {
		name = strings.TrimSuffix(name, "s")
	}
	t := d.Types[a.Type]
	if t == nil {
		return true
	}
	shown := t.Field(name)
	return shown == nil || shown.Secret
}

// own is the parameter's own name; that of a secret names a file.
func own(f *Flag) string {
	name := Kebab(f.Param.Name)
	if format := Kebab(f.Format); strings.ReplaceAll(format, "-", "") == name {
		name = format // userdata is --user-data
	}
	if f.Ref != nil || f.RefBy != "" {
		name = withoutUUID(name)
	}
	return file(f, name)
}

// file is the name of a flag that names a file, if it does.
func file(f *Flag, name string) string {
	if f.File {
		name += "-file"
	}
	return name
}

// short tells whether a reference may be called by the noun of its type.
func short(f *Flag, all []*Flag) bool {
	if f.Ref.Noun == "" {
		return false
	}
	if own(f) == Kebab(f.Ref.Name) {
		return true
	}
	return !slices.ContainsFunc(all, func(g *Flag) bool { return g != f && g.Ref == f.Ref })
}

func aliases(f *Flag, all []*Flag) []string {
	out := []string{own(f), Kebab(f.Param.Name), strings.ToLower(f.Param.Name), f.Param.Name}
	if f.Kind == "list" {
		out = append(out, own(f)+"s", f.Name+"s")
	}
	if f.Ref != nil && short(f, all) {
		out = append(append(out, f.Ref.Noun, Kebab(f.Ref.Name)), f.Ref.Words()...)
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(a string) bool { return a == f.Name })
}
