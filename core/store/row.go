package store

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strconv"
	"sync"
)

// value is an encoded argument or a column of an answer: nil, int64, float64,
// string or []byte.
type value = any

// Row is one row of an answer, valid during the callback that gets it. Text
// may be a string or bytes that the next row overwrites; Text copies it.
type Row struct {
	Columns []string
	Values  []driver.Value
}

// Null reports whether column i is NULL.
func (r *Row) Null(i int) bool { return r.Values[i] == nil }

// Text returns column i as text, "" for NULL.
func (r *Row) Text(i int) string {
	switch v := r.Values[i].(type) {
	case nil:
		return ""
	case string:
		return v
	case []byte:
		return string(v)
	default:
		return fmt.Sprint(v)
	}
}

// Int returns column i as a number, 0 for NULL and for what is no number.
func (r *Row) Int(i int) int64 {
	n, _ := toInt(r.Values[i]) // documented: 0
	return n
}

func toInt(v value) (int64, error) {
	switch v := v.(type) {
	case nil:
		return 0, nil
	case int64:
		return v, nil
	case float64:
		return int64(v), nil
	case string:
		return parseInt(v)
	case []byte:
		return parseInt(string(v))
	case float32:
		return int64(v), nil
	case uint64:
		return int64(v), nil
	}
	return 0, fmt.Errorf("%T is not a number", v)
}

// parseInt reads a number; sums of MySQL arrive as decimals without fraction.
func parseInt(s string) (int64, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	return int64(f), nil
}

// holder receives the rows of one query. It is used again by later ones, so
// that a row costs no allocation beside those of the driver.
type holder struct {
	row    Row
	values []driver.Value // of one row or several
	cells  []any          // of *cell, the destinations of Scan
	text   []byte
}

// room returns the place of row n.
func (h *holder) room(n, width int) []driver.Value {
	for len(h.values) < (n+1)*width {
		h.values = append(h.values, nil)
	}
	return h.values[n*width : (n+1)*width]
}

// cell receives one column. sql.RawBytes would turn numbers into text, and
// *any would copy every text into memory of its own.
type cell struct {
	h *holder
	i int
}

// Scan implements sql.Scanner. The driver may overwrite its bytes as soon as
// the context of the query ends, so that they are copied.
func (c *cell) Scan(v any) error {
	if b, ok := v.([]byte); ok {
		at := len(c.h.text)
		c.h.text = append(c.h.text, b...)
		v = c.h.text[at:len(c.h.text):len(c.h.text)]
	}
	c.h.row.Values[c.i] = v
	return nil
}

var holders = sync.Pool{New: func() any { return new(holder) }}

// maxHeld bounds the memory that an idle holder keeps.
const maxHeld = 64 << 10

// free gives the holder back without what it holds.
func (h *holder) free() {
	clear(h.values)
	h.values, h.row = h.values[:0], Row{}
	if cap(h.text) > maxHeld {
		h.text = nil
	}
	holders.Put(h)
}

// each calls fn for every row of an answer and closes it.
func each(rows *sql.Rows, fn func(*Row) error) (err error) {
	defer func() {
		if cerr := rows.Close(); err == nil {
			err = cerr
		}
	}()
	h := holders.Get().(*holder)
	defer h.free()
	if h.row.Columns, err = rows.Columns(); err != nil {
		return err
	}
	n := len(h.row.Columns)
	h.row.Values = h.room(0, n)
	for len(h.cells) < n {
		h.cells = append(h.cells, &cell{h, len(h.cells)})
	}
	for rows.Next() {
		h.text = h.text[:0]
		if err := rows.Scan(h.cells[:n]...); err != nil {
			return err
		}
		if err := fn(&h.row); err != nil {
			return err
		}
	}
	return rows.Err()
}
