// Package doctor finds rows that older versions wrote and that break a rule of
// today: values that are not of their field's kind, or none of its legal ones, or
// texts of people in other characters than they are kept in. It
// changes nothing, and a row that it finds stops nothing. Of tags and settings, whose
// rules are no field's, their services tell the same (tag.Service.Look,
// config.Service.Look). It must not import the services.
package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

// Misfit is a value that breaks a rule.
type Misfit struct {
	Type  string `json:"type"`
	UUID  string `json:"uuid"`
	Field string `json:"field"`
	Value string `json:"value"`
	// Why says what is wrong with the value, and where the rule is from.
	Why string `json:"why"`
}

// rule is what a text field must be.
type rule struct {
	field *resource.Field
	kind  kinds.Kind
	prose bool
}

// Look reads all rows of types that have fields with rules, and calls found for
// each value that breaks one; an error of found ends it. Empty values break none, and
// of secrets it tells those that cannot be opened, without what is stored.
func Look(ctx context.Context, q store.Querier, types []*resource.Type, found func(Misfit) error) error {
	there := map[string]bool{}
	for _, t := range types {
		there[t.Name] = true
	}
	for _, t := range types {
		if err := lookForDamage(ctx, q, t, found); err != nil {
			return err
		}
		if err := lookForOrphans(ctx, q, t, there, found); err != nil {
			return err
		}
		rules := rulesOf(t)
		if len(rules) == 0 {
			continue
		}
		columns, where := []string{"`uuid`"}, []string{}
		for _, r := range rules {
			column := "`" + r.field.Name + "`"
			columns = append(columns, column)
			if r.prose && where != nil {
				where = append(where, q.Dialect().BeyondASCII(column))
			} else {
				where = nil // every row is looked at
			}
		}
		of := ""
		if where != nil {
			of = " WHERE " + strings.Join(where, " OR ")
		}
		err := q.Each(ctx, "SELECT "+strings.Join(columns, ", ")+" FROM `"+t.Name+"`"+of+" ORDER BY `uuid`", nil, func(row *store.Row) error {
			for i, r := range rules {
				text := row.Text(i + 1)
				if why := r.broken(text); text != "" && why != "" {
					if err := found(Misfit{t.Name, row.Text(0), r.field.Name, text, why}); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func rulesOf(t *resource.Type) (rules []rule) {
	for i := range t.Fields {
		f := &t.Fields[i]
		k, holds := kinds.Of(f.Holds)
		bound := holds || len(f.Values) > 0
		if (bound || resource.IsProse(f.Name)) && !f.Secret && (f.Kind == resource.String || f.Kind == resource.Text) {
			rules = append(rules, rule{f, k, !bound})
		}
	}
	return rules
}

// broken says how a value breaks the rule, "" when it does not.
func (r rule) broken(text string) string {
	if r.prose {
		if schemasql.Compose(text) != text {
			return fmt.Sprintf("%.80q is not composed (Unicode Annex 15, NFC), so nobody finds it; write it again", text)
		}
		return ""
	}
	if len(r.field.Values) > 0 && !slices.Contains(r.field.Values, text) {
		return fmt.Sprintf("%.80q is not one of %s", text, strings.Join(r.field.Values, ", "))
	}
	if r.kind.Name == "" {
		return ""
	}
	spelling, err := r.kind.Parse(text)
	switch {
	case err != nil:
		return err.Error()
	case spelling != text:
		return fmt.Sprintf("%.80q is spelled %q today", text, spelling)
	}
	return ""
}
