package cli

import (
	"errors"
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

// unknown refuses a word and names the one that was probably meant, else says
// where all are.
func unknown(what, word string, known []string, help string) error {
	err := errs.New(errs.Invalid, help, "unknown %s %s", what, word)
	if near := schema.Nearest(strings.TrimLeft(word, "-"), known); near != "" {
		if what == "flag" {
			near = "--" + near
		}
		return unknownWord{err.WithAdvice("did you mean %s?", near)}
	}
	return unknownWord{err.WithAdvice("see %s --help", help)}
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
	return unknown("noun", args[0], known, cmd.CommandPath())
}

// noSuchVerb refuses a word that is no verb of the noun; cobra itself would
// print help and succeed.
func noSuchVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var known []string
	for _, c := range cmd.Commands() {
		if c.Name() != "help" {
			known = append(append(known, c.Name()), c.Aliases...)
		}
	}
	return unknown("verb", args[0], known, cmd.CommandPath())
}

// unknownFlag turns cobra's errors about flags into ours.
func unknownFlag(cmd *cobra.Command, err error) error {
	var missing *pflag.NotExistError
	if !errors.As(err, &missing) {
		return errs.New(errs.Invalid, cmd.CommandPath(), "%s", err.Error()).WithAdvice("see %s --help", cmd.CommandPath())
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
	return unknown("flag", name, known, cmd.CommandPath())
}
