package query

import (
	"math"
	"strconv"
	"time"

	"github.com/kumo-cloud/kumo/core/resource"
)

// wireTime is how the wire writes times, in the server's zone.
const wireTime = "Jan 2, 2006 3:04:05 PM"

// appendNumber appends a number of which the database wrote the text.
func appendNumber(b []byte, kind resource.Kind, s string) []byte {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return appendInt(b, kind, n)
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil || math.IsInf(f, 0) {
		return appendFloat(b, f)
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
