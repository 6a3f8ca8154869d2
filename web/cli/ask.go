package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/web/cli/client"
	"github.com/kumo-cloud/kumo/web/cli/render"
)

// plan is what a delete would touch, as a tree.
type plan struct {
	branch
	Deleted    int `json:"deleted"`
	Detached   int `json:"detached"`
	Objections []struct {
		Type, UUID, Name, Reason string
	} `json:"objections"`
	Lost []branch `json:"lost"`
}

// branch is one resource of a plan; More counts those that are not listed.
type branch struct {
	Type, UUID, Name, Action string
	Children                 []branch
	More                     []struct {
		Type, Action string
		Count        int
	}
}

// readPlan asks what a call would do, and does nothing.
func (a *App) readPlan(ctx context.Context, c *client.Client, r verbRun, uuid string) (json.RawMessage, plan, error) {
	var answer struct {
		Plan json.RawMessage `json:"plan"`
	}
	var p plan
	call, err := r.request(uuid)
	if err != nil {
		return nil, p, err
	}
	call.Plan = true
	body, err := c.Do(ctx, call)
	if err != nil {
		return nil, p, err
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, p, err
	}
	if err := json.Unmarshal(answer.Plan, &p); err != nil {
		return nil, p, errs.Wrap(errs.Internal, "server "+c.Server, err, "its plan cannot be read")
	}
	return answer.Plan, p, nil
}

// showPlans prints what a verb would do to each object.
func (a *App) showPlans(ctx context.Context, c *client.Client, f render.Format, r verbRun, uuids []string) error {
	for i, uuid := range uuids {
		raw, p, err := a.readPlan(ctx, c, r, uuid)
		if err != nil {
			return wrap("plan: "+r.what(r.objects[i]), err)
		}
		if !f.People() {
			if err := render.Raw(a.Out, f, raw); err != nil {
				return err
			}
			continue
		}
		a.writePlan(a.Out, p)
	}
	return nil
}

func (a *App) writePlan(w io.Writer, p plan) {
	a.writeBranch(w, p.branch, "", "")
	fmt.Fprintf(w, "%d deleted, %d detached\n", p.Deleted, p.Detached)
	for _, o := range p.Objections {
		fmt.Fprintf(w, "in the way: %s %s\n", a.called(branch{Type: o.Type, UUID: o.UUID, Name: o.Name}), render.Safe(o.Reason))
	}
}

// writeBranch writes a tree as people draw it; first is before the resource, and
// rest before what stands below.
func (a *App) writeBranch(w io.Writer, b branch, first, rest string) {
	fmt.Fprintf(w, "%s%s %s\n", first, render.Safe(b.Action), a.called(b))
	for i, child := range b.Children {
		if i == len(b.Children)-1 && len(b.More) == 0 {
			a.writeBranch(w, child, rest+"└─ ", rest+"   ")
			continue
		}
		a.writeBranch(w, child, rest+"├─ ", rest+"│  ")
	}
	for _, m := range b.More {
		fmt.Fprintf(w, "%s└─ %s %d more of %s\n", rest, render.Safe(m.Action), m.Count, render.Safe(m.Type))
	}
}

// called names a resource by its noun, name and UUID.
func (a *App) called(b branch) string {
	noun := b.Type
	if t := a.doc.ByName(b.Type); t != nil && t.Noun != "" {
		noun = t.Noun
	}
	if b.Name == "" {
		return render.Safe(noun + " " + b.UUID)
	}
	return render.Safe(noun + " " + b.Name + " (" + b.UUID + ")")
}

// confirm asks before something is taken away, and shows what goes with it.
// Without a person to ask, only --yes will do.
func (a *App) confirm(ctx context.Context, c *client.Client, r verbRun, uuids []string) error {
	what := r.what(strings.Join(r.objects, ", "))
	if !a.Terminal {
		return errs.New(errs.Refused, what, "there is no terminal to ask on").WithAdvice("add --yes when you mean it")
	}
	if r.action.Plan {
		for i, uuid := range uuids {
			_, p, err := a.readPlan(ctx, c, r, uuid)
			if err != nil {
				return wrap("plan: "+r.what(r.objects[i]), err)
			}
			if len(p.Children) > 0 || len(p.Objections) > 0 {
				a.writePlan(a.Err, p)
			}
		}
	}
	fmt.Fprintf(a.Err, "%s? [y/N] ", render.Safe(what))
	answer, err := bufio.NewReader(a.In).ReadString('\n')
	if err != nil && answer == "" {
		return errs.Wrap(errs.Refused, what, err, "no answer")
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errs.New(errs.Cancelled, what, "not done, as you said")
}

// progress tells a person that, and how long, a job is waited for, and how far it
// is if percent is given. The function returned ends the line.
func (a *App) progress(what string, percent func() int64) (stop func()) {
	if !a.Terminal {
		return func() {}
	}
	what = render.Safe(what)
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
