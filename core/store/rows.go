package store

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/sql"
)

// plan is the SQL of a type, made once.
type plan struct {
	selectAll string // SELECT `uuid`, ... FROM `T`
	byUUID    string
	insert    string // INSERT INTO `T` (...) VALUES
	tuple     string // (?, ...)
	inserts   sync.Map
	created   bool
	updated   bool
}

var plans sync.Map // *resource.Type: *plan

func planOf(t *resource.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	names := make([]string, len(t.Fields))
	for i := range t.Fields {
		names[i] = "`" + t.Fields[i].Name + "`"
	}
	columns := strings.Join(names, ", ")
	p := &plan{
		selectAll: "SELECT " + columns + " FROM `" + t.Name + "`",
		insert:    "INSERT INTO `" + t.Name + "` (" + columns + ") VALUES ",
		tuple:     "(" + strings.Repeat("?, ", len(names)-1) + "?)",
	}
	p.byUUID = p.selectAll + " WHERE `uuid` = ?"
	_, p.created = t.Field("createDate")
	_, p.updated = t.Field("lastOpDate")
	actual, _ := plans.LoadOrStore(t, p)
	return actual.(*plan)
}

func (p *plan) insertOf(rows int) string {
	if q, ok := p.inserts.Load(rows); ok {
		return q.(string)
	}
	q := p.insert + strings.Repeat(p.tuple+", ", rows-1) + p.tuple
	p.inserts.Store(rows, q)
	return q
}

func missing(t *resource.Type, uuid string) error {
	return errs.New(errs.NotFound, t.Name+" "+uuid, "there is no such row")
}

// Get returns the row of a uuid, or errs.NotFound.
func Get[T any](ctx context.Context, q Querier, t *resource.Typed[T], uuid string) (*T, error) {
	var row *T
	err := q.each(ctx, true, planOf(t.Type).byUUID, []value{uuid}, func(r *Row) (err error) {
		row, err = decode(q, t, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	if row == nil {
		return nil, missing(t.Type, uuid)
	}
	return row, nil
}

// ErrDamaged is in the errors of rows that cannot be read, because a value does not
// fit its declaration or a secret cannot be opened: what an older version, or a
// person with another program, has left. It is about the one row.
var ErrDamaged = errors.New("the stored row does not fit its declaration")

func decode[T any](q Querier, t *resource.Typed[T], r *Row) (*T, error) {
	row := new(T)
	rv := reflect.ValueOf(row).Elem()
	for i, col := range t.Columns() {
		v, err := opened(q, t.Type, col.Field, r.Values[i])
		if err == nil {
			err = decodeColumn(col, rv, v)
		}
		if err != nil {
			return nil, errs.Wrap(errs.Internal, t.Name+" "+r.Text(0), fmt.Errorf("%w: %s: %w", ErrDamaged, col.Field.Name, err), "").
				WithAdvice("kumo doctor lists such rows; restore the row's values from a backup")
		}
	}
	return row, nil
}

// opened returns a column as its declaration means it.
func opened(q Querier, t *resource.Type, f *resource.Field, v value) (value, error) {
	if !f.Sealed() || v == nil {
		return v, nil
	}
	switch text := v.(type) {
	case string:
		return Secret(q, t, f.Name, text)
	case []byte:
		return Secret(q, t, f.Name, string(text))
	}
	return v, nil
}

// Find returns the rows for which an SQL condition holds; "" means all. The
// condition may end with ORDER BY and LIMIT, or be only these. Slices in args
// expand for IN (?).
func Find[T any](ctx context.Context, q Querier, t *resource.Typed[T], where string, args ...any) ([]*T, error) {
	return Sound(ctx, q, t, nil, where, args...)
}

// Sound is Find without the rows that are damaged, of which broken is told with
// their uuids: they cost the others nothing. Without broken they are an error.
func Sound[T any](ctx context.Context, q Querier, t *resource.Typed[T], broken func(uuid string, err error), where string, args ...any) ([]*T, error) {
	var rows []*T
	err := q.Each(ctx, planOf(t.Type).selectAll+clause(where), args, func(r *Row) error {
		row, err := decode(q, t, r)
		if broken != nil && errors.Is(err, ErrDamaged) {
			broken(r.Text(0), err)
			return nil
		}
		rows = append(rows, row)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// PassedOver makes a line of a log of what Sound tells.
func PassedOver(log hclog.Logger) func(uuid string, err error) {
	return func(uuid string, err error) {
		log.Error("a row cannot be read, and is passed over", "uuid", uuid, "error", err)
	}
}

// clause makes a WHERE of a condition, unless it is only ORDER BY or LIMIT.
func clause(where string) string {
	trimmed := strings.TrimSpace(where)
	word, _, _ := strings.Cut(trimmed, " ")
	if trimmed == "" || strings.EqualFold(word, "ORDER") || strings.EqualFold(word, "LIMIT") {
		return " " + trimmed
	}
	return " WHERE " + trimmed
}

// First returns the first row for which the condition holds, and whether
// there is one. The condition must not have a LIMIT.
func First[T any](ctx context.Context, q Querier, t *resource.Typed[T], where string, args ...any) (*T, bool, error) {
	rows, err := Find(ctx, q, t, where+" LIMIT 1", args...)
	if err != nil || len(rows) == 0 {
		return nil, false, err
	}
	return rows[0], true, nil
}

// Count returns the number of rows for which the condition holds.
func Count(ctx context.Context, q Querier, t *resource.Type, where string, args ...any) (n int64, err error) {
	err = q.Each(ctx, "SELECT count(*) FROM `"+t.Name+"`"+clause(where), args, func(r *Row) error {
		n = r.Int(0)
		return nil
	})
	return n, err
}

// Texts returns the first column of all rows of a SELECT as text.
func Texts(ctx context.Context, q Querier, query string, args ...any) ([]string, error) {
	var out []string
	err := q.Each(ctx, query, args, func(r *Row) error {
		out = append(out, r.Text(0))
		return nil
	})
	return out, err
}

// largestInsert bounds the rows of one INSERT. Sizes are powers of two, so
// that seven prepared statements serve every number of rows.
const largestInsert = 64

// Insert stores new rows and sets their createDate, when it is zero, and
// lastOpDate. A uuid or unique value that exists gives errs.Exists; a value
// that does not fit its field gives errs.Invalid.
func Insert[T any](ctx context.Context, tx *Tx, t *resource.Typed[T], rows ...*T) error {
	p, now := planOf(t.Type), resource.Now()
	for len(rows) > 0 {
		n := largestInsert
		for n > len(rows) || n > 1 && n*len(t.Fields) > maxList {
			n /= 2
		}
		args := make([]value, 0, n*len(t.Fields))
		var err error
		for _, row := range rows[:n] {
			if args, err = appendRow(args, t, row, now); err != nil {
				return err
			}
		}
		if _, err := tx.exec(ctx, p.insertOf(n), args); err != nil {
			return named(err, t.Type, firstUUID(t, rows[:n]))
		}
		rows = rows[n:]
	}
	return nil
}

func appendRow[T any](args []value, t *resource.Typed[T], row *T, now resource.Time) ([]value, error) {
	rv := reflect.ValueOf(row).Elem()
	stamp(t, rv, now, true)
	for _, col := range t.Columns() {
		v, err := encodeColumn(col, rv)
		if err != nil {
			return nil, errs.Wrap(errs.Invalid, t.Name+" "+firstUUID(t, []*T{row}), err, "")
		}
		if col.Field.Name == "uuid" && v == "" {
			return nil, errs.New(errs.Internal, t.Name, "a new row has no uuid")
		}
		args = append(args, v)
	}
	return args, nil
}

// stamp sets the dates of a row that is written.
func stamp[T any](t *resource.Typed[T], rv reflect.Value, now resource.Time, created bool) {
	for _, col := range t.Columns() {
		if col.Field.Kind != resource.TimeKind || col.Pointer {
			continue
		}
		switch f := rv.FieldByIndex(col.Path); {
		case col.Field.Name == "lastOpDate", col.Field.Name == "createDate" && created && f.Interface().(resource.Time).IsZero():
			f.Set(reflect.ValueOf(now))
		}
	}
}

func firstUUID[T any](t *resource.Typed[T], rows []*T) string {
	for _, col := range t.Columns() {
		if col.Field.Name == "uuid" {
			return reflect.ValueOf(rows[0]).Elem().FieldByIndex(col.Path).String()
		}
	}
	return ""
}

// named puts the object's name into an error that speaks of a row.
func named(err error, t *resource.Type, uuid string) error {
	if e, ok := err.(*errs.Error); ok && e.Object == "row" {
		e.Object = t.Name + " " + uuid
	}
	return err
}

// Save writes the named columns of a row, or all except uuid and createDate
// when none is named, and sets lastOpDate. It gives errs.NotFound when there
// is no such row.
func Save[T any](ctx context.Context, tx *Tx, t *resource.Typed[T], row *T, columns ...string) error {
	p, rv := planOf(t.Type), reflect.ValueOf(row).Elem()
	uuid := firstUUID(t, []*T{row})
	stamp(t, rv, resource.Now(), false)
	if len(columns) > 0 && p.updated {
		columns = append(columns[:len(columns):len(columns)], "lastOpDate")
	}
	var set []string
	var args []value
	for _, col := range t.Columns() {
		if !chosen(col.Field.Name, columns) {
			continue
		}
		v, err := encodeColumn(col, rv)
		if err != nil {
			return errs.Wrap(errs.Invalid, t.Name+" "+uuid, err, "")
		}
		set = append(set, "`"+col.Field.Name+"` = ?")
		args = append(args, v)
	}
	for _, name := range columns {
		if _, ok := t.Field(name); !ok {
			return errs.New(errs.Internal, t.Name, "it has no field %q to save", name)
		}
	}
	return update(ctx, tx, t.Type, uuid, set, args)
}

func chosen(name string, columns []string) bool {
	if len(columns) == 0 {
		return name != "uuid" && name != "createDate"
	}
	for _, c := range columns {
		if c == name {
			return true
		}
	}
	return false
}

func update(ctx context.Context, tx *Tx, t *resource.Type, uuid string, set []string, args []value) error {
	if len(set) == 0 {
		return errs.New(errs.Internal, t.Name+" "+uuid, "no column to write was named")
	}
	n, err := tx.exec(ctx, "UPDATE `"+t.Name+"` SET "+strings.Join(set, ", ")+" WHERE `uuid` = ?", append(args, uuid))
	if err != nil {
		return named(err, t, uuid)
	}
	if n == 0 {
		return missing(t, uuid)
	}
	return nil
}

// Set writes some columns of a row by name, and lastOpDate. The value nil,
// and zero in a nullable field, clear the column. It gives errs.NotFound when
// there is no such row, errs.Invalid when a value does not fit.
func Set(ctx context.Context, tx *Tx, t *resource.Type, uuid string, values map[string]any) error {
	var set []string
	var args []value
	for i := range t.Fields { // in order of declaration: one text for one set of names
		f := &t.Fields[i]
		v, ok := values[f.Name]
		if !ok && f.Name != "lastOpDate" {
			continue
		}
		if !ok {
			v = resource.Now()
		}
		ev, err := encode(f, v)
		if err != nil {
			return errs.Wrap(errs.Invalid, t.Name+" "+uuid, err, "")
		}
		set = append(set, "`"+f.Name+"` = ?")
		args = append(args, ev)
	}
	for name := range values {
		if _, ok := t.Field(name); !ok || name == "uuid" {
			return errs.New(errs.Internal, t.Name+" "+uuid, "field %q cannot be set", name)
		}
	}
	return update(ctx, tx, t, uuid, set, args)
}

// Hold makes sure that a row stays until the transaction ends: who deletes it
// waits, and sees what the transaction has added to it. Errors: NotFound.
func Hold(ctx context.Context, tx *Tx, t *resource.Type, uuid string) error {
	query := "SELECT `uuid` FROM `" + t.Name + "` WHERE `uuid` = ?"
	if tx.Dialect() == sql.MySQL {
		query += " LOCK IN SHARE MODE"
	}
	found, err := Texts(ctx, tx, query, uuid)
	if err == nil && len(found) == 0 {
		err = errs.New(errs.NotFound, t.Name+" "+uuid, "it does not exist")
	}
	return err
}

// Delete removes a row; that it is gone already is success.
func Delete(ctx context.Context, tx *Tx, t *resource.Type, uuid string) error {
	_, err := tx.exec(ctx, "DELETE FROM `"+t.Name+"` WHERE `uuid` = ?", []value{uuid})
	if err != nil {
		return fmt.Errorf("delete %s %s: %w", t.Name, uuid, err)
	}
	return nil
}
