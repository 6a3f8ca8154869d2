package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/web/cli/client"
	"github.com/kumo-cloud/kumo/web/cli/render"
	"github.com/kumo-cloud/kumo/web/cli/schema"
)

// verbRun is a verb with all that the command line said about it; nothing was
// sent yet.
type verbRun struct {
	noun    *schema.Type
	verb    *schema.Verb
	action  *schema.Action
	objects []string // names or UUIDs; for verbs that create, none or a file
	params  params
	yes     bool
	noWait  bool
	plan    bool
}

// what names the run for people: "delete vm web-1".
func (r verbRun) what(object string) string {
	return r.verb.Name + " " + strings.TrimSpace(r.noun.Noun+" "+object)
}

// dangerous verbs take something away, and ask first. What only interrupts, such
// as a stop, does as it is told.
func (r verbRun) dangerous() bool {
	a := r.verb.First()
	return a.Danger == "plan" || a.Danger == "confirm" && (a.Effect == "delete" || a.Effect == "detach")
}

// verbCommand makes the command of one verb. run gets what was parsed.
func (a *App) verbCommand(t *schema.Type, v *schema.Verb, run func(context.Context, verbRun) error) *cobra.Command {
	r := verbRun{noun: t, verb: v}
	in := a.input(t, v)
	c := &cobra.Command{Use: v.Name + in.use(), Short: a.short(t, v), Args: in.args, Example: "  " + in.example()}
	if long := a.said(v.First().Doc); long != "" && v.Fixed == nil {
		c.Long = render.Safe(long)
	}
	if in.objects {
		c.ValidArgsFunction = a.completeNames(t)
	} else if !v.Uploads {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	given := in.flags(c)
	f := c.Flags()
	f.BoolVar(&r.noWait, "no-wait", false, "print the job's UUID and do not wait for its end")
	f.Bool("wait", true, "wait for the end of the job")
	c.MarkFlagsMutuallyExclusive("wait", "no-wait")
	if r.dangerous() {
		f.BoolVarP(&r.yes, "yes", "y", false, "do not ask")
	}
	if v.First().Plan {
		f.BoolVar(&r.plan, "plan", false, "show what would go with it, and do nothing")
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if wait, err := f.GetBool("wait"); err == nil && !wait {
			r.noWait = true
		}
		var err error
		if r.action, r.params, r.objects, err = given(args); err != nil {
			return errs.Wrap(errs.Invalid, cmd.CommandPath(), err, "")
		}
		return run(cmd.Context(), r)
	}
	return c
}

// short says in a line what a verb does.
func (a *App) short(t *schema.Type, v *schema.Verb) string {
	lang, first := a.language(), v.First()
	switch {
	case v.Fixed != nil:
		return schema.Spaced(v.Name)
	case v.Uploads:
		return a.words("Create one from a file of this machine", "用本机的文件创建")
	}
	doc := a.said(first.Doc)
	if doc == "" && lang == "zh" && first.Caption.In(lang) != "" {
		if first.Effect == "read" {
			return render.Safe(first.Caption.In(lang))
		}
		return render.Safe(first.Caption.In(lang) + t.Title(lang))
	}
	if before, _, ok := strings.Cut(doc, ". "); ok {
		doc = before
	}
	return render.Safe(strings.TrimSuffix(cmp.Or(doc, first.Caption.In(lang), schema.Spaced(v.Name)), "."))
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
	if err := r.params.resolve(ctx, c); err != nil {
		return err
	}
	if r.verb.Subject == "" {
		name, _ := r.params.values[labelOf(r.noun)].(string)
		return a.send(ctx, c, f, r, name, "")
	}
	// All names are looked up before anything is done to the first.
	uuids, err := uuidsOf(ctx, c, r.noun, r.objects)
	if err != nil {
		return err
	}
	if r.plan {
		return a.showPlans(ctx, c, f, r, uuids)
	}
	if r.dangerous() && !r.yes {
		if err := a.confirm(ctx, c, r, uuids); err != nil {
			return err
		}
	}
	if r.action.Scope == "many" && r.verb.Subject == r.action.Subject {
		r.params.values[r.verb.Subject] = uuids
		return a.send(ctx, c, f, r, strings.Join(r.objects, ", "), "")
	}
	for i, object := range r.objects {
		if err := a.send(ctx, c, f, r, object, uuids[i]); err != nil {
			return err
		}
	}
	return nil
}

// send makes one call, follows its job and prints what came of it.
func (a *App) send(ctx context.Context, c *client.Client, f render.Format, r verbRun, object, uuid string) error {
	call, err := r.request(uuid)
	if err != nil {
		return err
	}
	what := r.what(object)
	answer, job, err := c.Start(ctx, call)
	if err != nil {
		return wrap(what, err)
	}
	if job != nil {
		if r.noWait {
			printLine(a.Out, "%s", job.UUID)
			return nil
		}
		stop := a.progress(what, nil)
		answer, err = c.Follow(ctx, *job)
		stop()
		if err != nil {
			return wrap(what, err)
		}
	}
	return a.printAnswer(ctx, c, f, r, what, uuid, answer)
}

// printAnswer prints what a call answered: the object as its row, what was read,
// or that it is done.
func (a *App) printAnswer(ctx context.Context, c *client.Client, f render.Format, r verbRun, what, uuid string, answer json.RawMessage) error {
	inventory, returns := client.Inventory(answer), a.doc.Types[r.action.Returns]
	switch {
	case r.action.Effect == "read":
		return a.printRead(f, returns, answer)
	case inventory != nil && (r.verb.Creates || client.Text(inventory, "uuid") == uuid):
		return a.printOne(ctx, c, f, r.noun, inventory)
	case inventory != nil && r.action.Effect == "create" && returns != nil && returns.Path != "":
		return a.printOne(ctx, c, f, returns, inventory)
	case f.People() || f == render.Name:
		// Linking two objects answers with either; a table of the other would
		// only confuse.
		a.say("%s: done", render.Safe(what))
		a.sayLeft(answer)
		return nil
	case inventory != nil:
		return render.Raw(a.Out, f, inventory)
	}
	return render.Raw(a.Out, f, answer)
}

// printRead prints the answer of a call that only reads: a list as the table of
// the type that it returns, else its members.
func (a *App) printRead(f render.Format, t *schema.Type, answer json.RawMessage) error {
	var page client.Page
	if err := json.Unmarshal(answer, &page); err != nil || page.Inventories == nil || t == nil || !f.People() {
		if f.People() {
			return render.Outline(a.Out, answer)
		}
		return render.One(a.Out, f, nil, "", answer)
	}
	columns, err := a.columnsOf(t, nil, f)
	if err != nil {
		return err
	}
	return render.List(a.Out, f, plain(columns), t.Label, page.Inventories)
}

// request fills the call's path: its variables are parameters, which then do not
// go into the body, and the one that is none is the object.
func (r verbRun) request(uuid string) (client.Call, error) {
	values := map[string]any{}
	for name, value := range r.params.values {
		values[name] = value
	}
	for name, value := range r.verb.Fixed {
		values[name] = value
	}
	if r.verb.Subject != "" && uuid != "" {
		values[r.verb.Subject] = uuid
	}
	segments := strings.Split(r.action.Path, "/")
	for i, s := range segments {
		name, ok := strings.CutPrefix(s, "{")
		if !ok {
			continue
		}
		name = strings.TrimSuffix(name, "}")
		value := textOf(values[name])
		if value == "" {
			if value = uuid; value == "" {
				return client.Call{}, errs.New(errs.Invalid, r.what(""), "parameter %s is missing", name)
			}
		}
		delete(values, name)
		segments[i] = url.PathEscape(value)
	}
	return client.Call{
		Method: r.action.Method, Path: strings.Join(segments, "/"), Key: r.action.Key,
		Params: values, SystemTags: r.params.systemTags, UserTags: r.params.userTags,
	}, nil
}

func textOf(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}
