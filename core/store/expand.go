package store

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

// maxList bounds the values of all IN lists of one statement; both databases
// take more, SQLite 32766 in all.
const maxList = 30000

// prepareArgs encodes arguments and expands slices for IN (?). A list is
// padded with its last value to a power of two, so that lists of any length
// need few prepared statements; an empty one becomes an empty subquery, since
// NOT IN (NULL) would never be true.
func (s *Store) prepareArgs(query string, args []any) (string, []value, error) {
	values := make([]value, 0, len(args))
	var b strings.Builder
	rest := query
	sliced := false
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
		if !sliced {
			sliced = true
		}
		at := placeholder(query, i)
		if at < 0 {
			return "", nil, errs.New(errs.Internal, "statement", "it has fewer than %d placeholders: %.60q", i+1, query)
		}
		b.WriteString(rest[:at-(len(query)-len(rest))])
		rest = query[at+1:]
		var err error
		if values, err = s.appendList(&b, values, list); err != nil {
			return "", nil, errs.Wrap(errs.Internal, fmt.Sprintf("argument %d", i+1), err, "%.60q", query)
		}
	}
	if !sliced {
		return query, values, nil
	}
	b.WriteString(rest)
	return b.String(), values, nil
}

func (s *Store) appendList(b *strings.Builder, values []value, list reflect.Value) ([]value, error) {
	n := list.Len()
	if n == 0 {
		if s.dialect == schemasql.MySQL {
			b.WriteString("SELECT NULL FROM DUAL WHERE FALSE")
		} else {
			b.WriteString("SELECT NULL WHERE 0")
		}
		return values, nil
	}
	if n > maxList {
		return nil, fmt.Errorf("a list of %d values is longer than %d; split it", n, maxList)
	}
	for i := range n {
		v, err := toValue(list.Index(i).Interface())
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	padded := 1
	for padded < n {
		padded *= 2
	}
	if padded > maxList {
		padded = n
	}
	for range padded - n {
		values = append(values, values[len(values)-1])
	}
	b.WriteString(strings.Repeat("?, ", padded-1))
	b.WriteByte('?')
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

// placeholder returns where the n-th "?" is that is not inside of quotes.
func placeholder(query string, n int) int {
	var quote byte
	for i := range len(query) {
		switch c := query[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"' || c == '`':
			quote = c
		case c == '?':
			if n == 0 {
				return i
			}
			n--
		}
	}
	return -1
}
