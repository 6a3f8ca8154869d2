package store

import (
	"context"
	"strings"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// InsertValues stores a new row of a type that has no Go struct, such as a
// plugin's. Fields that are not named get their default, or zero; unknown names
// and values that do not fit give errs.Invalid, a clash errs.Exists. The dates
// are set.
func InsertValues(ctx context.Context, tx *Tx, t *resource.Type, values map[string]any) error {
	uuid, _ := values["uuid"].(string)
	if uuid == "" {
		return errs.New(errs.Internal, t.Name, "a new row has no uuid")
	}
	for name := range values {
		if _, ok := t.Field(name); !ok {
			return errs.New(errs.Invalid, t.Name+" "+uuid, "it has no field %q", name)
		}
	}
	now := resource.Now()
	var names []string
	var args []value
	for i := range t.Fields {
		f := &t.Fields[i]
		v, given := values[f.Name]
		switch {
		case f.Name == "lastOpDate", f.Name == "createDate" && !given:
			v = now
		case !given && f.Default != "":
			continue // the database's default
		}
		ev, err := encode(f, v)
		if err != nil {
			return errs.Wrap(errs.Invalid, t.Name+" "+uuid, err, "")
		}
		names, args = append(names, "`"+f.Name+"`"), append(args, ev)
	}
	query := "INSERT INTO `" + t.Name + "` (" + strings.Join(names, ", ") + ") VALUES (" + strings.Repeat("?, ", len(names)-1) + "?)"
	_, err := tx.exec(ctx, query, args)
	return named(err, t, uuid)
}

// GetValues returns a row by column name, secrets included: string, int64,
// float64, bool, resource.Time, and nil for NULL. A missing row gives
// errs.NotFound.
func GetValues(ctx context.Context, q Querier, t *resource.Type, uuid string) (map[string]any, error) {
	rows, err := findValues(ctx, q, t, planOf(t).byUUID, []any{uuid})
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, missing(t, uuid)
	}
	return rows[0], nil
}

func findValues(ctx context.Context, q Querier, t *resource.Type, query string, args []any) (rows []map[string]any, err error) {
	err = q.Each(ctx, query, args, func(r *Row) error {
		row := make(map[string]any, len(t.Fields))
		for i := range t.Fields {
			v, err := plain(t.Fields[i].Kind, r, i)
			if err == nil {
				v, err = opened(q, t, &t.Fields[i], v)
			}
			if err != nil {
				return errs.Wrap(errs.Internal, t.Name+" "+r.Text(0), err, "field %s does not fit its declaration", t.Fields[i].Name)
			}
			row[t.Fields[i].Name] = v
		}
		rows = append(rows, row)
		return nil
	})
	return rows, err
}

func plain(kind resource.Kind, r *Row, i int) (any, error) {
	if r.Null(i) {
		return nil, nil
	}
	switch kind {
	case resource.String, resource.Text:
		return r.Text(i), nil
	case resource.Double:
		return toFloat(r.Values[i])
	}
	n, err := toInt(r.Values[i])
	switch kind {
	case resource.Bool:
		return n != 0, err
	case resource.TimeKind:
		return resource.UnixMilli(n), err
	}
	return n, err
}
