package cli

import (
	"cmp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/web/cli/render"
	"github.com/kumo-cloud/kumo/web/cli/schema"
)

// input is what a verb takes from the command line.
type input struct {
	app  *App
	noun *schema.Type
	verb *schema.Verb
	// flags are those of all kinds, name is the one that may stand without a
	// flag, nil for none.
	flagList []*schema.Flag
	name     *schema.Flag
	// objects: the arguments are names or UUIDs.
	objects bool
}

func (a *App) input(t *schema.Type, v *schema.Verb) *input {
	in := &input{app: a, noun: t, verb: v, objects: v.Subject != ""}
	skip := []string{"systemTags", "userTags"}
	if in.objects {
		skip = append(skip, v.Subject)
	}
	for name := range v.Fixed {
		skip = append(skip, name)
	}
	if p := v.First().FileParam(); v.Uploads && p != nil {
		skip = append(skip, p.Name)
	}
	var tags []schema.Tag
	if v.Creates {
		tags = t.Tags
	}
	in.flagList = a.doc.Flags(v.Actions, tags, skip...)
	slices.SortStableFunc(in.flagList, func(x, y *schema.Flag) int { return cmp.Compare(rank(x), rank(y)) })
	for _, f := range in.flagList {
		if v.Creates && !v.Uploads && f.Param.Name == labelOf(t) && f.Kind != "list" {
			in.name = f
		}
	}
	return in
}

// rank puts what is required first and what few need last.
func rank(f *schema.Flag) int {
	switch {
	case f.Tag != nil:
		return 2
	case f.Required:
		return 0
	case f.Advanced:
		return 2
	}
	return 1
}

func (in *input) use() string {
	switch {
	case in.verb.Uploads:
		return " FILE"
	case in.objects:
		return " NAME|UUID..."
	case in.name != nil && !in.name.Required:
		return " [" + strings.ToUpper(in.name.Name) + "]"
	case in.name != nil:
		return " " + strings.ToUpper(in.name.Name)
	}
	return ""
}

// args checks the number of arguments; which are missing is said with the flags.
func (in *input) args(cmd *cobra.Command, args []string) error {
	most := 0
	switch {
	case in.objects && len(args) == 0:
		return errs.New(errs.Invalid, cmd.CommandPath(), in.app.words("name or UUID of the %s is missing", "缺少 %s 的名称或 UUID"), in.noun.Noun).WithAdvice(in.app.words("for example: %s", "例如：%s"), in.example())
	case in.objects:
		return nil
	case in.verb.Uploads && len(args) == 0:
		return errs.New(errs.Invalid, cmd.CommandPath(), "%s", in.app.words("file is missing", "缺少文件")).WithAdvice(in.app.words("for example: %s", "例如：%s"), in.example())
	case in.name != nil || in.verb.Uploads:
		most = 1
	}
	if len(args) > most {
		return errs.New(errs.Invalid, cmd.CommandPath(), "%q is one argument too many", args[most]).WithAdvice("for example: %s", in.example())
	}
	return nil
}

// exampleRefs is how many references an example of a create has, unless it needs
// more.
const exampleRefs = 3

// example is a command line that is complete.
func (in *input) example() string {
	line := "kumo " + in.noun.Noun + " " + in.verb.Name
	switch {
	case in.verb.Uploads:
		line += " disk.qcow2"
	case in.objects || in.name != nil && in.name.Required:
		line += " " + in.noun.Noun + "-1"
	}
	refs := 0
	for _, f := range in.flagList {
		// Of several kinds the first is shown.
		if f == in.name || f.Tag != nil || in.verb.First().Param(f.Param.Name) == nil {
			continue
		}
		// What is made seldom does without the first things that it may refer to.
		usual := in.verb.Creates && f.Ref != nil && !f.Advanced && refs < exampleRefs
		if f.Required && f.DefaultText() == "" || usual {
			line += " --" + f.Name + " " + in.app.sample(f)
			if f.Ref != nil {
				refs++
			}
		}
	}
	return render.Safe(line)
}

// flags gives the command a flag for each parameter. The function returned reads
// them after parsing: which message is meant, and with which parameters.
func (in *input) flags(c *cobra.Command) func(args []string) (*schema.Action, params, []string, error) {
	f := c.Flags()
	f.SortFlags = false
	kind := ""
	if kinds := in.verb.Kinds(); kinds != nil {
		f.StringVar(&kind, "kind", "", in.app.words("one of ", "以下之一：")+strings.Join(kinds, ", ")+in.app.words("; without it the one that has the parameters given", "；不给时按参数判断"))
		must(c.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(kinds, cobra.ShellCompDirectiveNoFileComp)))
	}
	other := map[string]string{}
	for _, flag := range in.flagList {
		if f.Lookup(flag.Name) != nil {
			continue
		}
		in.app.addFlag(c, flag)
		for _, alias := range flag.Aliases {
			other[alias] = flag.Name
		}
	}
	var extra, systemTags, userTags []string
	f.StringArrayVar(&extra, "set", nil, "any other parameter of the API, as name=value; the value may be JSON")
	f.StringArrayVar(&systemTags, "system-tag", nil, "system tag, which changes behaviour; may be repeated")
	if in.verb.Creates {
		f.StringArrayVar(&userTags, "user-tag", nil, "tag of your own; may be repeated")
	}
	aliasFlags(f, other)
	return func(args []string) (*schema.Action, params, []string, error) {
		out := params{app: in.app, values: map[string]any{}, systemTags: slices.Clone(systemTags), userTags: userTags}
		if err := out.set(extra); err != nil {
			return nil, out, nil, err
		}
		if in.name != nil && len(args) == 1 {
			if f.Changed(in.name.Name) {
				return nil, out, nil, errs.New(errs.Invalid, "--"+in.name.Name, "is given twice, with %s", args[0])
			}
			out.values[in.name.Param.Name] = args[0]
		}
		action, err := in.choose(kind, f, out.values)
		if err != nil {
			return nil, out, nil, err
		}
		if err := out.read(f, in, action); err != nil {
			return nil, out, nil, err
		}
		return action, out, args, nil
	}
}

// aliasFlags lets flags be called by other names, which help does not show.
func aliasFlags(f *pflag.FlagSet, other map[string]string) {
	f.SetNormalizeFunc(func(f *pflag.FlagSet, name string) pflag.NormalizedName {
		if to, ok := other[name]; ok {
			return pflag.NormalizedName(to)
		}
		if to, ok := other[strings.ToLower(name)]; ok {
			return pflag.NormalizedName(to)
		}
		return pflag.NormalizedName(name)
	})
}

// given tells whether the command line has a parameter.
func given(f *pflag.FlagSet, flag *schema.Flag, values map[string]any) bool {
	_, set := values[flag.Param.Name]
	return set || f.Changed(flag.Name)
}

// choose finds the action that is meant: the one of the kind, else the only one
// that takes all that is given and misses nothing.
func (in *input) choose(kind string, f *pflag.FlagSet, values map[string]any) (*schema.Action, error) {
	kinds := in.verb.Kinds()
	if kinds == nil {
		return in.verb.First(), nil
	}
	if kind != "" {
		if i := slices.Index(kinds, kind); i >= 0 {
			return in.verb.Actions[i], nil
		}
		return nil, errs.New(errs.Invalid, "--kind "+kind, "not one of %s", strings.Join(kinds, ", "))
	}
	var takes, fits []int
	for i, action := range in.verb.Actions {
		accepts, complete := true, true
		for _, flag := range in.flagList {
			p := action.Param(flag.Param.Name)
			switch has := given(f, flag, values); {
			case has && p == nil && flag.Tag == nil:
				accepts = false
			case !has && p != nil && p.Required && !flag.File && p.DefaultText() == "":
				complete = false
			}
		}
		if accepts {
			takes = append(takes, i)
		}
		if accepts && complete {
			fits = append(fits, i)
		}
	}
	switch {
	case len(fits) == 1 || len(fits) > 1 && !in.verb.Creates:
		return in.verb.Actions[fits[0]], nil
	case len(fits) == 0 && len(takes) == 1:
		return in.verb.Actions[takes[0]], nil // what it misses is said next
	}
	return nil, errs.New(errs.Invalid, "--kind", "is missing").WithAdvice("say which: %s", strings.Join(kinds, ", "))
}
