package cli

import (
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/web/cli/client"
)

// maxFile is more than the API takes of a secret or of user data.
const maxFile = 1 << 20

// apiError finds the server's own error in a chain.
func apiError(err error) (*client.APIError, bool) {
	var api *client.APIError
	ok := errors.As(err, &api)
	return api, ok
}

func (a *App) loginCommand() *cobra.Command {
	var account, file string
	c := &cobra.Command{
		Use:   "login",
		Short: "Sign in to an account and keep the session",
		Long: "Signs in and keeps the session in ~/.config/kumo (or KUMO_CONFIG_DIR), readable by you only,\n" +
			"and what the server says of itself in ~/.cache/kumo (or KUMO_CACHE_DIR).\n" +
			"The password is asked for, or read from --password-file (- is stdin) or KUMO_PASSWORD.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			password, err := a.secret("password of "+account, "password-file", file, "KUMO_PASSWORD")
			if err != nil {
				return err
			}
			c, err := client.New(a.server)
			if err != nil {
				return err
			}
			session, err := c.Login(cmd.Context(), account, password)
			if err != nil {
				return err
			}
			store, err := a.sessions()
			if err != nil {
				return err
			}
			if err := store.Save(c.Server, session); err != nil {
				return err
			}
			// So completion and help know the server's nouns from now on. A server
			// that does not tell them now is asked again.
			_, _ = a.schemaOf(cmd.Context(), 0)
			a.say("signed in to %s as %s", c.Server, account)
			return nil
		},
	}
	c.Flags().StringVar(&account, "account", "admin", "name of the account")
	c.Flags().StringVar(&file, "password-file", "", "file with the password; - reads stdin")
	return c
}

func (a *App) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "logout",
		Short: "End the session",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if errors.Is(err, errs.Unauthenticated) {
				a.say("not signed in")
				return nil
			}
			if err != nil {
				return err
			}
			store, err := a.sessions()
			if err != nil {
				return err
			}
			// The file goes first: a session that nobody holds ends by itself.
			if err := store.Forget(c.Server); err != nil {
				return err
			}
			if err := c.Logout(cmd.Context()); err != nil {
				return err
			}
			a.say("signed out of %s", c.Server)
			return nil
		},
	}
}

// secret reads a secret: from the file, else the environment, else the person.
// It never comes from an argument, which every user of the machine can read.
func (a *App) secret(what, flag, file, env string) (string, error) {
	switch {
	case file != "":
		text, err := a.readFile(what, file)
		return strings.TrimRight(string(text), "\r\n"), err
	case env != "" && a.Env(env) != "":
		return a.Env(env), nil
	case a.Terminal:
		_, _ = io.WriteString(a.Err, what+": ") // a prompt that cannot be shown is no reason to stop
		text, err := a.ReadPassword()
		a.say("")
		if err != nil {
			return "", errs.Wrap(errs.Invalid, what, err, "cannot be read from the terminal")
		}
		return text, nil
	}
	advice := "give a file with it by --" + flag
	if env != "" {
		advice += " or set " + env
	}
	return "", errs.New(errs.Invalid, what, "not given, and there is no terminal to ask on").WithAdvice("%s", advice)
}

// readFile reads a small file of the person's, or stdin for "-".
func (a *App) readFile(what, file string) (text []byte, err error) {
	if file == "-" {
		text, err = io.ReadAll(io.LimitReader(a.In, maxFile))
	} else {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, what, err, "cannot be read")
	}
	return text, nil
}
