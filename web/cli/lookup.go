package cli

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/web/cli/catalog"
	"github.com/kumo-cloud/kumo/web/cli/client"
)

var uuidText = regexp.MustCompile(`^[0-9a-fA-F]{32}$`)

// find reads the one object that a name or UUID means. A name that several
// objects have is an error that lists them.
func find(ctx context.Context, c *client.Client, n catalog.Noun, text string) (json.RawMessage, error) {
	object := n.Name + " " + text
	condition := "name=" + text
	if uuidText.MatchString(text) {
		condition = "uuid=" + strings.ToLower(text)
	}
	page, err := c.Query(ctx, n.Path, client.Query{Conditions: []string{condition}, Limit: 10})
	if err != nil {
		return nil, wrap(object, err)
	}
	switch len(page.Inventories) {
	case 0:
		return nil, errs.New(errs.NotFound, object, "there is none").WithAdvice("see kumo %s ls", n.Name)
	case 1:
		return page.Inventories[0], nil
	}
	var uuids []string
	for _, one := range page.Inventories {
		uuids = append(uuids, client.Text(one, "uuid"))
	}
	return nil, errs.New(errs.Invalid, object, "several have this name").WithAdvice("give one of the UUIDs %s", strings.Join(uuids, ", "))
}

// uuidOf returns the UUID that a name or UUID means; a UUID is taken as it is.
func uuidOf(ctx context.Context, c *client.Client, n catalog.Noun, text string) (string, error) {
	if uuidText.MatchString(text) {
		return strings.ToLower(text), nil
	}
	found, err := find(ctx, c, n, text)
	if err != nil {
		return "", err
	}
	return client.Text(found, "uuid"), nil
}

// wrap names the object in an error of the server, and keeps the advice of one
// of our own.
func wrap(object string, err error) error {
	if _, ok := apiError(err); !ok {
		return err
	}
	return errs.Wrap(errs.ClassOf(err), object, err, "")
}

// completeNames offers the names of a noun's objects to the shell. Without an
// answer within 2 s it offers nothing: the person waits for it.
func (a *App) completeNames(n catalog.Noun) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		c, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(contextOf(cmd), 2*time.Second)
		defer cancel()
		page, err := c.Query(ctx, n.Path, client.Query{Conditions: []string{"name~=" + prefix + "%"}, Fields: []string{"name", "uuid"}, Limit: 100})
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []cobra.Completion
		for _, one := range page.Inventories {
			if name := client.Text(one, "name"); name != "" {
				names = append(names, cobra.CompletionWithDesc(name, client.Text(one, "uuid")))
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// contextOf is the command's context; completion runs some commands without.
func contextOf(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}
