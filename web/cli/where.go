package cli

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/web/cli/client"
	"github.com/kumo-cloud/kumo/web/cli/schema"
)

// conditionText splits a condition into field, operator and value, in the grammar
// of the API's queries.
var conditionText = regexp.MustCompile(`^\s*([A-Za-z0-9_.-]+)\s*(!\?=|!~=|\?=|~=|!=|>=|<=|=|>|<|\s(?:is null|not null)$)(.*)$`)

// condition writes a condition of the command line as the server reads it: field
// names as people write them, sizes in bytes, and references by name: host=h1 is
// hostUuid=UUID. What cannot be read here is left to the server.
func (a *App) condition(ctx context.Context, c *client.Client, t *schema.Type, text string) (string, error) {
	m := conditionText.FindStringSubmatch(text)
	if m == nil {
		return "", errs.New(errs.Invalid, "condition "+text, "not of the form FIELD=VALUE").WithAdvice("write it like --where state=Running or --where 'name~=web%%'")
	}
	name, operator, value := m[1], m[2], strings.TrimSpace(m[3])
	if strings.Contains(name, ".") || strings.HasPrefix(name, "__") {
		return text, nil
	}
	field, err := fieldOf(t, name)
	if err != nil {
		return "", err
	}
	f := t.Field(field)
	if f == nil || value == "" {
		return field + operator + value, nil
	}
	ref := a.doc.ItemRef(f)
	many := strings.HasSuffix(operator, "?=")
	switch {
	case ref != nil && ref.Path != "" && (many || operator == "=" || operator == "!="):
		texts := []string{value}
		if many {
			texts = strings.Split(value, ",")
		}
		uuids, err := uuidsOf(ctx, c, ref, texts)
		if err != nil {
			return "", err
		}
		value = strings.Join(uuids, ",")
	case f.Unit != "" && !many && !strings.HasSuffix(operator, "~="):
		if value, err = unitText(f, value); err != nil {
			return "", errs.Wrap(errs.Invalid, "condition "+text, err, "")
		}
	case !strings.HasSuffix(operator, "~=") && !many:
		value = rightCase(a.doc.Values(f), value)
	}
	return field + operator + value, nil
}

// fieldOf finds the field that a word means: the field itself in any spelling, or
// a reference without its Uuid. A path is taken as it is.
func fieldOf(t *schema.Type, word string) (string, error) {
	if strings.Contains(word, ".") {
		return word, nil
	}
	var known []string
	flat := func(s string) string { return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s)) }
	names := []string{}
	for _, f := range t.Fields {
		names = append(names, f.Name)
	}
	for _, c := range t.Columns {
		names = append(names, c.Field)
	}
	for _, name := range names {
		if flat(name) == flat(word) {
			return name, nil
		}
	}
	for _, name := range names {
		if short := columnName(t, name); flat(short) == flat(word) || strings.HasSuffix(name, "."+word) {
			return name, nil
		}
		known = append(known, name)
	}
	for _, name := range names { // a field that the column's heading names
		var title schema.Caption
		if f := t.Field(name); f != nil {
			title = f.Caption
		} else if e := t.Embed(name); e != nil {
			title = e.Caption
		}
		if title["en"] != "" && flat(strings.ReplaceAll(title["en"], " ", "")) == flat(word) {
			return name, nil
		}
	}
	for _, e := range t.Edges { // an edge alone means the name of what is there
		if flat(e.Name) == flat(word) {
			return e.Name + ".name", nil
		}
	}
	slices.Sort(known)
	known = slices.Compact(known)
	err := errs.New(errs.Invalid, t.Noun, "unknown field %s", word)
	if near := schema.Nearest(word, known); near != "" {
		return "", unknownWord{err.WithAdvice("did you mean %s?", columnName(t, near))}
	}
	return "", unknownWord{err.WithAdvice("there are %s", strings.Join(known, ", "))}
}

// sortOf finds the field to sort by, with its sign.
func sortOf(t *schema.Type, text string) (string, error) {
	word := strings.TrimLeft(text, "+-")
	if word == "" {
		return "", nil
	}
	field, err := fieldOf(t, word)
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(text, "-") {
		return "-" + field, nil
	}
	return field, nil
}
