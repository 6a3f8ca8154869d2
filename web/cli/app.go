package cli

import (
	"cmp"
	"context"
	"errors"
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
	"github.com/kumo-cloud/kumo/web/cli/schema"
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
	// Machine is the server of this machine; without it kumo admin is not there.
	Machine Machine

	server string
	output string
	// doc is what is known of the server; without it docErr says why.
	doc    *schema.Document
	docErr error
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
// on stderr. The serve command and the machine are main's, which alone knows the
// server.
func Main(ctx context.Context, version string, serve *cobra.Command, machine Machine) int {
	app := NewApp(version)
	app.Machine = machine
	if err := app.Run(ctx, os.Args[1:], serve); err != nil {
		fmt.Fprintln(app.Err, "kumo: "+app.OneLine(err))
		return 1
	}
	return 0
}

// OneLine writes an error in one line: object, cause, advice.
func (a *App) OneLine(err error) string {
	text := strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
	if api, ok := apiError(err); ok {
		if advice := api.Advice(a.language()); advice != "" {
			text += " (" + advice + ")"
		}
	}
	return render.Safe(text)
}

// Run runs one command line. The commands of nouns are made from what is known of
// the server; when that is not of this moment and has no such word, the server is
// asked again and the command line is read once more. Nothing was sent by then.
func (a *App) Run(ctx context.Context, args []string, serve *cobra.Command) error {
	line := a.read(args)
	a.doc, a.docErr = nil, nil
	root := a.root(serve)
	if line.needsSchema(root) {
		a.doc, a.docErr = a.schemaOf(ctx, line.age())
	}
	err := a.execute(ctx, root, line, args)
	var word unknownWord
	if !errors.As(err, &word) || a.doc == nil {
		return err
	}
	fresh, freshErr := a.schemaOf(ctx, 0)
	if freshErr != nil || fresh.Revision == a.doc.Revision {
		return err
	}
	a.doc = fresh
	return a.execute(ctx, a.root(serve), line, args)
}

// execute adds what is known of the server to the commands and runs the line.
func (a *App) execute(ctx context.Context, root *cobra.Command, line commandLine, args []string) error {
	a.addNouns(root, line)
	if len(line.words) > 0 && !line.completes && line.needsSchema(root) {
		// Cobra has an answer of its own to the help of what it does not know.
		if c, _, err := root.Find(line.words[:1]); err == nil && c == root {
			return a.noSuchNoun(root, line.words)
		}
	}
	if a.language() == "zh" {
		translate(root)
	}
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

// root returns the command "kumo" with the commands that need no server's word.
func (a *App) root(serve *cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use:   "kumo",
		Short: "Kumo, a cloud of your own",
		Long: "Kumo runs a cloud (kumo serve) and commands it (everything else).\n\n" +
			"The server is the one of --server or KUMO_SERVER; sign in first with kumo login.",
		Example: "  kumo login\n" +
			"  kumo vm create web1 --image tiny --offering small --network flat-1\n" +
			"  kumo vm ls --where state=Running --sort -createDate",
		Version:       a.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          a.noSuchNoun,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetFlagErrorFunc(a.unknownFlag)
	flags := root.PersistentFlags()
	flags.StringVar(&a.server, "server", a.defaultServer(), "address of the API (KUMO_SERVER)")
	flags.StringVarP(&a.output, "output", "o", string(render.Table), "how results are written: "+strings.Join(render.Formats, ", "))
	must(root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(render.Formats, cobra.ShellCompDirectiveNoFileComp)))

	root.AddGroup(&cobra.Group{ID: "cloud", Title: "The cloud:"})
	commands := []*cobra.Command{a.statusCommand(), a.loginCommand(), a.logoutCommand(), a.quickstartCommand(), a.pluginCommand(), a.queryCommand()}
	if serve != nil {
		commands = append([]*cobra.Command{serve}, commands...)
	}
	if a.Machine != nil {
		commands = append(commands, a.adminCommand(), a.doctorCommand())
	}
	for _, c := range commands {
		c.GroupID = "cloud"
		root.AddCommand(c)
	}
	return root
}

func (a *App) defaultServer() string {
	return cmp.Or(a.Env("KUMO_SERVER"), "http://127.0.0.1:8080")
}

// language is "zh" for people whose LANG says so, else "en".
func (a *App) language() string {
	if strings.HasPrefix(cmp.Or(a.Env("LC_ALL"), a.Env("LC_MESSAGES"), a.Env("LANG")), "zh") {
		return "zh"
	}
	return "en"
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
func (a *App) say(format string, args ...any) { printLine(a.Err, format, args...) }

// printLine writes one line that is harmless for a terminal, whatever is in args.
func printLine(w io.Writer, format string, args ...any) {
	fmt.Fprintln(w, render.Safe(fmt.Sprintf(format, args...)))
}

// must is for errors that only a mistake in this package's own tables causes.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
