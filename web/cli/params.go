package cli

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/web/cli/client"
	"github.com/kumo-cloud/kumo/web/cli/render"
	"github.com/kumo-cloud/kumo/web/cli/schema"
)

// params are a call's parameters as the flags gave them.
type params struct {
	app                  *App
	values               map[string]any
	systemTags, userTags []string
	refs                 []*schema.Flag
}

// addFlag makes the flag of one parameter.
func (a *App) addFlag(c *cobra.Command, flag *schema.Flag) {
	doc := a.flagDoc(flag)
	switch {
	case flag.Kind == "list" && listOfTexts(flag):
		c.Flags().StringSlice(flag.Name, nil, doc)
	case flag.Kind == "map" || flag.Kind == "list":
		c.Flags().StringArray(flag.Name, nil, doc)
	case flag.Kind == "bool":
		c.Flags().Bool(flag.Name, false, doc)
	default:
		c.Flags().Var(&textValue{kind: valueKind(flag)}, flag.Name, doc)
	}
	values := a.doc.Values(&flag.Field)
	switch {
	case flag.Ref != nil && flag.Kind == "list":
		must(c.RegisterFlagCompletionFunc(flag.Name, listOf(a.completeNames(flag.Ref))))
	case flag.Ref != nil:
		must(c.RegisterFlagCompletionFunc(flag.Name, a.completeNames(flag.Ref)))
	case len(values) > 0:
		must(c.RegisterFlagCompletionFunc(flag.Name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)))
	case !isFile(flag):
		must(c.RegisterFlagCompletionFunc(flag.Name, cobra.NoFileCompletions))
	}
}

// textValue is the text of a flag; help shows its kind.
type textValue struct{ text, kind string }

// String implements pflag.Value, as the methods below.
func (v *textValue) String() string { return v.text }

// Set keeps the text.
func (v *textValue) Set(text string) error {
	v.text = text
	return nil
}

// Type is what help shows for the value.
func (v *textValue) Type() string { return v.kind }

func valueKind(flag *schema.Flag) string {
	switch {
	case isFile(flag):
		return "file"
	case flag.Ref != nil:
		return "name"
	case flag.Unit == "bytes" || flag.Unit == "bytesPerSecond" || flag.Unit == "bitsPerSecond":
		return "size"
	case flag.Unit == "seconds" || flag.Unit == "milliseconds":
		return "time"
	case flag.Kind == "int" || flag.Kind == "long" || flag.Kind == "double":
		return "number"
	case flag.Kind == "object":
		return "JSON"
	}
	return "text"
}

func listOfTexts(flag *schema.Flag) bool {
	return flag.Item == nil || flag.Item.Kind != "object" && flag.Item.Kind != "map"
}

// isFile tells whether the flag names a file that has the value.
func isFile(flag *schema.Flag) bool { return flag.File || flag.Format == "userData" }

// flagDoc says what a flag is for, in a line.
func (a *App) flagDoc(flag *schema.Flag) string {
	lang := a.language()
	doc := cmp.Or(a.said(flag.Doc), flag.Title(lang))
	if flag.Format == "sha512" { // of that the person is spared
		doc = flag.Title(lang)
	}
	doc = strings.TrimSuffix(doc, ".")
	hint := unitHint(&flag.Field)
	if flag.Item != nil {
		hint = unitHint(flag.Item)
	}
	switch values := a.doc.Values(&flag.Field); {
	case isFile(flag):
		doc += a.words(": a file with it, or - for stdin", "：内容所在的文件，- 表示标准输入")
	case flag.Ref != nil && flag.Ref.Noun != "":
		doc += a.words(": name or UUID, see kumo ", "：名称或 UUID，见 kumo ") + flag.Ref.Noun + " ls"
	case len(values) > 0:
		doc += ": " + strings.Join(values, ", ")
	case hint != "":
		doc += a.words(", such as ", "，如 ") + hint
	case flag.Kind == "map":
		doc += a.words(", as key=value; may be repeated", "，写作 键=值；可重复")
	case flag.Kind == "list" && !listOfTexts(flag):
		doc += a.words(", as JSON; may be repeated", "，写作 JSON；可重复")
	}
	if text := flag.DefaultText(); text != "" {
		doc += " (" + a.words("default ", "默认 ") + text + ")"
	} else if flag.Required && flag.Tag == nil {
		doc += a.words(" (required)", "（必填）")
	}
	// pflag takes a word in back quotes for the name of the value.
	return strings.ReplaceAll(render.Safe(doc), "`", "'")
}

// set reads the pairs of --set.
func (p *params) set(pairs []string) error {
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return errs.New(errs.Invalid, "--set "+pair, "not of the form name=value")
		}
		p.values[name] = anyValue(value)
	}
	return nil
}

// anyValue reads the value of --set: JSON if it is JSON, else the text itself.
// A bare number stays text, as the API takes numbers as text too and a name may
// look like one.
func anyValue(text string) any {
	if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") || strings.HasPrefix(text, `"`) || text == "true" || text == "false" {
		var v any
		if err := json.Unmarshal([]byte(text), &v); err == nil {
			return v
		}
	}
	return text
}

// read puts the parameters of the action into values, and refuses flags that
// belong to another kind and values that cannot be meant. All that is missing is
// said at once.
func (p *params) read(f *pflag.FlagSet, in *input, action *schema.Action) error {
	var missing []string
	for _, flag := range in.flagList {
		if flag.Tag == nil && action.Param(flag.Param.Name) == nil && f.Changed(flag.Name) {
			return errs.New(errs.Invalid, "--"+flag.Name, "not for this --kind")
		}
	}
	for _, flag := range in.flagList {
		param := action.Param(flag.Param.Name)
		if flag.Tag == nil && param == nil {
			continue
		}
		required := param != nil && param.Required
		value, ok, err := p.app.flagValue(f, flag, required, p.values)
		switch {
		case err != nil:
			return err
		case ok && flag.Tag != nil:
			p.systemTags = append(p.systemTags, strings.ReplaceAll(flag.Tag.Pattern, "{"+flag.Param.Name+"}", textOf(value)))
		case ok:
			p.values[flag.Param.Name] = value
		case p.values[flag.Param.Name] == nil && required && flag.DefaultText() == "":
			name := "--" + flag.Name
			if flag == in.name {
				name = strings.ToUpper(flag.Name)
			}
			missing = append(missing, name)
		}
		if flag.Tag == nil && (flag.Ref != nil || flag.RefBy != "") {
			p.refs = append(p.refs, flag)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	is := "is"
	if len(missing) > 1 {
		is = "are"
	}
	return errs.New(errs.Invalid, strings.Join(missing, ", "), "%s missing", is).WithAdvice("for example: %s", in.example())
}

// flagValue reads one flag; ok is false when it is not given.
func (a *App) flagValue(f *pflag.FlagSet, flag *schema.Flag, required bool, values map[string]any) (value any, ok bool, err error) {
	_, set := values[flag.Param.Name]
	switch {
	case flag.File && (f.Changed(flag.Name) || required && !set):
		text, err := a.secret(flag.Title("en"), flag.Name, f.Lookup(flag.Name).Value.String(), "")
		if flag.Format == "sha512" {
			text = client.WirePassword(text)
		}
		return text, err == nil, err
	case !f.Changed(flag.Name):
		return nil, false, nil
	case flag.Format == "userData":
		text, err := a.readFile("--"+flag.Name, f.Lookup(flag.Name).Value.String())
		return base64.StdEncoding.EncodeToString(text), err == nil, err
	case flag.Kind == "bool":
		value, err = f.GetBool(flag.Name)
	case flag.Kind == "list" && listOfTexts(flag):
		var texts []string
		if texts, err = f.GetStringSlice(flag.Name); err == nil {
			value, err = a.listValue(flag, texts)
		}
	case flag.Kind == "list" || flag.Kind == "map":
		var texts []string
		if texts, err = f.GetStringArray(flag.Name); err == nil {
			value, err = structured(flag, texts)
		}
	default:
		value, err = a.oneValue(flag, f.Lookup(flag.Name).Value.String())
	}
	return value, err == nil, err
}

// resolve puts UUIDs in the place of names.
func (p *params) resolve(ctx context.Context, c *client.Client) error {
	for _, flag := range p.refs {
		ref := flag.Ref
		if by := textOf(p.values[flag.RefBy]); ref == nil && by != "" {
			ref = p.app.doc.ByNoun(strings.TrimSuffix(by, "VO"))
		}
		if ref == nil || ref.Path == "" {
			continue
		}
		var err error
		switch v := p.values[flag.Param.Name].(type) {
		case string:
			p.values[flag.Param.Name], err = uuidOf(ctx, c, ref, v)
		case []string:
			p.values[flag.Param.Name], err = uuidsOf(ctx, c, ref, v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
