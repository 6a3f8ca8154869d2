package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/web/cli/catalog"
	"github.com/kumo-cloud/kumo/web/cli/client"
	"github.com/kumo-cloud/kumo/web/cli/render"
)

// nounCommands makes one command for each noun of the catalogue.
func (a *App) nounCommands() []*cobra.Command {
	var out []*cobra.Command
	for _, n := range catalog.Nouns {
		c := &cobra.Command{
			Use: n.Name, Aliases: n.Aliases,
			Short: "Work with " + n.Plural,
			Args:  noSuchVerb,
			RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		}
		c.AddCommand(a.listCommand(n), a.getCommand(n))
		for _, v := range n.Verbs {
			run := a.runVerb
			if v.Uploads {
				run = a.runUpload
			}
			c.AddCommand(a.verbCommand(n, v, run))
		}
		out = append(out, c)
	}
	return out
}

// noSuchVerb refuses a word that is no verb of the noun; cobra itself would
// print help and succeed.
func noSuchVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var verbs []string
	for _, c := range cmd.Commands() {
		verbs = append(verbs, c.Name())
	}
	return errs.New(errs.Invalid, cmd.CommandPath()+" "+args[0], "no such verb").WithAdvice("there are %s", strings.Join(verbs, ", "))
}

func (a *App) listCommand(n catalog.Noun) *cobra.Command {
	var q client.Query
	c := &cobra.Command{
		Use: "ls [CONDITION...]", Aliases: []string{"list"},
		Short:   "List " + n.Plural,
		Example: "  kumo " + n.Name + " ls 'name~=web%'",
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Conditions = args
			return a.query(cmd, n.Path, columnsOf(n), q)
		},
	}
	queryFlags(c, &q)
	return c
}

// queryFlags are those of every command that lists.
func queryFlags(c *cobra.Command, q *client.Query) {
	c.Flags().StringSliceVar(&q.Fields, "fields", nil, "only these fields")
	c.Flags().StringVar(&q.Sort, "sort", "", "field to sort by, -FIELD for descending")
	c.Flags().IntVar(&q.Limit, "limit", 0, "at most so many (the server's default is 1000)")
	c.Flags().IntVar(&q.Start, "start", 0, "leave out so many first")
	c.Flags().BoolVar(&q.Count, "count", false, "print the number only")
}

func columnsOf(n catalog.Noun) []render.Column {
	var out []render.Column
	for _, c := range n.Columns {
		out = append(out, render.Column(c))
	}
	return out
}

func (a *App) getCommand(n catalog.Noun) *cobra.Command {
	return &cobra.Command{
		Use: "get NAME|UUID", Aliases: []string{"show"},
		Short:             "Show one of the " + n.Plural,
		Args:              exactly("name or UUID of the "+n.Name, 1),
		ValidArgsFunction: a.completeNames(n),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := a.format()
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			found, err := find(cmd.Context(), c, n, args[0])
			if err != nil {
				return err
			}
			return render.One(a.Out, f, found)
		},
	}
}

// exactly wants so many arguments, and says which when there are others.
func exactly(what string, count int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < count:
			return errs.New(errs.Invalid, cmd.CommandPath(), "%s is missing", what).WithAdvice("see %s --help", cmd.CommandPath())
		case len(args) > count:
			return errs.New(errs.Invalid, cmd.CommandPath(), "%q is one argument too many", args[count]).WithAdvice("see %s --help", cmd.CommandPath())
		}
		return nil
	}
}
