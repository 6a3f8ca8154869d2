package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/web/cli/catalog"
	"github.com/kumo-cloud/kumo/web/cli/client"
)

// params are a call's parameters as the flags gave them.
type params struct {
	values               map[string]any
	systemTags, userTags []string
}

// paramFlags gives the command a flag for each parameter of the verb. The
// function returned reads them after parsing: which message is meant, and with
// which parameters.
func (a *App) paramFlags(c *cobra.Command, v catalog.Verb) func() (catalog.Call, params, error) {
	f := c.Flags()
	f.SortFlags = false
	kind := ""
	if len(v.Variants) > 0 {
		f.StringVar(&kind, "kind", "", "one of "+strings.Join(v.Kinds(), ", ")+" (default "+v.Kinds()[0]+")")
		must(c.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(v.Kinds(), cobra.ShellCompDirectiveNoFileComp)))
	}
	for _, p := range v.Params() {
		a.paramFlag(c, p)
	}
	var userData string
	var extra, systemTags, userTags []string
	f.StringArrayVar(&extra, "set", nil, "any other parameter of the API, as name=value; the value may be JSON")
	f.StringArrayVar(&systemTags, "system-tag", nil, "system tag, which changes behaviour; may be repeated")
	if v.Creates {
		f.StringArrayVar(&userTags, "user-tag", nil, "tag of your own; may be repeated")
	}
	if v.UserData {
		f.StringVar(&userData, "user-data", "", "file that the guest gets as its user data")
	}
	return func() (catalog.Call, params, error) {
		out := params{values: map[string]any{}, systemTags: systemTags, userTags: userTags}
		call, ok := v.CallFor(kind)
		if !ok {
			return call, out, errs.New(errs.Invalid, "--kind "+kind, "not known")
		}
		for _, pair := range extra {
			name, value, ok := strings.Cut(pair, "=")
			if !ok || name == "" {
				return call, out, errs.New(errs.Invalid, "--set "+pair, "not of the form name=value")
			}
			out.values[name] = anyValue(value)
		}
		if err := readFlags(a, f, v, call, out.values); err != nil {
			return call, out, err
		}
		if userData != "" {
			text, err := os.ReadFile(userData)
			if err != nil {
				return call, out, errs.Wrap(errs.Invalid, "user data", err, "cannot be read")
			}
			out.systemTags = append(out.systemTags, UserDataTag(text))
		}
		return call, out, nil
	}
}

// UserDataTag is the system tag that gives a VM its user data.
func UserDataTag(text []byte) string {
	return "userdata::" + base64.StdEncoding.EncodeToString(text)
}

// flagName is a parameter's flag; that of a secret names a file.
func flagName(p catalog.Param) string {
	if p.Secret {
		return p.Flag() + "-file"
	}
	return p.Flag()
}

func (a *App) paramFlag(c *cobra.Command, p catalog.Param) {
	doc := p.Doc
	if len(p.Values) > 0 {
		doc += ": " + strings.Join(p.Values, ", ")
	}
	if p.Secret {
		doc = "file with the " + doc + "; - reads stdin"
	}
	if p.Default != "" {
		doc += " (default " + p.Default + ")"
	} else if p.Required {
		doc += " (required)"
	}
	switch p.Kind {
	case catalog.List:
		c.Flags().StringSlice(flagName(p), nil, doc)
	case catalog.Map:
		c.Flags().StringArray(flagName(p), nil, doc)
	case catalog.Bool:
		c.Flags().Bool(flagName(p), false, doc)
	default:
		c.Flags().String(flagName(p), "", doc)
	}
	if n, ok := catalog.Find(p.Ref); ok {
		must(c.RegisterFlagCompletionFunc(flagName(p), a.completeNames(n)))
	} else if len(p.Values) > 0 {
		must(c.RegisterFlagCompletionFunc(flagName(p), cobra.FixedCompletions(p.Values, cobra.ShellCompDirectiveNoFileComp)))
	}
}

// readFlags puts the parameters of the call into values, and refuses flags that
// belong to another kind and values that cannot be meant.
func readFlags(a *App, f *pflag.FlagSet, v catalog.Verb, call catalog.Call, values map[string]any) error {
	for _, p := range v.Params() {
		if f.Changed(flagName(p)) && !slices.ContainsFunc(call.Params, func(q catalog.Param) bool { return q.Name == p.Name }) {
			return errs.New(errs.Invalid, "--"+flagName(p), "not for this --kind")
		}
	}
	for _, p := range call.Params {
		if p.Secret {
			if _, given := values[p.Name]; given {
				continue
			}
			file, err := f.GetString(flagName(p))
			if err != nil {
				return err
			}
			if values[p.Name], err = a.secret(p.Doc, file, ""); err != nil {
				return err
			}
			continue
		}
		if !f.Changed(flagName(p)) {
			_, given := values[p.Name]
			switch {
			case given:
			case p.Default != "":
				values[p.Name] = p.Default
			case p.Required:
				return errs.New(errs.Invalid, "--"+flagName(p), "is missing")
			}
			continue
		}
		value, err := flagValue(f, p)
		if err != nil {
			return err
		}
		values[p.Name] = value
	}
	return nil
}

func flagValue(f *pflag.FlagSet, p catalog.Param) (any, error) {
	name := flagName(p)
	switch p.Kind {
	case catalog.List:
		return f.GetStringSlice(name)
	case catalog.Bool:
		return f.GetBool(name)
	case catalog.Map:
		pairs, err := f.GetStringArray(name)
		if err != nil {
			return nil, err
		}
		out := map[string][]string{}
		for _, pair := range pairs {
			key, list, ok := strings.Cut(pair, "=")
			if !ok {
				return nil, errs.New(errs.Invalid, "--"+name+" "+pair, "not of the form key=value,value")
			}
			out[key] = append(out[key], strings.Split(list, ",")...)
		}
		return out, nil
	}
	text, err := f.GetString(name)
	if err != nil {
		return nil, err
	}
	switch {
	case p.Kind == catalog.Size:
		n, err := ParseSize(text)
		if err != nil {
			return nil, errs.Wrap(errs.Invalid, "--"+name, err, "")
		}
		return n, nil
	case p.Kind == catalog.Int:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, errs.New(errs.Invalid, "--"+name+" "+text, "not a whole number")
		}
		return n, nil
	case len(p.Values) > 0 && !slices.Contains(p.Values, text):
		return nil, errs.New(errs.Invalid, "--"+name+" "+text, "not one of %s", strings.Join(p.Values, ", "))
	}
	return text, nil
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

// ParseSize reads a size in bytes: a whole number, or one with K, M, G or T (and
// an optional B or iB), each 1024 times the one before.
func ParseSize(text string) (int64, error) {
	digits := strings.ToUpper(strings.TrimSpace(text))
	digits = strings.TrimSuffix(strings.TrimSuffix(digits, "B"), "I")
	shift := 0
	if n := len(digits); n > 0 {
		if i := strings.IndexByte("KMGT", digits[n-1]); i >= 0 {
			shift = 10 * (i + 1)
			digits = digits[:n-1]
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > (1<<62)>>shift {
		return 0, fmt.Errorf("%q is no size; write it like 512M or 10G", text)
	}
	return n << shift, nil
}

// resolve puts UUIDs in the place of names.
func (p params) resolve(ctx context.Context, c *client.Client, call catalog.Call) error {
	for _, param := range call.Params {
		noun, ok := catalog.Find(param.Ref)
		if !ok {
			continue
		}
		switch v := p.values[param.Name].(type) {
		case string:
			uuid, err := uuidOf(ctx, c, noun, v)
			if err != nil {
				return err
			}
			p.values[param.Name] = uuid
		case []string:
			uuids := make([]string, len(v))
			for i := range v {
				var err error
				if uuids[i], err = uuidOf(ctx, c, noun, v[i]); err != nil {
					return err
				}
			}
			p.values[param.Name] = uuids
		}
	}
	return nil
}
