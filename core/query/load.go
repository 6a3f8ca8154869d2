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
	if st.many || st.sort != "" {
		query = pickedPage(r, root, st)
	}
	args := append(append(append(make([]any, 0, len(r.args)+len(st.args)+2), r.args...), st.args...), limit, start)
	return read(ctx, db, r, query, args)
}

// some reads the rows of uuids, as far as there are any, in no order.
func (e *Engine) some(ctx context.Context, db store.Querier, t *resource.Type, uuids []string) (*answer, error) {
	root := e.reg.Root(t)
	r, err := e.renderingOf(root, nil)
	if err != nil {
		return nil, err
	}
	where, args := "IN (?)", append(r.args[:len(r.args):len(r.args)], any(uuids))
	if len(uuids) == 1 {
		where, args[len(r.args)] = "= ?", uuids[0]
	}
	return read(ctx, db, r, "SELECT "+r.sql+" FROM `"+root.Name+"` t0 WHERE t0.`uuid` "+where, args)
}

// pickedPage picks the page's uuids first, so that only these are compared to make
// rows distinct, and no inventory is made of a row that is only sorted or skipped.
func pickedPage(r *rendering, root *resource.Type, st statement) string {
	inner, outer := "SELECT t0.`uuid` AS u", ""
	if st.many {
		inner = "SELECT DISTINCT t0.`uuid` AS u"
	}
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
	uuids       []string // of the rows
}

// read runs a query with the columns of a rendering.
func read(ctx context.Context, db store.Querier, r *rendering, query string, args []any) (*answer, error) {
	found := &answer{inventories: []json.RawMessage{}}
	if len(r.branches) > 0 {
		return found, readApart(ctx, db, r, query, args, found)
	}
	var texts columns
	err := db.Each(ctx, query, args, func(row *store.Row) error {
		texts = textsOf(row, 1, texts[:0])
		return found.add(r.shape, row.Text(0), texts, nil)
	})
	return found, err
}

// textsOf appends the columns of a row from number i on.
func textsOf(row *store.Row, i int, texts columns) columns {
	for ; i < len(row.Values); i++ {
		text := row.Text(i)
		if !utf8.ValidString(text) { // SQLite stores what it is given
			text = strings.ToValidUTF8(text, "\ufffd")
		}
		texts = append(texts, text)
	}
	return texts
}

// add renders one more row.
func (a *answer) add(s *shape, uuid string, texts columns, c children) error {
	o, text, err := renderRow(s, uuid, texts, c)
	if err != nil {
		return err
	}
	a.objects, a.inventories, a.uuids = append(a.objects, o), append(a.inventories, text), append(a.uuids, uuid)
	return nil
}

// together is for how many rows one statement reads all lists: as many as a
// usual page has.
const together = 1000

// readApart reads rows, and then their lists.
func readApart(ctx context.Context, db store.Querier, r *rendering, query string, args []any, found *answer) error {
	var uuids []string
	var rows []columns
	err := db.Each(ctx, query, args, func(row *store.Row) error {
		uuids, rows = append(uuids, row.Text(0)), append(rows, textsOf(row, 1, make(columns, 0, len(row.Values)-1)))
		return nil
	})
	for from := 0; err == nil && from < len(rows); from += together {
		to := min(from+together, len(rows))
		var c children
		if c, err = readChildren(ctx, db, r.branches, uuids[from:to]); err != nil {
			return err
		}
		for i := from; err == nil && i < to; i++ {
			err = found.add(r.shape, uuids[i], rows[i], c)
			rows[i] = nil // a page may be large
		}
	}
	return err
}

// readChildren reads all lists of rows.
func readChildren(ctx context.Context, db store.Querier, branches []branch, uuids []string) (children, error) {
	selects := make([]string, len(branches))
	var args []any
	for i, b := range branches {
		selects[i] = b.sql
		args = append(append(args, b.args...), uuids)
	}
	c := children{}
	err := db.Each(ctx, strings.Join(selects, " UNION ALL "), args, func(row *store.Row) error {
		key := childrenKey{int(row.Int(0)), row.Text(1)}
		c[key] = append(c[key], row.Text(2))
		return nil
	})
	return c, err
}
