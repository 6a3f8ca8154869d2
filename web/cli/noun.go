package cli

import (
	"cmp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/web/cli/client"
	"github.com/kumo-cloud/kumo/web/cli/render"
	"github.com/kumo-cloud/kumo/web/cli/schema"
)

// addNouns makes one command for each noun of the schema, under its group. Those
// that the line does not name get no verbs, which nobody would see: sixty nouns
// with all their flags take longer than the rest of the program.
func (a *App) addNouns(root *cobra.Command, line commandLine) {
	if a.doc == nil {
		if a.docErr != nil {
			root.Long += "\n\nThe nouns of the cloud are not known yet: " + a.OneLine(a.docErr)
		}
		return
	}
	lang := a.language()
	for _, t := range a.doc.Nouns() {
		named := slices.ContainsFunc(line.words, t.Answers)
		if c := commandOf(root, t.Noun); c != nil {
			if named {
				a.addVerbs(c, t, line)
			}
			continue
		}
		c := &cobra.Command{
			Use: t.Noun, Aliases: t.Words(), GroupID: a.group(root, t), Hidden: t.Part,
			Short: render.Safe(t.Plural(lang)),
			Args:  a.noSuchVerb,
			RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		}
		root.AddCommand(c)
		if named {
			c.Long = render.Safe(cmp.Or(t.Doc.In(lang), t.Plural(lang)))
			a.addVerbs(c, t, line)
		}
	}
}

// group is the heading of a type's noun; it is added with its first noun.
func (a *App) group(root *cobra.Command, t *schema.Type) string {
	heading := a.words("Other", "其他")
	for _, g := range a.doc.Groups {
		if g.Name == t.Group {
			heading = cmp.Or(g.Caption.In(a.language()), schema.Spaced(g.Name))
		}
	}
	id := "of the cloud: " + heading
	if !t.Part && !root.ContainsGroup(id) {
		root.AddGroup(&cobra.Group{ID: id, Title: render.Safe(heading) + a.words(":", "：")})
	}
	if t.Part {
		return ""
	}
	return id
}

// words chooses between a text in English and one in Chinese.
func (a *App) words(en, zh string) string {
	if a.language() == "zh" {
		return zh
	}
	return en
}

// commandOf finds a command of ours that has the noun's name: both have verbs.
func commandOf(root *cobra.Command, noun string) *cobra.Command {
	for _, c := range root.Commands() {
		if c.Name() == noun && c.GroupID == "cloud" {
			return c
		}
	}
	return nil
}

func (a *App) addVerbs(c *cobra.Command, t *schema.Type, line commandLine) {
	c.Example = "  kumo " + t.Noun + " ls\n  kumo " + t.Noun + " show NAME"
	c.AddCommand(a.listCommand(t), a.showCommand(t))
	for _, v := range a.doc.Verbs(t) {
		run := a.runVerb
		if v.Uploads {
			run = a.runUpload
		}
		verb := a.verbCommand(t, v, run)
		// Other words for the verb are accepted, and not listed.
		for _, alias := range v.Aliases {
			if slices.Contains(line.words, alias) {
				verb.Aliases = append(verb.Aliases, alias)
			}
		}
		c.AddCommand(verb)
	}
}

func (a *App) listCommand(t *schema.Type) *cobra.Command {
	var o listing
	c := &cobra.Command{
		Use: "ls [CONDITION...]", Aliases: []string{"list"},
		Short:   render.Safe(a.words("List "+t.Plural("en"), "列出"+t.Plural("zh"))),
		Example: "  kumo " + t.Noun + " ls --where '" + t.Label + "~=web%' --limit 20" + exampleColumns(t),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.where = append(o.where, args...)
			return a.list(cmd, t, o)
		},
	}
	a.listFlags(c, func() *schema.Type { return t }, &o)
	return c
}

func exampleColumns(t *schema.Type) string {
	var names []string
	for _, c := range t.Columns {
		if c.Shown() && len(names) < 3 {
			names = append(names, columnName(t, c.Field))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " --columns " + strings.Join(names, ",")
}

func (a *App) showCommand(t *schema.Type) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME|UUID", Aliases: []string{"get"},
		Short:             render.Safe(a.words("Show one of the "+t.Plural("en"), "查看一个"+t.Title("zh"))),
		Example:           "  kumo " + t.Noun + " show " + t.Noun + "-1 -o yaml",
		Args:              a.exactly(a.words("name or UUID of the "+t.Noun, t.Noun+" 的名称或 UUID"), 1),
		ValidArgsFunction: a.completeNames(t),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := a.format()
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			uuid, err := uuidOf(cmd.Context(), c, t, args[0])
			if err != nil {
				return err
			}
			page, err := c.Query(cmd.Context(), t.Path, client.Query{Conditions: []string{"uuid=" + uuid}, Names: f.People()})
			if err != nil {
				return wrap(t.Noun+" "+args[0], err)
			}
			if len(page.Inventories) == 0 {
				return near(cmd.Context(), c, t, args[0])
			}
			columns := a.linesOf(t)
			a.writers(cmd.Context(), c, t, columns, page, true)
			return render.One(a.Out, f, plain(columns), t.Label, page.Inventories[0])
		},
	}
}

// exactly wants so many arguments, and says which when there are others.
func (a *App) exactly(what string, count int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < count:
			return a.seeHelp(errs.New(errs.Invalid, cmd.CommandPath(), a.words("%s is missing", "缺少 %s"), what), cmd.CommandPath())
		case len(args) > count:
			return a.seeHelp(errs.New(errs.Invalid, cmd.CommandPath(), a.words("%q is one argument too many", "多了参数 %q"), args[count]), cmd.CommandPath())
		}
		return nil
	}
}
