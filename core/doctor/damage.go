package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

// This file finds rows that cannot be read, or that belong to what is gone: what a
// person with another program, a bad disk or a half restored backup has left.

// lookForDamage finds, in rows of a type, numbers that are none or out of their
// range, texts that are none, and secrets that cannot be opened. Other databases
// than SQLite keep values of other kinds out of a column by themselves.
func lookForDamage(ctx context.Context, q store.Querier, t *resource.Type, found func(Misfit) error) error {
	lite := q.Dialect() == schemasql.SQLite
	var fields []*resource.Field
	columns, where := []string{"`uuid`"}, []string{}
	for i := range t.Fields {
		f := &t.Fields[i]
		column := "`" + f.Name + "`"
		text := f.Kind == resource.String || f.Kind == resource.Text
		conds := []string{}
		switch {
		case f.Sealed():
			conds = append(conds, column+" IS NOT NULL")
		case lite && text:
			conds = append(conds, "typeof("+column+") = 'blob'")
		case lite:
			conds = append(conds, "typeof("+column+") IN ('text', 'blob')")
		}
		if f.Range != nil {
			conds = append(conds, fmt.Sprintf("%s < %d OR %s > %d", column, f.Range[0], column, f.Range[1]))
		}
		if len(conds) > 0 {
			fields, columns, where = append(fields, f), append(columns, column), append(where, conds...)
		}
	}
	if len(where) == 0 {
		return nil
	}
	return q.Each(ctx, "SELECT "+strings.Join(columns, ", ")+" FROM `"+t.Name+"` WHERE "+strings.Join(where, " OR ")+" ORDER BY `uuid`", nil, func(r *store.Row) error {
		for i, f := range fields {
			m := Misfit{Type: t.Name, UUID: r.Text(0), Field: f.Name, Value: r.Text(i + 1)}
			if f.Secret {
				m.Value = ""
			}
			if m.Why = damage(q, t, f, r, i+1); m.Why == "" {
				continue
			}
			if err := found(m); err != nil {
				return err
			}
		}
		return nil
	})
}

// damage says why a column of a row cannot be what its field holds, "" when it can.
func damage(q store.Querier, t *resource.Type, f *resource.Field, r *store.Row, i int) string {
	if r.Null(i) {
		return ""
	}
	if f.Sealed() {
		if _, err := store.Secret(q, t, f.Name, r.Text(i)); errors.Is(err, store.ErrDamaged) {
			return err.Error()
		}
		return ""
	}
	_, blob := r.Values[i].([]byte)
	if f.Kind == resource.String || f.Kind == resource.Text {
		if blob && q.Dialect() == schemasql.SQLite {
			return "it is no text, but bytes"
		}
		return ""
	}
	if _, text := r.Values[i].(string); (text || blob) && q.Dialect() == schemasql.SQLite {
		return fmt.Sprintf("%.80q is no number", r.Text(i))
	}
	if n := r.Int(i); f.Range != nil && (n < f.Range[0] || n > f.Range[1]) {
		return fmt.Sprintf("%d is not from %d to %d", n, f.Range[0], f.Range[1])
	}
	return ""
}

// lookForOrphans finds rows of a type whose deletion would have been part of that of
// what they belong to, and that is gone.
func lookForOrphans(ctx context.Context, q store.Querier, t *resource.Type, there map[string]bool, found func(Misfit) error) error {
	for _, e := range t.Edges {
		if e.OnDelete != resource.Cascade || e.Column == "uuid" || e.ToColumn != "" && e.ToColumn != "uuid" || !there[e.To] {
			continue
		}
		query := fmt.Sprintf("SELECT t.`uuid`, t.`%[1]s` FROM `%[2]s` t WHERE t.`%[1]s` <> '' AND NOT EXISTS (SELECT 1 FROM `%[3]s` o WHERE o.`uuid` = t.`%[1]s`) ORDER BY t.`uuid`",
			e.Column, t.Name, e.To)
		err := q.Each(ctx, query, nil, func(r *store.Row) error {
			return found(Misfit{t.Name, r.Text(0), e.Column, r.Text(1), "there is no such " + e.To + ", to which the row belongs"})
		})
		if err != nil {
			return err
		}
	}
	return nil
}
