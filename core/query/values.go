package query

import (
	"strconv"
	"strings"
	"time"

	"github.com/kumo-cloud/kumo/core/resource"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

// timeFormats are those that clients write; the first is the wire's own. A
// time without a zone is in the server's.
var timeFormats = []string{"Jan 2, 2006 3:04:05 PM", "2006-01-02 15:04:05", time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02"}

// typed converts a client's text to the stored form of a field.
func typed(f *resource.Field, text string) (any, error) {
	switch f.Kind {
	case resource.String, resource.Text:
		if f.IsUUID() {
			return strings.ToLower(text), nil
		}
		return spelled(f, text), nil
	case resource.Bool:
		switch strings.ToLower(strings.TrimSpace(text)) {
		case "true", "1":
			return int64(1), nil
		case "false", "0":
			return int64(0), nil
		}
		return nil, invalid("%s is true or false, not %s", f.Name, clip(text))
	case resource.TimeKind:
		return typedTime(f, text)
	case resource.Double:
		if n, err := strconv.ParseFloat(strings.TrimSpace(text), 64); err == nil {
			return n, nil
		}
	default:
		text := strings.TrimSpace(text)
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
		if n, err := strconv.ParseFloat(text, 64); err == nil {
			return n, nil
		}
	}
	return nil, invalid("%s is a number, not %s", f.Name, clip(text))
}

// spelled is a client's text as texts of the field are kept.
func spelled(f *resource.Field, text string) string {
	if resource.IsProse(f.Name) {
		return schemasql.Compose(text)
	}
	return text
}

// ParseTime reads a time as clients write it: in one of the formats, or in
// milliseconds since 1970.
func ParseTime(text string) (resource.Time, bool) {
	text = strings.TrimSpace(text)
	for _, format := range timeFormats {
		if t, err := time.ParseInLocation(format, text, time.Local); err == nil {
			return resource.UnixMilli(t.UnixMilli()), true
		}
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	return resource.UnixMilli(ms), err == nil
}

func typedTime(f *resource.Field, text string) (any, error) {
	if t, ok := ParseTime(text); ok {
		return t.UnixMilli(), nil
	}
	return nil, invalid("%s is a time such as %q, not %s", f.Name, timeFormats[0], clip(text))
}
