package catalog

// The functions below say in few words what most verbs look like.

func name() Param        { return Param{Name: "name", Required: true, Doc: "name; need not be unique"} }
func description() Param { return Param{Name: "description", Doc: "text for people"} }

// ref is a parameter that holds the UUID of a noun; its name is accepted too.
func ref(param, noun string, required bool) Param {
	return Param{Name: param, Ref: noun, Required: required, Doc: "name or UUID of the " + noun}
}

// create is a POST whose parameters begin with name and description.
func create(path string, params ...Param) Call {
	return Call{Method: "POST", Path: path, Key: "params", Params: append([]Param{name(), description()}, params...)}
}

// action is a PUT on one object, of which the body's key says what to do.
func action(verb, short, path, key string, params ...Param) Verb {
	return Verb{Name: verb, Short: short, Call: Call{Method: "PUT", Path: path + "/{uuid}/actions", Key: key, Params: params}}
}

// remove is a DELETE of one object, after asking.
func remove(verb, short, path string) Verb {
	return Verb{Name: verb, Short: short, Dangerous: true, Call: Call{Method: "DELETE", Path: path + "/{uuid}", Params: []Param{
		{Name: "deleteMode", Values: []string{"Permissive", "Enforcing"}, Doc: "Enforcing goes on past errors"},
	}}}
}

// dangerous makes a verb ask first.
func dangerous(v Verb) Verb {
	v.Dangerous = true
	return v
}

// update changes name and description.
func update(path, key string, more ...Param) Verb {
	return action("update", "Change name, description and more", path, key,
		append([]Param{{Name: "name", Doc: "new name"}, description()}, more...)...)
}

// state has one verb for each state event.
func state(path, key string, events ...string) []Verb {
	var out []Verb
	for _, e := range events {
		out = append(out, action(e, "Change the state: "+e, path, key, Param{Name: "stateEvent", Default: e, Values: []string{e}}))
	}
	return out
}

// link attaches an object to a parent, or detaches it: {uuid} is the parent,
// and the other is a parameter in the path.
func link(verb, short, method, path, key string, other Param) Verb {
	return Verb{Name: verb, Short: short, Dangerous: method == "DELETE", Call: Call{Method: method, Path: path, Key: key, Params: []Param{other}}}
}

func columns(more ...Column) []Column {
	return append([]Column{{Title: "NAME", Path: "name"}, {Title: "UUID", Path: "uuid"}}, more...)
}

func join(lists ...[]Verb) []Verb {
	var out []Verb
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}
