package cli

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/web/cli/client"
	"github.com/kumo-cloud/kumo/web/cli/schema"
)

var (
	uuidText = regexp.MustCompile(`^[0-9a-fA-F]{32}$`)
	// uuidBegin is the beginning of a UUID that is long enough to be meant.
	uuidBegin = regexp.MustCompile(`^[0-9a-fA-F]{4,31}$`)
)

const (
	// candidates is how many objects of one name are listed.
	candidates = 10
	// neighbours is how many names are looked through for the one that was meant.
	neighbours = 500
)

// uuidOf returns the UUID that a name, a UUID or the beginning of a UUID means.
// A whole UUID is taken as it is. What several have is an error that lists them.
func uuidOf(ctx context.Context, c *client.Client, t *schema.Type, text string) (string, error) {
	if uuidText.MatchString(text) {
		return strings.ToLower(text), nil
	}
	conditions := []string{labelOf(t) + "=" + text}
	if uuidBegin.MatchString(text) {
		conditions = append(conditions, "uuid~="+strings.ToLower(text)+"%")
	}
	for _, cond := range conditions {
		page, err := c.Query(ctx, t.Path, client.Query{Conditions: []string{cond}, Limit: candidates})
		if err != nil {
			return "", wrap(t.Noun+" "+text, err)
		}
		switch len(page.Inventories) {
		case 0:
			continue
		case 1:
			return client.Text(page.Inventories[0], "uuid"), nil
		}
		return "", several(t, text, page.Inventories)
	}
	return "", near(ctx, c, t, text)
}

// uuidsOf is uuidOf for several; their names are read by one query.
func uuidsOf(ctx context.Context, c *client.Client, t *schema.Type, texts []string) ([]string, error) {
	known, names := map[string][]string{}, []string{}
	for _, text := range texts {
		if !uuidText.MatchString(text) && !strings.Contains(text, ",") {
			names = append(names, text)
		}
	}
	if label := labelOf(t); len(names) > 1 && t.Field(label) != nil {
		page, err := c.Query(ctx, t.Path, client.Query{Conditions: []string{label + "?=" + strings.Join(names, ",")}, Fields: []string{"uuid", label}})
		if err != nil {
			return nil, wrap(t.Noun+" "+strings.Join(names, ", "), err)
		}
		for _, one := range page.Inventories {
			name := client.Text(one, label)
			known[name] = append(known[name], client.Text(one, "uuid"))
		}
	}
	out := make([]string, len(texts))
	for i, text := range texts {
		if found := known[text]; len(found) == 1 {
			out[i] = found[0]
			continue
		}
		uuid, err := uuidOf(ctx, c, t, text) // a UUID, its beginning, or an error
		if err != nil {
			return nil, err
		}
		out[i] = uuid
	}
	return out, nil
}

// labelOf is the field by which people call one of the type.
func labelOf(t *schema.Type) string {
	if t.Label == "" {
		return "name"
	}
	return t.Label
}

// near says that there is none of the name, and which one has nearly this name.
func near(ctx context.Context, c *client.Client, t *schema.Type, text string) error {
	err := errs.New(errs.NotFound, t.Noun+" "+text, "there is none")
	label := labelOf(t)
	if t.Field(label) != nil {
		page, asked := c.Query(ctx, t.Path, client.Query{Fields: []string{label}, Limit: neighbours})
		if asked == nil { // without an answer there is no advice of this kind
			var names []string
			for _, one := range page.Inventories {
				names = append(names, client.Text(one, label))
			}
			if name := schema.Nearest(text, names); name != "" {
				return err.WithAdvice("did you mean %s?", name)
			}
		}
	}
	return err.WithAdvice("see kumo %s ls", t.Noun)
}

// several lists what a word could mean, with what tells them apart.
func several(t *schema.Type, text string, found []json.RawMessage) error {
	var list []string
	for _, one := range found {
		entry := client.Text(one, "uuid")
		fields := slices.Clone(t.Context)
		if len(t.States) > 0 {
			fields = append(fields, t.States[0].Field)
		}
		fields = append(fields, "createDate")
		var more []string
		for _, f := range fields {
			if v := client.Text(one, f); v != "" {
				more = append(more, v)
			}
		}
		if name := client.Text(one, labelOf(t)); name != "" && name != text {
			more = append([]string{name}, more...)
		}
		if len(more) > 0 {
			entry += " (" + strings.Join(more, ", ") + ")"
		}
		list = append(list, entry)
	}
	return errs.New(errs.Invalid, t.Noun+" "+text, "several are called so").WithAdvice("give one of the UUIDs %s", strings.Join(list, ", "))
}

// wrap names the object in an error of the server, and keeps the advice of one
// of our own.
func wrap(object string, err error) error {
	if _, ok := apiError(err); !ok {
		return err
	}
	return errs.Wrap(errs.ClassOf(err), object, err, "")
}
