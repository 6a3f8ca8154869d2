package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kumo-cloud/kumo/web/cli/client"
	"github.com/kumo-cloud/kumo/web/cli/render"
	"github.com/kumo-cloud/kumo/web/cli/schema"
)

const (
	// completeTime bounds completion: the person waits for it.
	completeTime = time.Second
	// completeMany is more than fits a screen.
	completeMany = 100
)

// completeNames offers the names of a type's objects to the shell, with what they
// are beside them. Without an answer within a second it offers nothing.
func (a *App) completeNames(t *schema.Type) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		c, err := a.client()
		if err != nil || t.Path == "" {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(contextOf(cmd), completeTime)
		defer cancel()
		label := labelOf(t)
		q := client.Query{Limit: completeMany}
		if prefix != "" {
			q.Conditions = []string{label + "~=" + prefix + "%"}
		}
		state := ""
		if len(t.States) > 0 {
			state = t.States[0].Field
		}
		if t.Field(label) != nil {
			q.Fields = []string{"uuid", label}
			if state != "" {
				q.Fields = append(q.Fields, state)
			}
		}
		page, err := c.Query(ctx, t.Path, q)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []cobra.Completion
		for _, one := range page.Inventories {
			value, err := render.Decode(one)
			if err != nil {
				continue
			}
			name, ok := render.Lookup(value, label).(string)
			// A name that a terminal would act on is not put on its line.
			if !ok || name == "" || render.Safe(name) != name || slices.Contains(given, name) {
				continue
			}
			about := client.Text(one, "uuid")
			if state != "" {
				about = strings.TrimSpace(client.Text(one, state) + " " + about)
			}
			names = append(names, cobra.CompletionWithDesc(name, render.Safe(about)))
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
