package query

import (
	"context"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
)

// page reads one page of a query.
func (e *Engine) page(ctx context.Context, db store.Querier, t *resource.Type, st statement, limit, start int, wanted members) (*answer, error) {
	root := e.reg.Root(t)
	r, err := e.renderingOf(root, wanted)
	if err != nil {
		return nil, err
	}
	query := "SELECT " + r.sql + st.from + st.order + " LIMIT ? OFFSET ?"
	if st.many {
		query = distinctPage(r, root, st)
	}
	args := append(append(append(make([]any, 0, len(r.args)+len(st.args)+2), r.args...), st.args...), limit, start)
	return read(ctx, db, r.shape, query, args)
}

// one reads the row of a uuid, if there is one.
func (e *Engine) one(ctx context.Context, db store.Querier, t *resource.Type, uuid string) (*answer, error) {
	root := e.reg.Root(t)
	r, err := e.renderingOf(root, nil)
	if err != nil {
		return nil, err
	}
	return read(ctx, db, r.shape, "SELECT "+r.sql+" FROM `"+root.Name+"` t0 WHERE t0.`uuid` = ?", append(r.args[:len(r.args):len(r.args)], uuid))
}

// distinctPage picks the page's uuids first, so that only these are compared
// to make rows distinct.
func distinctPage(r *rendering, root *resource.Type, st statement) string {
	inner, outer := "SELECT DISTINCT t0.`uuid` AS u", ""
	if st.sort != "" {
		inner += ", " + st.sort + " AS s"
		if st.desc {
			outer = " ORDER BY p.s DESC, p.u DESC"
		} else {
			outer = " ORDER BY p.s, p.u"
		}
	}
	return "SELECT " + r.sql + " FROM (" + inner + st.from + st.order + " LIMIT ? OFFSET ?) p JOIN `" + root.Name + "` t0 ON t0.`uuid` = p.u" + outer
}

// answer is what a query found: the inventories, and what they are.
type answer struct {
	inventories []json.RawMessage
	objects     []*object
}

// read runs a query with the columns of a shape.
func read(ctx context.Context, db store.Querier, s *shape, query string, args []any) (*answer, error) {
	found := &answer{inventories: []json.RawMessage{}}
	var texts columns
	size := 256
	err := db.Each(ctx, query, args, func(r *store.Row) error {
		texts = texts[:0]
		for i := range r.Values {
			text := r.Text(i)
			if !utf8.ValidString(text) { // SQLite stores what it is given
				text = strings.ToValidUTF8(text, "\ufffd")
			}
			texts = append(texts, text)
		}
		o, text, err := renderRow(s, texts, size)
		if err != nil {
			return err
		}
		size = len(text) + len(text)/8 // the next one is much like it
		found.objects, found.inventories = append(found.objects, o), append(found.inventories, text)
		return nil
	})
	return found, err
}
