package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/web/cli/client"
	"github.com/kumo-cloud/kumo/web/cli/render"
)

// App is what all commands share: the outside world, and the global flags.
// Tests fill it with buffers and a fake environment.
type App struct {
	In       io.Reader
	Out, Err io.Writer
	Env      func(string) string
	// Terminal is true when a person answers questions on In.
	Terminal bool
	// ReadPassword reads a line without showing it; used on a Terminal only.
	ReadPassword func() (string, error)
	Version      string

	server string
	output string
}

// NewApp returns the App of this process.
func NewApp(version string) *App {
	return &App{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.Getenv, Version: version,
		Terminal: term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd())),
		ReadPassword: func() (string, error) {
			text, err := term.ReadPassword(int(os.Stdin.Fd()))
			return string(text), err
		},
	}
}

// Main runs the command line and returns the exit code: 0, or 1 after one line
// on stderr. The serve command is main's, which alone knows the server.
func Main(ctx context.Context, version string, serve *cobra.Command) int {
	app := NewApp(version)
	if err := app.Root(serve).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(app.Err, "kumo: "+OneLine(err))
		return 1
	}
	return 0
}

// OneLine writes an error in one line: object, cause, advice.
func OneLine(err error) string {
	text := strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
	if api, ok := apiError(err); ok && api.Advice() != "" {
		text += " (" + api.Advice() + ")"
	}
	return text
}

// Root returns the command "kumo" with all that is below it.
func (a *App) Root(serve *cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use:   "kumo",
		Short: "Kumo, a cloud of your own",
		Long: "Kumo runs a cloud (kumo serve) and commands it (everything else).\n\n" +
			"The server is the one of --server or KUMO_SERVER; sign in first with kumo login.",
		Version:       a.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	flags := root.PersistentFlags()
	flags.StringVar(&a.server, "server", cmp.Or(a.Env("KUMO_SERVER"), "http://127.0.0.1:8080"), "address of the API (KUMO_SERVER)")
	flags.StringVarP(&a.output, "output", "o", string(render.Table), "how results are written: "+strings.Join(render.Formats, ", "))
	must(root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(render.Formats, cobra.ShellCompDirectiveNoFileComp)))

	root.AddGroup(&cobra.Group{ID: "cloud", Title: "The cloud:"}, &cobra.Group{ID: "resource", Title: "Resources:"})
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	if serve != nil {
		add("cloud", serve)
	}
	add("cloud", a.statusCommand(), a.loginCommand(), a.logoutCommand(), a.quickstartCommand(), a.pluginCommand())
	add("resource", a.nounCommands()...)
	add("resource", a.queryCommand())
	return root
}

// format checks --output.
func (a *App) format() (render.Format, error) {
	for _, f := range render.Formats {
		if a.output == f {
			return render.Format(f), nil
		}
	}
	return "", errs.New(errs.Invalid, "--output "+a.output, "not known").WithAdvice("use one of %s", strings.Join(render.Formats, ", "))
}

// sessions is where logins are kept.
func (a *App) sessions() (client.Store, error) {
	if dir := a.Env("KUMO_CONFIG_DIR"); dir != "" {
		return client.Store{Dir: dir}, nil
	}
	dir := a.Env("XDG_CONFIG_HOME")
	if dir == "" {
		home := a.Env("HOME")
		if home == "" {
			return client.Store{}, errs.New(errs.Invalid, "session file", "HOME is not set").WithAdvice("name a folder by KUMO_CONFIG_DIR")
		}
		dir = filepath.Join(home, ".config")
	}
	return client.Store{Dir: filepath.Join(dir, "kumo")}, nil
}

// client returns a client with the session of the last login.
func (a *App) client() (*client.Client, error) {
	c, err := client.New(a.server)
	if err != nil {
		return nil, err
	}
	store, err := a.sessions()
	if err != nil {
		return nil, err
	}
	session, ok, err := store.Load(c.Server)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errs.New(errs.Unauthenticated, "server "+c.Server, "not signed in").WithAdvice("sign in with kumo login")
	}
	c.Session = session.UUID
	return c, nil
}

// say tells the person something that is no result.
func (a *App) say(format string, args ...any) { fmt.Fprintf(a.Err, format+"\n", args...) }

// must is for errors that only a mistake in this package's own tables causes.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
