package cli

import (
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/web/cli/schema"
)

// unknownWord is the error of a noun, verb or flag that is not known; the server
// may know it by now.
type unknownWord struct{ error }

// Unwrap gives the error itself.
func (u unknownWord) Unwrap() error { return u.error }

// kinds are the words for what may be unknown.
var kinds = map[string]string{"noun": "资源", "verb": "操作", "flag": "选项", "type": "类型"}

// unknown refuses a word and names the one that was probably meant, else says
// where all are.
func (a *App) unknown(what, word string, known []string, help string) error {
	err := errs.New(errs.Invalid, help, a.words("unknown "+what+" %s", "未知的"+kinds[what]+" %s"), word)
	if near := schema.Nearest(strings.TrimLeft(word, "-"), known); near != "" {
		if what == "flag" {
			near = "--" + near
		}
		return unknownWord{err.WithAdvice(a.words("did you mean %s?", "是否要输入 %s？"), near)}
	}
	return unknownWord{a.seeHelp(err, help)}
}

// seeHelp says where all is told about a command.
func (a *App) seeHelp(err *errs.Error, command string) error {
	return err.WithAdvice(a.words("see %s --help", "见 %s --help"), command)
}

// noSuchNoun refuses a word after kumo that is no command.
func (a *App) noSuchNoun(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if a.doc == nil && a.docErr != nil {
		return a.docErr
	}
	var known []string
	for _, c := range cmd.Commands() {
		known = append(known, c.Name())
	}
	if a.doc != nil {
		for _, t := range a.doc.Nouns() {
			known = append(known, t.Words()...)
		}
	}
	return a.unknown("noun", args[0], known, cmd.CommandPath())
}

// noSuchVerb refuses a word that is no verb of the noun; cobra itself would
// print help and succeed.
func (a *App) noSuchVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var known []string
	for _, c := range cmd.Commands() {
		if c.Name() != "help" {
			known = append(append(known, c.Name()), c.Aliases...)
		}
	}
	return a.unknown("verb", args[0], known, cmd.CommandPath())
}

// unknownFlag turns cobra's errors about flags into ours. A word before them that is
// no command is told first: its flags cannot be known.
func (a *App) unknownFlag(cmd *cobra.Command, err error) error {
	if cmd.HasSubCommands() {
		if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
			return err
		}
	}
	var missing *pflag.NotExistError
	if !errors.As(err, &missing) {
		return a.seeHelp(errs.New(errs.Invalid, cmd.CommandPath(), "%s", a.flagError(err)), cmd.CommandPath())
	}
	name := missing.GetSpecifiedName()
	if len(name) == 1 {
		name = "-" + name
	} else {
		name = "--" + name
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	return a.unknown("flag", name, known, cmd.CommandPath())
}

// flagError is what is wrong with a flag that is known.
func (a *App) flagError(err error) string {
	var without *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case a.language() != "zh":
	case errors.As(err, &without):
		return "选项 --" + without.GetFlag().Name + " 缺少值"
	case errors.As(err, &invalid):
		return "选项 --" + invalid.GetFlag().Name + " 的值 " + strconv.Quote(invalid.GetValue()) + " 无效"
	}
	return err.Error()
}
