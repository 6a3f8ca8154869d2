package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kumo-cloud/kumo/web/cli/client"
	"github.com/kumo-cloud/kumo/web/cli/render"
	"github.com/kumo-cloud/kumo/web/cli/schema"
)

// serverLimit is how many a list has when no limit is asked for.
const serverLimit = 1000

// listing is what the command line said of a list.
type listing struct {
	where, columns []string
	sort           string
	limit, start   int
	count          bool
}

// listFlags gives a command the flags of a list of the type, which is known when
// one of them is completed.
func (a *App) listFlags(c *cobra.Command, t func() *schema.Type, o *listing) {
	f := c.Flags()
	f.SortFlags = false
	f.StringArrayVar(&o.where, "where", nil, "only those of which FIELD=VALUE holds; may be repeated. Operators: = != > >= < <= ?= (in) ~= (like, with %)")
	f.StringVar(&o.sort, "sort", "", "field to sort by, -FIELD for descending")
	f.StringSliceVar(&o.columns, "columns", nil, "only these columns")
	f.IntVar(&o.limit, "limit", 0, fmt.Sprintf(a.words("at most so many (default %d)", "最多若干个（默认 %d）"), serverLimit))
	f.IntVar(&o.start, "start", 0, "leave out so many first")
	f.BoolVar(&o.count, "count", false, "print the number only")
	aliasFlags(f, map[string]string{"fields": "columns", "order": "sort"})
	fields := func(before string) cobra.CompletionFunc {
		return func(_ *cobra.Command, _ []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var out []cobra.Completion
			if t := t(); t != nil {
				for _, f := range t.Fields {
					if name := columnName(t, f.Name); strings.HasPrefix(name, strings.TrimLeft(prefix, "-")) {
						out = append(out, prefix[:len(prefix)-len(strings.TrimLeft(prefix, "-"))]+name+before)
					}
				}
			}
			return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		}
	}
	must(c.RegisterFlagCompletionFunc("columns", listOf(fields(""))))
	must(c.RegisterFlagCompletionFunc("sort", fields("")))
	must(c.RegisterFlagCompletionFunc("where", fields("=")))
}

// list runs a query and prints its page.
func (a *App) list(cmd *cobra.Command, t *schema.Type, o listing) error {
	f, err := a.format()
	if err != nil {
		return err
	}
	q := client.Query{Limit: o.limit, Start: o.start, Count: o.count}
	columns, err := a.columnsOf(t, o.columns, f)
	if err != nil {
		return err
	}
	if q.Sort, err = sortOf(t, o.sort); err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	for _, text := range o.where {
		cond, err := a.condition(cmd.Context(), c, t, text)
		if err != nil {
			return err
		}
		q.Conditions = append(q.Conditions, cond)
	}
	if len(o.columns) > 0 {
		q.Fields = fieldsAsked(t, columns)
	}
	q.Names = !o.count && f.People() && slices.ContainsFunc(columns, func(c column) bool { return c.ref })
	page, err := c.Query(cmd.Context(), t.Path, q)
	if err != nil {
		return wrap(cmd.CommandPath(), err)
	}
	if o.count {
		if f.People() || f == render.Name {
			fmt.Fprintln(a.Out, page.Total)
			return nil
		}
		return render.Raw(a.Out, f, fmt.Appendf(nil, `{"total":%d}`, page.Total))
	}
	if f.People() {
		a.writers(cmd.Context(), c, t, columns, page, false)
	}
	if err := render.List(a.Out, f, plain(columns), t.Label, page.Inventories); err != nil {
		return err
	}
	if o.limit == 0 && len(page.Inventories) == serverLimit {
		a.say("only the first %d; see --limit, --start and --where", serverLimit)
	}
	return nil
}

// fieldsAsked are the fields that the columns need, with those that say of which
// type a reference is; nil when not all are fields of the type itself.
func fieldsAsked(t *schema.Type, columns []column) []string {
	var out []string
	for _, c := range columns {
		f := t.Field(c.Path)
		if f == nil {
			return nil
		}
		for _, name := range []string{f.Name, f.RefBy} {
			if name != "" && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// toldOnce tells whether an answer has members that reading the resource does not
// show: a secret that was made up, and that nobody tells again.
func toldOnce(t *schema.Type, inventory json.RawMessage) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(inventory, &members) != nil {
		return false
	}
	for name := range members {
		if t.Field(name) == nil && t.Embed(name) == nil {
			return true
		}
	}
	return false
}

// printOne prints one object that a call made or changed, as its row of the list,
// or all of it when there is no other time to see it. For a row it is read again,
// for the names of what it refers to.
func (a *App) printOne(ctx context.Context, c *client.Client, f render.Format, t *schema.Type, inventory json.RawMessage) error {
	columns, err := a.columnsOf(t, nil, f)
	if err != nil {
		return err
	}
	if !f.People() {
		return render.One(a.Out, f, nil, t.Label, inventory)
	}
	page := client.Page{Inventories: []json.RawMessage{inventory}}
	if toldOnce(t, inventory) {
		lines := a.linesOf(t)
		a.writers(ctx, c, t, lines, page, true)
		return render.One(a.Out, f, plain(lines), t.Label, inventory)
	}
	if slices.ContainsFunc(columns, func(c column) bool { return c.ref }) {
		again, err := c.Query(ctx, t.Path, client.Query{Conditions: []string{"uuid=" + client.Text(inventory, "uuid")}, Names: true})
		// What was done is done: without names the UUIDs have to do.
		if err == nil && len(again.Inventories) == 1 {
			page = again
		}
	}
	a.writers(ctx, c, t, columns, page, false)
	return render.List(a.Out, f, plain(columns), t.Label, page.Inventories)
}

// queryCommand lists any type, also one without a noun.
func (a *App) queryCommand() *cobra.Command {
	var o listing
	var t *schema.Type
	c := &cobra.Command{
		Use:   "query TYPE [CONDITION...]",
		Short: "Query any resource type, across its relations",
		Long: "Conditions are joined by AND. Operators: = != > >= < <= ?= (in) !?= ~= (like) !~= 'is null' 'not null'.\n" +
			"A field of a related resource is written with dots.",
		Example: "  kumo query VmInstance 'vmNics.ip=172.30.0.10'\n" +
			"  kumo query VmInstance state=Running 'host.managementIp~=10.%' --columns name,uuid --sort -createDate --limit 20\n" +
			"  kumo query Image --count",
		Args: func(cmd *cobra.Command, args []string) error {
			return a.exactly(a.words("type", "类型"), 1)(cmd, args[:min(len(args), 1)])
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if a.doc == nil || len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return a.queried(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.doc == nil {
				return a.docErr
			}
			if t = a.doc.ByNoun(args[0]); t == nil || t.Path == "" {
				return a.unknown("type", args[0], a.queried(), cmd.CommandPath())
			}
			o.where = append(o.where, args[1:]...)
			return a.list(cmd, t, o)
		},
	}
	a.listFlags(c, func() *schema.Type { return t }, &o)
	return c
}

// queried names the types that can be queried.
func (a *App) queried() []string {
	var out []string
	for name, t := range a.doc.Types {
		if t.Path != "" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// listOf completes the last of some values with commas between them.
func listOf(one cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		at := strings.LastIndexByte(prefix, ',') + 1
		found, directive := one(cmd, args, prefix[at:])
		for i := range found {
			found[i] = prefix[:at] + found[i]
		}
		return found, directive
	}
}
