package store

import (
	"database/sql/driver"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kumo-cloud/kumo/core/resource"
)

// encode turns a Go value into what is stored for a field: the zero value of
// a nullable field and every zero time are NULL. It refuses what MySQL would
// refuse or cut, so that both databases behave alike.
func encode(f *resource.Field, v any) (value, error) {
	if v == nil {
		return encodeNull(f)
	}
	rv := reflect.ValueOf(v)
	if rv.Kind() == reflect.Pointer {
		if rv.IsNil() {
			return encodeNull(f)
		}
		return encodePresent(f, rv.Elem())
	}
	return encodeValue(f, rv)
}

func encodeNull(f *resource.Field) (value, error) {
	if f.Null || f.Kind == resource.TimeKind {
		return nil, nil
	}
	switch f.Kind {
	case resource.String, resource.Text:
		return "", nil
	case resource.Double:
		return float64(0), nil
	}
	return int64(0), nil
}

func encodeValue(f *resource.Field, rv reflect.Value) (value, error) {
	if f.Null && rv.IsZero() {
		return nil, nil
	}
	return encodePresent(f, rv)
}

// encodePresent encodes a value for which zero is not NULL.
func encodePresent(f *resource.Field, rv reflect.Value) (value, error) {
	switch f.Kind {
	case resource.String, resource.Text:
		if rv.Kind() == reflect.String {
			return encodeText(f, rv.String())
		}
	case resource.Bool:
		if rv.Kind() == reflect.Bool {
			if rv.Bool() {
				return int64(1), nil
			}
			return int64(0), nil
		}
	case resource.TimeKind:
		switch t := rv.Interface().(type) {
		case resource.Time:
			return t.Value()
		case time.Time:
			return resource.Time{Time: t}.Value()
		}
	case resource.Double:
		if rv.CanFloat() {
			return rv.Float(), nil
		}
		if rv.CanInt() {
			return float64(rv.Int()), nil
		}
	case resource.Int, resource.Long:
		return encodeNumber(f, rv)
	}
	return nil, fmt.Errorf("%s: %s is no %s", f.Name, rv.Type(), f.Kind)
}

func encodeNumber(f *resource.Field, rv reflect.Value) (value, error) {
	var n int64
	switch {
	case rv.CanInt():
		n = rv.Int()
	case rv.CanUint() && rv.Uint() <= math.MaxInt64:
		n = int64(rv.Uint())
	case rv.CanFloat() && rv.Float() == math.Trunc(rv.Float()) && math.Abs(rv.Float()) < 1<<53:
		n = int64(rv.Float()) // decoded JSON
	default:
		return nil, fmt.Errorf("%s: %v is no whole number", f.Name, rv)
	}
	if f.Kind == resource.Int && (n < math.MinInt32 || n > math.MaxInt32) {
		return nil, fmt.Errorf("%s: %d does not fit 32 bits", f.Name, n)
	}
	return n, nil
}

// maxText is what MySQL's MEDIUMTEXT holds.
const maxText = 16<<20 - 1

func encodeText(f *resource.Field, s string) (value, error) {
	switch {
	case !utf8.ValidString(s):
		return nil, fmt.Errorf("%s: the text is not UTF-8", f.Name)
	case f.Kind == resource.Text && len(s) > maxText:
		return nil, fmt.Errorf("%s: %d bytes are more than the %d allowed", f.Name, len(s), maxText)
	case f.Kind == resource.String && len(s) > f.Size && utf8.RuneCountInString(s) > f.Size:
		return nil, fmt.Errorf("%s: %d characters are more than the %d allowed", f.Name, utf8.RuneCountInString(s), f.Size)
	}
	if len(f.Values) > 0 && s != "" {
		for _, legal := range f.Values {
			if s == legal {
				return s, nil
			}
		}
		return nil, fmt.Errorf("%s: %.60q is not one of %s", f.Name, s, strings.Join(f.Values, ", "))
	}
	return s, nil
}

// encodeColumn encodes a row's member.
func encodeColumn(col resource.Column, row reflect.Value) (value, error) {
	rv := row.FieldByIndex(col.Path)
	if col.Pointer {
		if rv.IsNil() {
			return encodeNull(col.Field)
		}
		return encodePresent(col.Field, rv.Elem())
	}
	return encodeValue(col.Field, rv)
}

// decodeColumn puts a stored value into a row's member.
func decodeColumn(col resource.Column, row reflect.Value, v value) error {
	rv := row.FieldByIndex(col.Path)
	if v == nil {
		rv.SetZero()
		return nil
	}
	if col.Pointer {
		p := reflect.New(rv.Type().Elem())
		rv.Set(p)
		rv = p.Elem()
	}
	switch col.Field.Kind {
	case resource.String, resource.Text:
		switch v := v.(type) {
		case string:
			rv.SetString(v)
		case []byte:
			rv.SetString(string(v))
		default:
			return fmt.Errorf("%T is no text", v)
		}
		return nil
	case resource.Double:
		f, err := toFloat(v)
		rv.SetFloat(f)
		return err
	}
	n, err := toInt(v)
	if err != nil {
		return err
	}
	switch col.Field.Kind {
	case resource.Bool:
		rv.SetBool(n != 0)
	case resource.TimeKind:
		rv.Set(reflect.ValueOf(resource.UnixMilli(n)))
	default:
		rv.SetInt(n)
	}
	return nil
}

func toFloat(v value) (float64, error) {
	switch v := v.(type) {
	case float64:
		return v, nil
	case float32:
		return float64(v), nil
	case int64:
		return float64(v), nil
	case string:
		return strconv.ParseFloat(v, 64)
	case []byte:
		return strconv.ParseFloat(string(v), 64)
	}
	return 0, fmt.Errorf("%T is no number", v)
}

// toValue encodes an argument of a condition.
func toValue(v any) (value, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return v, nil
	case int:
		return int64(v), nil
	case int64:
		return v, nil
	case bool:
		if v {
			return int64(1), nil
		}
		return int64(0), nil
	case float64, []byte:
		return v, nil
	case time.Time:
		return resource.Time{Time: v}.Value()
	case driver.Valuer:
		return v.Value()
	}
	rv := reflect.ValueOf(v)
	switch {
	case rv.Kind() == reflect.Pointer && rv.IsNil():
		return nil, nil
	case rv.Kind() == reflect.Pointer:
		return toValue(rv.Elem().Interface())
	case rv.Kind() == reflect.String:
		return rv.String(), nil
	case rv.CanInt():
		return rv.Int(), nil
	case rv.CanUint() && rv.Uint() <= math.MaxInt64:
		return int64(rv.Uint()), nil
	case rv.CanFloat():
		return rv.Float(), nil
	case rv.Kind() == reflect.Bool:
		return toValue(rv.Bool())
	}
	return nil, fmt.Errorf("a %T cannot be an argument of SQL", v)
}
