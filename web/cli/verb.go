package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/web/cli/catalog"
	"github.com/kumo-cloud/kumo/web/cli/client"
	"github.com/kumo-cloud/kumo/web/cli/render"
)

// verbRun is a verb with all that the command line said about it; nothing was
// sent yet.
type verbRun struct {
	noun    catalog.Noun
	verb    catalog.Verb
	call    catalog.Call
	objects []string // names or UUIDs; for verbs that create, none or a file
	params  params
	yes     bool
	noWait  bool
}

// verbCommand makes the command of one verb. run gets what was parsed.
func (a *App) verbCommand(n catalog.Noun, v catalog.Verb, run func(context.Context, verbRun) error) *cobra.Command {
	r := verbRun{noun: n, verb: v}
	c := &cobra.Command{Use: v.Name, Aliases: v.Aliases, Short: v.Short, Args: cobra.NoArgs}
	if v.Uploads {
		c.Use += " FILE"
		c.Args = exactly("file", 1)
	}
	if !v.Creates {
		c.Use += " NAME|UUID..."
		c.ValidArgsFunction = a.completeNames(n)
		c.Args = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errs.New(errs.Invalid, cmd.CommandPath(), "name or UUID of the %s is missing", n.Name).WithAdvice("see %s --help", cmd.CommandPath())
			}
			return nil
		}
	}
	given := a.paramFlags(c, v)
	c.Flags().BoolVar(&r.noWait, "no-wait", false, "print the job's UUID and do not wait for its end")
	c.Flags().Bool("wait", true, "wait for the end of the job")
	c.MarkFlagsMutuallyExclusive("wait", "no-wait")
	if v.Dangerous {
		c.Flags().BoolVarP(&r.yes, "yes", "y", false, "do not ask")
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if wait, err := cmd.Flags().GetBool("wait"); err == nil && !wait {
			r.noWait = true
		}
		r.objects = args
		var err error
		if r.call, r.params, err = given(); err != nil {
			return errs.Wrap(errs.Invalid, cmd.CommandPath(), err, "").WithAdvice("see %s --help", cmd.CommandPath())
		}
		return run(cmd.Context(), r)
	}
	return c
}

// runVerb does what the verb says, to one object after the other; the first
// error ends it and names the object.
func (a *App) runVerb(ctx context.Context, r verbRun) error {
	f, err := a.format()
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	if err := r.params.resolve(ctx, c, r.call); err != nil {
		return err
	}
	if r.verb.Creates {
		return a.send(ctx, c, f, r, r.noun.Name+" "+fmt.Sprint(orNothing(r.params.values["name"])), "")
	}
	// All names are looked up before anything is done to the first.
	uuids := make([]string, len(r.objects))
	for i, object := range r.objects {
		if uuids[i], err = uuidOf(ctx, c, r.noun, object); err != nil {
			return err
		}
	}
	if r.verb.Dangerous && !r.yes {
		if err := a.confirm(r); err != nil {
			return err
		}
	}
	for i, object := range r.objects {
		if err := a.send(ctx, c, f, r, r.noun.Name+" "+object, uuids[i]); err != nil {
			return err
		}
	}
	return nil
}

func orNothing(v any) any {
	if v == nil {
		return ""
	}
	return v
}

// send makes one call, follows its job and prints what came of it.
func (a *App) send(ctx context.Context, c *client.Client, f render.Format, r verbRun, object, uuid string) error {
	call, err := r.request(uuid)
	if err != nil {
		return err
	}
	what := r.verb.Name + " " + strings.TrimSpace(object)
	answer, job, err := c.Start(ctx, call)
	if err != nil {
		return wrap(what, err)
	}
	if job != nil {
		if r.noWait {
			fmt.Fprintln(a.Out, job.UUID)
			return nil
		}
		stop := a.progress(what, nil)
		answer, err = c.Follow(ctx, *job)
		stop()
		if err != nil {
			return wrap(what, err)
		}
	}
	inventory := client.Inventory(answer)
	// Linking two objects answers with either; a table of the other would only
	// confuse.
	other := !r.verb.Creates && client.Text(inventory, "uuid") != uuid
	switch {
	case f == render.Table && (inventory == nil || other):
		a.say("%s: done", what)
		return nil
	case inventory == nil:
		return render.Raw(a.Out, f, answer)
	case f == render.Table:
		return render.List(a.Out, f, columnsOf(r.noun), []json.RawMessage{inventory})
	}
	return render.One(a.Out, f, inventory)
}

// request fills the call's path: {uuid} is the object, other variables are
// parameters, which then do not go into the body.
func (r verbRun) request(uuid string) (client.Call, error) {
	values := map[string]any{}
	for name, value := range r.params.values {
		values[name] = value
	}
	segments := strings.Split(r.call.Path, "/")
	for i, s := range segments {
		name, ok := strings.CutPrefix(s, "{")
		if !ok {
			continue
		}
		name = strings.TrimSuffix(name, "}")
		value := uuid
		if name != "uuid" {
			value = fmt.Sprint(orNothing(values[name]))
			delete(values, name)
		}
		if value == "" {
			return client.Call{}, errs.New(errs.Invalid, r.noun.Name+" "+r.verb.Name, "parameter %s is missing", name)
		}
		segments[i] = url.PathEscape(value)
	}
	return client.Call{
		Method: r.call.Method, Path: strings.Join(segments, "/"), Key: r.call.Key,
		Params: values, SystemTags: r.params.systemTags, UserTags: r.params.userTags,
	}, nil
}

// confirm asks before something is deleted. Without a person to ask, only --yes
// will do.
func (a *App) confirm(r verbRun) error {
	what := r.noun.Name + " " + strings.Join(r.objects, ", ")
	if !a.Terminal {
		return errs.New(errs.Refused, r.verb.Name+" "+what, "there is no terminal to ask on").WithAdvice("add --yes when you mean it")
	}
	fmt.Fprintf(a.Err, "%s %s? [y/N] ", r.verb.Name, what)
	answer, err := bufio.NewReader(a.In).ReadString('\n')
	if err != nil && answer == "" {
		return errs.Wrap(errs.Refused, r.verb.Name+" "+what, err, "no answer")
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errs.New(errs.Cancelled, r.verb.Name+" "+what, "not done, as you said")
}

// progress tells a person that, and how long, a job is waited for, and how far it
// is if percent is given. The function returned ends the line.
func (a *App) progress(what string, percent func() int64) (stop func()) {
	if !a.Terminal {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		began := time.Now()
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		shown := false
		for {
			select {
			case <-done:
				if shown {
					fmt.Fprint(a.Err, "\r\033[K")
				}
				return
			case <-tick.C:
				shown = true
				fmt.Fprintf(a.Err, "\r\033[K%s ... %.0f s", what, time.Since(began).Seconds())
				if percent != nil {
					fmt.Fprintf(a.Err, ", %d %%", percent())
				}
			}
		}
	}()
	return func() { close(done); <-ended }
}
