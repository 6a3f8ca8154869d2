package pluginsdk

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// The words of resource types in manifests (ResourceTypeDecl).
const (
	OnDeleteCascade  = "cascade"
	OnDeleteDetach   = "detach"
	OnDeleteRestrict = "restrict"
	OnDeleteNone     = "none"

	ReadableOwner  = "owner"
	ReadableGlobal = "global"
	ReadableAdmin  = "admin"

	AccessNormal = "normal"
	AccessAdmin  = "admin"

	ActsOnOne  = "one"
	ActsOnMany = "many"
	ActsOnType = "type"

	ReturnsList          = "list"
	ReturnsOne           = "one"
	ReturnsInventoryList = "inventory-list"

	// DeleteLocal and DeleteRemote are the modes of deletes of foreign rows.
	DeleteLocal  = "local"
	DeleteRemote = "remote"

	RightsRead   = "read"
	RightsChange = "change"

	// KindObjects is the kind of parameters that are lists of objects.
	KindObjects = "objects"
)

var (
	typeName    = regexp.MustCompile(`^[A-Z][A-Za-z0-9]{1,58}$`)
	fieldName   = regexp.MustCompile(`^[a-z][A-Za-z0-9]{0,58}$`)
	typePath    = regexp.MustCompile(`^(/[a-z0-9][a-z0-9-]*)+$`)
	actionRoute = regexp.MustCompile(`^(/[a-z0-9][a-z0-9-]*|/\{[a-z][A-Za-z0-9]*\})+$`)
	routeParam  = regexp.MustCompile(`\{([^}]*)\}`)
	messageName = regexp.MustCompile(`^API[A-Z][A-Za-z0-9]*Msg$`)
)

// tones are the words for what a value means for its resource.
var tones = []string{"success", "info", "progress", "pending", "stopped", "warning", "error"}

// baseFields are those that every row has; the first two are parameters.
var baseFields = []string{"name", "description", "uuid", "createDate", "lastOpDate", "accountUuid"}

// CheckResourceType returns errs.Invalid, which names every fault, when what a
// declaration says of itself does not fit together. Whether the types exist that
// it refers to is known by the core alone.
func CheckResourceType(d *pluginv1.ResourceTypeDecl) error {
	c := &typeCheck{d: d, fields: map[string]*pluginv1.Field{}}
	c.itself()
	for _, f := range d.Fields {
		c.field(f)
	}
	c.edges()
	c.several()
	c.states()
	c.messages()
	c.foreign()
	for _, t := range d.Tags {
		c.caption("tag "+t.Pattern, t.Caption)
	}
	if len(c.wrong) == 0 {
		return nil
	}
	slices.Sort(c.wrong)
	return errs.New(errs.Invalid, "resource type "+d.Name, "%s", strings.Join(c.wrong, "; ")).WithAdvice("mend the plugin's manifest")
}

// resources checks the plugin's own types, and that there is a provider behind
// those that need one.
func (c *manifestCheck) resources(p Plugin) {
	var need []string
	names := map[string]bool{}
	for _, d := range p.Manifest.ResourceTypes {
		if names[d.Name] {
			c.fail("resource type " + d.Name + " is declared twice")
		}
		names[d.Name] = true
		if err := CheckResourceType(d); err != nil {
			c.fail(err.Error())
		}
		if d.Calls || len(d.Actions) > 0 {
			need = append(need, d.Name)
		}
	}
	switch {
	case len(need) > 0 && p.ResourceProvider == nil:
		c.fail("resource types " + strings.Join(need, ", ") + " call the plugin, which is no resource provider")
	case len(need) == 0 && p.ResourceProvider != nil:
		c.fail("a resource provider is implemented, but no resource type calls it")
	}
}

type typeCheck struct {
	d      *pluginv1.ResourceTypeDecl
	fields map[string]*pluginv1.Field
	wrong  []string
}

func (c *typeCheck) fail(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

func (c *typeCheck) caption(what string, caption *pluginv1.Caption) {
	if caption.GetEn() == "" || caption.GetZh() == "" {
		c.fail("%s has no caption in English and Chinese", what)
	}
}

func (c *typeCheck) oneOf(what, word string, of ...string) {
	if word != "" && !slices.Contains(of, word) {
		c.fail("%s is %q, not one of %s", what, word, strings.Join(of, ", "))
	}
}

func (c *typeCheck) itself() {
	d := c.d
	if !typeName.MatchString(d.Name) {
		c.fail("its name is not letters and digits, the first one a capital")
	}
	messages := d.Create != nil || d.Update != nil || d.Delete != nil || d.States.GetChange() != nil || len(d.Actions) > 0
	if d.Path != "" && !typePath.MatchString(d.Path) || d.Path == "" && messages {
		c.fail("its path %q is not one like /ssh-key-pairs", d.Path)
	}
	if d.QueryMessage != "" && !messageName.MatchString(d.QueryMessage) {
		c.fail("query message %q is not named API…Msg", d.QueryMessage)
	}
	c.caption("it", d.Caption)
	c.oneOf("readable", d.Readable, ReadableOwner, ReadableGlobal, ReadableAdmin)
	if d.Owned && d.OwnedBy != "" {
		c.fail("it is owned, and owned by its %s as well", d.OwnedBy)
	}
	if d.Readable == ReadableOwner && !d.Owned && d.OwnedBy == "" {
		c.fail("its owner reads its rows, but they have none (owned, owned_by)")
	}
	if d.OwnedBy != "" && !slices.ContainsFunc(d.Edges, func(e *pluginv1.EdgeDecl) bool { return e.Name == d.OwnedBy }) {
		c.fail("it is owned by %s, which is no edge", d.OwnedBy)
	}
	for _, column := range d.Columns {
		known := func(f *pluginv1.Field) bool { return f.Name == column && !f.Secret && !f.Hidden }
		if column == "accountUuid" || !slices.Contains(baseFields, column) && !slices.ContainsFunc(d.Fields, known) {
			c.fail("column %s is no field that is shown", column)
		}
	}
}

func (c *typeCheck) field(f *pluginv1.Field) {
	what := "field " + f.Name
	if !fieldName.MatchString(f.Name) {
		c.fail("%s: the name is not letters and digits, the first one small", what)
	}
	if slices.ContainsFunc(baseFields, func(b string) bool { return strings.EqualFold(b, f.Name) }) {
		c.fail("%s: every resource has it, or it is the core's", what)
	}
	if c.fields[strings.ToLower(f.Name)] != nil {
		c.fail("%s is declared twice", what)
	}
	c.fields[strings.ToLower(f.Name)] = f
	c.kind(what, f, "string", "text", "int", "long", "bool", "double", "time")
	switch {
	case f.Secret && (!isText(f) || f.Default != "" || f.Unique || f.Index):
		c.fail("%s: a secret is a text, without default and index", what)
	case (f.Fact || f.Hidden) && (f.Required || f.Default != "" && f.Kind == "time"):
		c.fail("%s: what the plugin fills in is not required", what)
	case (f.Fact || f.Hidden) && !c.d.Calls && len(c.d.Actions) == 0:
		c.fail("%s: the plugin fills it in, but is never called", what)
	}
	if !f.Hidden {
		c.caption(what, f.Caption)
	}
}

// several checks indexes over several fields, and lists of other types' rows.
func (c *typeCheck) several() {
	for _, ix := range c.d.Indexes {
		if len(ix.Columns) < 2 {
			c.fail("an index over one field, %v, is declared with the field", ix.Columns)
		}
		for _, column := range ix.Columns {
			f := c.fields[strings.ToLower(column)]
			if !slices.Contains(baseFields, column) && (f == nil || f.Name != column || f.Secret || f.Kind == "text") {
				c.fail("index over %v: %s is no field that can be indexed", ix.Columns, column)
			}
		}
	}
	for _, e := range c.d.Embeds {
		if !fieldName.MatchString(e.Name) || c.fields[strings.ToLower(e.Name)] != nil || e.Type == "" || e.Column == "" {
			c.fail("embed %s: it needs a name that no field has, a type and its column", e.Name)
		}
	}
}

// kind checks what a field or parameter says of its values.
func (c *typeCheck) kind(what string, f *pluginv1.Field, kinds ...string) {
	c.oneOf(what+": its kind", f.Kind, kinds...)
	m := manifestCheck{}
	if f.Kind != "strings" && f.Kind != KindObjects {
		m.holds(what, f.Kind, f.Holds)
	}
	c.wrong = append(c.wrong, m.wrong...)
	number := f.Kind == "int" || f.Kind == "long"
	if (f.Min != 0 || f.Max != 0) && (!number || f.Min > f.Max) {
		c.fail("%s: bounds are for numbers, the lower one first", what)
	}
	if f.MaxLength < 0 || f.MaxLength > 0 && !isText(f) && f.Kind != "strings" {
		c.fail("%s: a length is for texts", what)
	}
	if len(f.Values) > 0 && !isText(f) && f.Kind != "strings" {
		c.fail("%s: values are for texts", what)
	}
	for _, w := range f.Words {
		if !slices.Contains(f.Values, w.Value) {
			c.fail("%s: it has words for %q, which is none of its values", what, w.Value)
		}
		c.caption(what+": value "+w.Value, w.Caption)
		c.oneOf(what+": value "+w.Value+": its tone", w.Tone, tones...)
	}
	if f.Ref != "" && f.Kind != "" && f.Kind != "string" && f.Kind != "strings" {
		c.fail("%s: what refers to a %s is a string", what, f.Ref)
	}
	if named := strings.TrimSuffix(f.Name, "s"); strings.HasSuffix(named, "Uuid") && f.Ref == "" && !f.Fact && !f.Hidden &&
		!slices.ContainsFunc(c.d.Edges, func(e *pluginv1.EdgeDecl) bool { return e.Column == f.Name }) {
		c.fail("%s: it does not say which type's UUID it is (ref, or an edge)", what)
	}
	if f.Default == "" {
		return
	}
	var err error
	switch f.Kind {
	case "int", "long":
		_, err = strconv.ParseInt(f.Default, 10, 64)
	case "double":
		_, err = strconv.ParseFloat(f.Default, 64)
	case "bool":
		_, err = strconv.ParseBool(f.Default)
	case "time", "strings", KindObjects:
		err = fmt.Errorf("this kind has none")
	}
	if err != nil {
		c.fail("%s: default %q: %v", what, f.Default, err)
	}
}

func isText(f *pluginv1.Field) bool { return f.Kind == "" || f.Kind == "string" || f.Kind == "text" }

func (c *typeCheck) edges() {
	names := map[string]bool{}
	for _, e := range c.d.Edges {
		what := "edge " + e.Name
		if !fieldName.MatchString(e.Name) || names[e.Name] {
			c.fail("%s: the name is not letters and digits, or is there twice", what)
		}
		names[e.Name] = true
		f := c.fields[strings.ToLower(e.Column)]
		switch {
		case f == nil || f.Name != e.Column || f.Kind != "" && f.Kind != "string" || f.Secret:
			c.fail("%s: its column %q is no field of kind string", what, e.Column)
		case f.Ref != "" && f.Ref != e.To:
			c.fail("%s: its column refers to %s, not to %s", what, f.Ref, e.To)
		case e.OnDelete == OnDeleteDetach && f.Required:
			c.fail("%s: its column is required, so it cannot be detached", what)
		}
		if e.To == "" {
			c.fail("%s leads nowhere", what)
		}
		c.oneOf(what+": on_delete", e.OnDelete, OnDeleteCascade, OnDeleteDetach, OnDeleteRestrict, OnDeleteNone)
	}
}

func (c *typeCheck) states() {
	s := c.d.States
	if s == nil {
		return
	}
	f := c.fields[strings.ToLower(s.Column)]
	switch {
	case f == nil || f.Name != s.Column || f.Kind != "" && f.Kind != "string" || f.Secret || f.Hidden:
		c.fail("states: the column %q is no field of kind string that is shown", s.Column)
	case f.Required || f.Immutable:
		c.fail("states: the core fills the column %s in, so it is neither required nor immutable", s.Column)
	}
	if (s.Creating == "") != (s.Ready == "") && s.Ready == "" {
		c.fail("states: creating needs ready")
	}
	if s.Creating != "" && !c.d.Calls {
		c.fail("states: nothing is creating, as the plugin is not called")
	}
	if s.Change != nil && len(s.Moves) == 0 {
		c.fail("states: there is nothing to change to (moves)")
	}
	for _, m := range s.Moves {
		if m.Event == "" || m.From == "" || m.To == "" {
			c.fail("states: a move needs event, from and to")
		}
	}
	for _, w := range s.Words {
		c.caption("state "+w.State, w.Caption)
		c.oneOf("state "+w.State+": its tone", w.Tone, tones...)
	}
}

func (c *typeCheck) messages() {
	message := func(what string, m *pluginv1.ResourceMessage) {
		if m.GetMessage() != "" && !messageName.MatchString(m.Message) {
			c.fail("%s message %q is not named API…Msg", what, m.Message)
		}
		c.oneOf(what+": access", m.GetAccess(), AccessNormal, AccessAdmin)
	}
	message("create", c.d.Create)
	message("update", c.d.Update)
	message("delete", c.d.Delete)
	message("change", c.d.States.GetChange())
	for _, a := range c.d.Actions {
		c.action(a)
	}
}

func (c *typeCheck) action(a *pluginv1.ActionDecl) {
	what := "action " + a.Message
	if !messageName.MatchString(a.Message) {
		c.fail("%s is not named API…Msg", what)
	}
	c.caption(what, a.Caption)
	c.oneOf(what+": on", a.On, ActsOnOne, ActsOnMany, ActsOnType)
	c.oneOf(what+": method", a.Method, "PUT", "POST", "GET", "DELETE")
	c.oneOf(what+": returns as", a.ReturnsAs, ReturnsList, ReturnsOne, ReturnsInventoryList)
	c.oneOf(what+": access", a.Access, AccessNormal, AccessAdmin)
	switch {
	case a.Method == "GET" && a.Returns == "" && len(a.Answers) == 0:
		c.fail("%s: what is asked for by GET returns something", what)
	case len(a.Answers) > 0 && (a.Method != "GET" || a.Returns != ""):
		c.fail("%s: answers are for GET, and for what returns no resources", what)
	case a.On == ActsOnMany && (a.Returns != "" || a.Route != ""):
		c.fail("%s: on many resources it returns those, and its path is /actions", what)
	case a.ReturnsAs != "" && a.Returns == "":
		c.fail("%s: it does not say what it returns", what)
	}
	c.actionParams(what, a)
	c.route(what, a)
}

// route checks the path of an action: it has what the action is on, and otherwise
// parameters of it.
func (c *typeCheck) route(what string, a *pluginv1.ActionDecl) {
	switch {
	case a.Route == "" && a.Path == "" && a.Method != "" && a.Method != "PUT",
		a.Path != "" && (a.Route != "" || !typePath.MatchString(a.Path)):
		c.fail("%s: its path %q is not one like /rotate", what, a.Path)
	case a.Route != "" && !actionRoute.MatchString(a.Route):
		c.fail("%s: its route %q is not one like /groups/{uuid}/members", what, a.Route)
	}
	subject := a.Subject
	if subject == "" {
		subject = "uuid"
	}
	named := a.Route == "" || a.On == ActsOnType
	for _, m := range routeParam.FindAllStringSubmatch(a.Route, -1) {
		is := func(p *pluginv1.Field) bool { return p.Name == m[1] && isText(p) && p.Required }
		switch {
		case m[1] == subject && a.On != ActsOnType:
			named = true
		case !slices.ContainsFunc(a.Params, is):
			c.fail("%s: {%s} of its route is no required parameter of kind string", what, m[1])
		}
	}
	if !named {
		c.fail("%s: its route does not name what it is on, {%s}", what, subject)
	}
}

func (c *typeCheck) actionParams(what string, a *pluginv1.ActionDecl) {
	seen := map[string]bool{"uuid": true, "uuids": true, a.Subject: true}
	if a.On == ActsOnType {
		seen = map[string]bool{}
	}
	kinds := []string{"string", "text", "int", "long", "bool", "double", "time", "strings", KindObjects}
	for _, p := range a.Params {
		c.param(what+": parameter "+p.Name, p, seen, kinds)
		if p.Kind == KindObjects && (a.Method == "GET" || a.Method == "DELETE") {
			c.fail("%s: parameter %s: the query of a URL has no objects", what, p.Name)
		}
	}
	seen = map[string]bool{}
	for _, f := range a.Answers {
		c.param(what+": answer "+f.Name, f, seen, kinds[:len(kinds)-1])
	}
}

func (c *typeCheck) param(what string, p *pluginv1.Field, seen map[string]bool, kinds []string) {
	if !fieldName.MatchString(p.Name) || seen[p.Name] {
		c.fail("%s: the name is not letters and digits, is taken, or is there twice", what)
	}
	seen[p.Name] = true
	c.kind(what, p, kinds...)
	if p.Fact || p.Hidden || p.Unique || p.Index || p.Immutable {
		c.fail("%s: fact, hidden, unique, index and immutable are for fields", what)
	}
	c.oneOf(what+": rights", p.Rights, RightsRead, RightsChange)
	c.caption(what, p.Caption)
	if (p.Kind == KindObjects) != (len(p.Members) > 0) {
		c.fail("%s: members are for objects, which have some", what)
	}
	members := map[string]bool{}
	for _, m := range p.Members {
		c.param(what+": member "+m.Name, m, members, kinds[:len(kinds)-1])
		if m.Default != "" || m.Kind == "time" || m.Rights != "" {
			c.fail("%s: member %s: members have no default, no rights and are no times", what, m.Name)
		}
	}
}
