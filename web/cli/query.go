package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/web/cli/catalog"
	"github.com/kumo-cloud/kumo/web/cli/client"
	"github.com/kumo-cloud/kumo/web/cli/render"
)

func (a *App) queryCommand() *cobra.Command {
	var q client.Query
	c := &cobra.Command{
		Use:   "query TYPE [CONDITION...]",
		Short: "Query any resource type, across its relations",
		Long: "Conditions are joined by AND. Operators: = != > >= < <= ?= (in) !?= ~= (like) !~= 'is null' 'not null'.\n" +
			"A field of a related resource is written with dots.",
		Example: "  kumo query VmInstance 'vmNics.ip=172.30.0.10'\n" +
			"  kumo query VmInstance state=Running 'host.managementIp~=10.%' --fields name,uuid --sort -createDate --limit 20\n" +
			"  kumo query Image --count",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errs.New(errs.Invalid, cmd.CommandPath(), "the type is missing").WithAdvice("see %s --help", cmd.CommandPath())
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var types []cobra.Completion
			for _, n := range catalog.Nouns {
				if len(args) == 0 {
					types = append(types, n.Type)
				}
			}
			return types, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Conditions = args[1:]
			path, columns, err := a.typeOf(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.query(cmd, path, columns, q)
		},
	}
	queryFlags(c, &q)
	return c
}

// query runs a query and prints its page.
func (a *App) query(cmd *cobra.Command, path string, columns []render.Column, q client.Query) error {
	f, err := a.format()
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	page, err := c.Query(cmd.Context(), path, q)
	if err != nil {
		return wrap(cmd.CommandPath(), err)
	}
	if q.Count {
		if f == render.Table {
			fmt.Fprintln(a.Out, page.Total)
			return nil
		}
		return render.Raw(a.Out, f, fmt.Appendf(nil, `{"total":%d}`, page.Total))
	}
	if len(q.Fields) > 0 {
		columns = nil
		for _, field := range q.Fields {
			columns = append(columns, render.Column{Title: strings.ToUpper(field), Path: field})
		}
	}
	if columns == nil && f == render.Table {
		columns = render.Columns(page.Inventories)
	}
	return render.List(a.Out, f, columns, page.Inventories)
}

// typeOf finds where a type is queried, and the columns of its table (nil: those
// that the answer suggests): in the catalogue, else in the server's
// own description, which knows the types of all plugins.
func (a *App) typeOf(ctx context.Context, name string) (string, []render.Column, error) {
	if n, ok := catalog.Find(name); ok {
		return n.Path, columnsOf(n), nil
	}
	c, err := client.New(a.server)
	if err != nil {
		return "", nil, err
	}
	body, err := c.Do(ctx, client.Call{Method: http.MethodGet, Path: "/openapi.json"})
	if err != nil {
		return "", nil, wrap("type "+name, err)
	}
	path, ok := queryPath(body, name)
	if !ok {
		return "", nil, errs.New(errs.NotFound, "type "+name, "the server has no query for it").
			WithAdvice("see %s/zstack/v1/openapi.json for those it has", c.Server)
	}
	return path, nil, nil
}

// queryPath finds the path of the operation that queries a type: the one whose
// ID holds Query<Type>.
func queryPath(openapi json.RawMessage, name string) (string, bool) {
	var doc struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(openapi, &doc); err != nil {
		return "", false
	}
	for path, methods := range doc.Paths {
		id := client.Text(methods["get"], "operationId")
		id = strings.TrimSuffix(strings.TrimPrefix(id, "API"), "Msg")
		if strings.EqualFold(id, "Query"+name) && !strings.Contains(path, "{") {
			return strings.TrimPrefix(path, "/zstack/v1"), true
		}
	}
	return "", false
}
