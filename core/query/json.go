package query

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/kumo-cloud/kumo/core/resource"
)

const hexDigits = "0123456789abcdef"

// appendText appends a JSON string. Bytes that are not UTF-8 become U+FFFD,
// as encoding/json does it; <, > and & stay, since the answer is no HTML.
func appendText[S string | []byte](b []byte, s S) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			b = append(b, s[from:i]...)
			b = appendEscape(b, c)
			i++
			from = i
			continue
		}
		end := min(len(s), i+utf8.UTFMax)
		r, size := utf8.DecodeRuneInString(string(s[i:end]))
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(append(b, s[from:i]...), `\ufffd`...)
			from = i + size
		case r == '\u2028', r == '\u2029': // line ends in JavaScript
			b = append(append(b, s[from:i]...), `\u202`...)
			b = append(b, hexDigits[r&0xf])
			from = i + size
		}
		i += size
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}

// wireTime is how the wire writes times, in the server's zone.
const wireTime = "Jan 2, 2006 3:04:05 PM"

// appendValue appends a stored value, which is not NULL, as JSON.
func appendValue(b []byte, kind resource.Kind, v any) []byte {
	switch v := v.(type) {
	case int64:
		return appendInt(b, kind, v)
	case float64:
		return appendFloat(b, v)
	case float32:
		return appendFloat(b, float64(v))
	case string:
		if kind == resource.String || kind == resource.Text {
			return appendText(b, v)
		}
		return appendNumberText(b, kind, v)
	case []byte:
		if kind == resource.String || kind == resource.Text {
			return appendText(b, v)
		}
		return appendNumberText(b, kind, string(v))
	}
	return append(b, "null"...)
}

func appendInt(b []byte, kind resource.Kind, n int64) []byte {
	switch kind {
	case resource.Bool:
		return strconv.AppendBool(b, n != 0)
	case resource.TimeKind:
		b = append(b, '"')
		b = time.UnixMilli(n).AppendFormat(b, wireTime)
		return append(b, '"')
	case resource.String, resource.Text:
		return append(strconv.AppendInt(append(b, '"'), n, 10), '"')
	}
	return strconv.AppendInt(b, n, 10)
}

// appendFloat appends a number; JSON has none that is not finite.
func appendFloat(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(b, '0')
	}
	return strconv.AppendFloat(b, f, 'g', -1, 64)
}

// appendNumberText appends a number that the driver delivered as text.
func appendNumberText(b []byte, kind resource.Kind, s string) []byte {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return appendInt(b, kind, n)
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		return appendFloat(b, f)
	}
	return append(b, "null"...)
}
