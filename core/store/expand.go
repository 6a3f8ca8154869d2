package store

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/jmoiron/sqlx"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

// maxList bounds the values of all IN lists of one statement; both databases
// take more, SQLite 32766 in all.
const maxList = 30000

// prepareArgs encodes arguments, and has sqlx.In expand slices for IN (?). A
// list is padded with its last value to a power of two, so that lists of any
// length need few prepared statements; an empty one, which sqlx refuses,
// becomes an empty subquery, since NOT IN (NULL) would never be true.
func (s *Store) prepareArgs(query string, args []any) (string, []value, error) {
	values := make([]value, 0, len(args))
	masked, lists := "", false
	for i, a := range args {
		list, ok := listOf(a)
		if !ok {
			v, err := toValue(a)
			if err != nil {
				return "", nil, errs.Wrap(errs.Internal, fmt.Sprintf("argument %d", i+1), err, "%.60q", query)
			}
			values = append(values, v)
			continue
		}
		if masked == "" {
			masked = mask(query)
		}
		if list.Len() == 0 {
			masked = s.without(masked, len(values))
			continue
		}
		padded, err := pad(list)
		if err != nil {
			return "", nil, errs.Wrap(errs.Internal, fmt.Sprintf("argument %d", i+1), err, "%.60q", query)
		}
		values, lists = append(values, padded), true
	}
	if masked == "" {
		return query, values, nil
	}
	if lists {
		var err error
		if masked, values, err = sqlx.In(masked, values...); err != nil {
			return "", nil, errs.Wrap(errs.Internal, "statement", err, "%.60q", query)
		}
	}
	return strings.ReplaceAll(masked, masks, "?"), values, nil
}

// masks stands for a "?" inside of quotes, which sqlx.In would count.
const masks = "\x00"

// mask replaces the question marks that are inside of quotes.
func mask(query string) string {
	var quote byte
	var b []byte
	for i := range len(query) {
		switch c := query[i]; {
		case quote == 0 && (c == '\'' || c == '"' || c == '`'):
			quote = c
		case c == quote:
			quote = 0
		case c == '?' && quote != 0:
			if b == nil {
				b = []byte(query)
			}
			b[i] = masks[0]
		}
	}
	if b == nil {
		return query
	}
	return string(b)
}

// without replaces the n-th placeholder by a subquery without rows.
func (s *Store) without(masked string, n int) string {
	nothing := "SELECT NULL WHERE 0"
	if s.dialect == schemasql.MySQL {
		nothing = "SELECT NULL FROM DUAL WHERE FALSE"
	}
	at := 0
	for ; ; n-- {
		next := strings.IndexByte(masked[at:], '?')
		if next < 0 {
			return masked // the database counts the arguments
		}
		at += next
		if n == 0 {
			return masked[:at] + nothing + masked[at+1:]
		}
		at++
	}
}

// pad encodes a list and pads it.
func pad(list reflect.Value) ([]any, error) {
	n := list.Len()
	if n > maxList {
		return nil, fmt.Errorf("a list of %d values is longer than %d; split it", n, maxList)
	}
	padded := 1
	for padded < n {
		padded *= 2
	}
	if padded > maxList {
		padded = n
	}
	values := make([]any, padded)
	for i := range n {
		v, err := toValue(list.Index(i).Interface())
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	for i := n; i < padded; i++ {
		values[i] = values[n-1]
	}
	return values, nil
}

// listOf reports whether an argument is a list, which []byte is not.
func listOf(a any) (reflect.Value, bool) {
	switch a.(type) {
	case nil, string, int, int64, bool, []byte:
		return reflect.Value{}, false
	}
	rv := reflect.ValueOf(a)
	return rv, rv.Kind() == reflect.Slice && rv.Type().Elem().Kind() != reflect.Uint8
}
