package query

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kumo-cloud/kumo/core/resource"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

// condition adds one condition.
func (c *compiler) condition(s scope, cond Condition) error {
	if err := checkPath(cond.Name); err != nil {
		return err
	}
	defer c.close()
	names := strings.Split(cond.Name, ".")
	last := names[len(names)-1]
	s, err := c.walk(s, names[:len(names)-1], 0)
	if err != nil {
		return err
	}
	if strings.HasPrefix(last, "__") {
		return c.tag(s, last, cond)
	}
	col, err := c.field(s, last)
	if err != nil {
		return err
	}
	text, err := c.compare(col, cond.Op, cond.Value)
	if err != nil {
		return err
	}
	c.where = append(c.where, text)
	return nil
}

// compare writes a comparison and appends its bound values.
func (c *compiler) compare(col column, op Op, value string) (string, error) {
	switch op {
	case IsNull:
		return col.String() + " IS NULL", nil
	case NotNull:
		return col.String() + " IS NOT NULL", nil
	case In, NotIn:
		return c.list(col, op, value)
	case Like, NotLike:
		return c.like(col, op, value)
	case Ne, Ge, Le, Eq, Gt, Lt:
		v, err := typed(col.field, value)
		if err != nil {
			return "", err
		}
		return c.relation(col, op, v), nil
	}
	return "", invalid("operator %s is unknown", clip(string(op)))
}

func (c *compiler) list(col column, op Op, value string) (string, error) {
	texts := strings.Split(value, ",")
	if c.values += len(texts); c.values > MaxValues {
		return "", invalid("the lists have more than %d values", MaxValues)
	}
	values := make([]any, len(texts))
	for i, text := range texts {
		var err error
		if values[i], err = typed(col.field, text); err != nil {
			return "", err
		}
	}
	return c.relation(col, op, values), nil
}

// relation writes a comparison with a value, or a list of values for In and
// NotIn.
func (c *compiler) relation(col column, op Op, value any) string {
	sign := map[Op]string{Eq: " = ?", Ne: " <> ?", Ge: " >= ?", Le: " <= ?", Gt: " > ?", Lt: " < ?", In: " IN (?)", NotIn: " NOT IN (?)"}[op]
	text := c.comparable(col)
	also := ""
	if text != col.String() {
		if (op == Eq || op == In) && (col.field.Index || col.field.Unique) && col.field.Name != "name" && ascii(value) {
			also = col.String() + sign + " AND " // finds by the index what may be the same: addresses, words of programs
			c.args = append(c.args, value)
		}
		value = folded(value)
	}
	c.args = append(c.args, value)
	return also + text + sign
}

// comparable is what a column compares and sorts by. MySQL has no collation that
// compares letters as SQLite does here (sql.Fold).
func (c *compiler) comparable(col column) string {
	f := col.field
	switch {
	case c.dialect != schemasql.MySQL, f.Kind != resource.String && f.Kind != resource.Text, f.IsUUID():
		return col.String()
	case f.Name == "name" && (f.Index || f.Unique):
		return col.alias + ".`" + c.dialect.FoldedName() + "`"
	}
	return c.foldedText(col.String())
}

// ascii tells whether a value, or each of a list, is text in ASCII.
func ascii(value any) bool {
	switch v := value.(type) {
	case string:
		return strings.IndexFunc(v, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
	case []any:
		return !slices.ContainsFunc(v, func(v any) bool { return !ascii(v) })
	}
	return false
}

// folded makes of a value, or a list of values, what is compared.
func folded(value any) any {
	switch v := value.(type) {
	case string:
		return schemasql.Fold(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = folded(v[i])
		}
		return out
	}
	return value
}

func (c *compiler) like(col column, op Op, value string) (string, error) {
	if col.field.Kind == resource.Bool || col.field.Kind == resource.TimeKind {
		return "", invalid("%s holds no text that %s could compare", col.field.Name, op)
	}
	if col.field.IsUUID() {
		value = strings.ToLower(value)
	}
	value = spelled(col.field, value)
	not := ""
	if op == NotLike {
		not = "NOT "
	}
	if c.dialect == schemasql.MySQL {
		c.args = append(c.args, schemasql.Fold(value))
		return c.comparable(col) + " " + not + "LIKE ?", nil
	}
	within := ""
	prefix := value[:max(strings.IndexAny(value, "%_\\"), 0)]
	if after := schemasql.After(prefix); op == Like && col.field.Index && !col.field.IsUUID() && after != "" {
		within = fmt.Sprintf("%s >= ? AND %[1]s < ? AND ", col) // by the index, which a function cannot use
		c.args = append(c.args, prefix, after)
	}
	c.args = append(c.args, value)
	return within + col.String() + " " + not + "LIKE ? ESCAPE '\\'", nil // MySQL's default
}

// anywhere finds the type and the column that a name means in queries of every
// type (resource.Type.Anywhere).
func (c *compiler) anywhere(name string) (*resource.Type, *resource.Field) {
	for _, t := range c.reg.All() {
		if column, ok := t.Anywhere[name]; ok {
			f, _ := t.Field(column)
			return t, f
		}
	}
	return nil, nil
}

// tag compares the rows that follow s, such as its tags. Negative operators ask
// that there is none for which the positive one holds.
func (c *compiler) tag(s scope, name string, cond Condition) error {
	table, f := c.anywhere(name)
	if f == nil {
		return unknownField(s.typ, name)
	}
	if err := c.enter(table); err != nil {
		return err
	}
	if !cond.Op.negative() {
		next, err := c.joinVisible(table, table.Follows, s.alias+".`uuid`", false)
		if err != nil {
			return err
		}
		text, err := c.compare(column{next.alias, f}, cond.Op, cond.Value)
		c.where = append(c.where, text)
		return err
	}
	text, err := c.compare(column{"x", f}, cond.Op.opposite(), cond.Value)
	if visible, args := c.visible(table, "x"); visible != "" {
		text += " AND " + visible
		c.args = append(c.args, args...)
	}
	c.where = append(c.where, "NOT EXISTS (SELECT 1 FROM `"+table.Name+"` x WHERE x.`"+table.Follows+"` = "+s.alias+".`uuid` AND "+text+")")
	return err
}

// statement is a query ready to run.
type statement struct {
	from  string // FROM with joins and WHERE
	args  []any
	order string // ORDER BY, or ""
	// walk is FROM with the index of the sorted column, when the order can
	// come from that and the conditions need no other table.
	walk string
	sort string // the sorted column, or ""
	desc bool   // the sorted column falls
	many bool   // a row may occur several times
}

// build compiles the conditions, the caller's rights and the order.
func (e *Engine) build(t *resource.Type, q Query, sc Scope) (statement, error) {
	if len(q.Conditions) > MaxConditions {
		return statement{}, invalid("%d conditions are more than %d", len(q.Conditions), MaxConditions)
	}
	c := &compiler{reg: e.reg, dialect: e.store.Dialect(), foldedText: e.store.Folded, caller: sc, shared: map[string]scope{}}
	root, err := c.root(t)
	if err != nil {
		return statement{}, err
	}
	for _, cond := range q.Conditions {
		if err := c.condition(root, cond); err != nil {
			return statement{}, err
		}
	}
	if visible, args := c.visible(root.table, root.alias); visible != "" {
		c.where = append(c.where, visible)
		c.args = append(c.args, args...)
	}
	st := statement{}
	if q.Sort != "" && !q.Count {
		if err := c.order(root, q, &st); err != nil {
			return statement{}, err
		}
	}
	where := ""
	if len(c.where) > 0 {
		where = " WHERE " + strings.Join(c.where, " AND ")
	}
	from := " FROM `" + root.table.Name + "` t0"
	st.from, st.args, st.many = from+strings.Join(c.joins, "")+where, append(c.joinArgs, c.args...), c.many
	if f, ok := root.table.Field(q.Sort); ok && f.Index && c.dialect == schemasql.SQLite && len(c.joins) == 0 && where != "" {
		st.walk = from + " INDEXED BY `" + schemasql.IndexName(root.table.Name, []string{f.Name}, false) + "`" + where
	}
	return st, nil
}

// order adds the sorted column. Its joins are outer ones: sorting must not
// take rows away. The uuid makes the order of equal rows the same on each page.
func (c *compiler) order(root scope, q Query, st *statement) error {
	before, many := len(c.joins), c.many
	col, err := c.field(root, q.Sort)
	if err != nil {
		return err
	}
	if len(c.outer) > 0 || c.many && !many {
		return invalid("a list such as %s cannot be sorted by", clip(q.Sort))
	}
	for i := before; i < len(c.joins); i++ {
		c.joins[i] = " LEFT" + c.joins[i]
	}
	dir := ""
	if q.Desc {
		dir = " DESC"
	}
	st.sort, st.desc = c.comparable(col), q.Desc
	st.order = " ORDER BY " + st.sort + dir
	if q.Sort != "uuid" {
		st.order += ", t0.`uuid`" + dir
	}
	return nil
}
