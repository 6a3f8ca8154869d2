package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/web/cli/render"
	"github.com/kumo-cloud/kumo/web/cli/schema"
)

// oneValue reads the text of a flag by the kind and unit of its parameter.
func (a *App) oneValue(flag *schema.Flag, text string) (any, error) {
	object := "--" + flag.Name + " " + text
	if flag.Unit != "" {
		n, err := unitValue(&flag.Field, text)
		if err != nil {
			return nil, errs.Wrap(errs.Invalid, "--"+flag.Name, err, "")
		}
		return n, nil
	}
	switch flag.Kind {
	case "int", "long":
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, errs.New(errs.Invalid, object, "not a whole number")
		}
		return n, nil
	case "double":
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, errs.New(errs.Invalid, object, "not a number")
		}
		return n, nil
	case "object":
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			return nil, errs.Wrap(errs.Invalid, object, err, "not JSON")
		}
		return v, nil
	}
	values := a.doc.Values(&flag.Field)
	text = rightCase(values, text)
	if len(values) > 0 && !slices.Contains(values, text) {
		err := errs.New(errs.Invalid, object, "not one of %s", strings.Join(values, ", "))
		if near := schema.Nearest(text, values); near != "" {
			return nil, err.WithAdvice("did you mean %s?", near)
		}
		return nil, err
	}
	return text, nil
}

// listValue reads each of the texts of a list as oneValue does.
func (a *App) listValue(flag *schema.Flag, texts []string) (any, error) {
	if flag.Item == nil || flag.Item.Kind == "string" && flag.Item.Enum == "" && flag.Enum == "" {
		return texts, nil
	}
	item := &schema.Flag{Param: &schema.Param{Field: *flag.Item}, Name: flag.Name}
	item.Enum = cmp.Or(item.Enum, flag.Enum)
	out := []any{}
	for _, text := range texts {
		value, err := a.oneValue(item, text)
		if err != nil {
			return nil, err
		}
		out = append(out, value)
	}
	return out, nil
}

// rightCase returns the legal value that differs from the text in case only, else
// the text.
func rightCase(values []string, text string) string {
	if slices.Contains(values, text) {
		return text
	}
	for _, v := range values {
		if strings.EqualFold(v, text) {
			return v
		}
	}
	return text
}

// structured reads maps from key=value and key=value,value, and lists of objects
// from JSON.
func structured(flag *schema.Flag, texts []string) (any, error) {
	if flag.Kind == "list" {
		list := []any{}
		for _, text := range texts {
			var v any
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				return nil, errs.Wrap(errs.Invalid, "--"+flag.Name+" "+text, err, "not JSON")
			}
			if many, ok := v.([]any); ok {
				list = append(list, many...)
			} else {
				list = append(list, v)
			}
		}
		return list, nil
	}
	lists := flag.Item != nil && flag.Item.Kind == "list"
	out := map[string]any{}
	for _, text := range texts {
		if strings.HasPrefix(text, "{") {
			var v map[string]any
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				return nil, errs.Wrap(errs.Invalid, "--"+flag.Name+" "+text, err, "not JSON")
			}
			for key, one := range v {
				out[key] = one
			}
			continue
		}
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, errs.New(errs.Invalid, "--"+flag.Name+" "+text, "not of the form key=value")
		}
		if !lists {
			out[key] = value
			continue
		}
		list, _ := out[key].([]string)
		out[key] = append(list, strings.Split(value, ",")...)
	}
	return out, nil
}

// unitValue reads a number with its unit, in the unit of the field.
func unitValue(f *schema.Field, text string) (int64, error) {
	switch f.Unit {
	case "bytes", "bytesPerSecond":
		return ParseSize(text)
	case "bitsPerSecond":
		return parseNumber(text, 1000, "100M")
	case "seconds":
		return parseTime(text, time.Second)
	case "milliseconds":
		return parseTime(text, time.Millisecond)
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(text, "%"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no whole number", text)
	}
	return n, nil
}

func unitText(f *schema.Field, text string) (string, error) {
	n, err := unitValue(f, text)
	return strconv.FormatInt(n, 10), err
}

// unitHint is an example of a value with its unit.
func unitHint(f *schema.Field) string {
	switch f.Unit {
	case "bytes":
		return "10G"
	case "bytesPerSecond", "bitsPerSecond":
		return "100M"
	case "seconds", "milliseconds":
		return "5m"
	}
	return ""
}

// unitWriter writes a field's values for people; nil writes them as they are.
func unitWriter(f *schema.Field) func(any) string {
	return func(v any) string {
		n, ok := v.(int64)
		switch {
		case !ok:
			return render.Text(v)
		case f.Unit == "bytes" || f.Unit == "bytesPerSecond":
			return render.Size(n)
		case f.Unit == "seconds" && n >= 60:
			return (time.Duration(n) * time.Second).String()
		case f.Unit == "milliseconds" && n >= 1000:
			return (time.Duration(n) * time.Millisecond).String()
		}
		return strconv.FormatInt(n, 10)
	}
}

// ParseSize reads a size in bytes: a whole number, or one with K, M, G, T or P
// (and an optional B or iB), each 1024 times the one before.
func ParseSize(text string) (int64, error) { return parseNumber(text, 1024, "512M or 10G") }

func parseNumber(text string, step int64, like string) (int64, error) {
	digits := strings.ToUpper(strings.TrimSpace(text))
	digits = strings.TrimSuffix(strings.TrimSuffix(digits, "B"), "I")
	factor := int64(1)
	if n := len(digits); n > 0 {
		if i := strings.IndexByte("KMGTP", digits[n-1]); i >= 0 {
			for range i + 1 {
				factor *= step
			}
			digits = digits[:n-1]
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/factor {
		return 0, fmt.Errorf("%q is no size; write it like %s", text, like)
	}
	return n * factor, nil
}

// parseTime reads a time such as 5m, 1h30m or 2d; a bare number is in the unit.
func parseTime(text string, unit time.Duration) (int64, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseInt(days, 10, 32); err == nil {
			return n * int64(24*time.Hour/unit), nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d%unit != 0 {
		return 0, fmt.Errorf("%q is no time; write it like 30s, 5m or 2h", text)
	}
	return int64(d / unit), nil
}

// sample is a value as an example has it.
func (a *App) sample(flag *schema.Flag) string {
	values := a.doc.Values(&flag.Field)
	samples := map[string]string{
		"ip": "10.0.0.10", "ip4": "10.0.0.10", "ip6": "fd00::10", "cidr": "10.0.0.0/24", "mac": "fa:00:00:00:00:01",
		"port": "22", "url": "http://server/file", "path": "/path", "email": "me@example.org",
	}
	switch {
	case isFile(flag):
		return "FILE"
	case flag.Ref != nil && flag.Ref.Noun != "":
		return flag.Name + "-1"
	case len(values) > 0:
		return values[0]
	case unitHint(&flag.Field) != "":
		return unitHint(&flag.Field)
	case flag.Kind == "int" || flag.Kind == "long" || flag.Kind == "double":
		return "1"
	case flag.Kind == "map":
		return "KEY=VALUE"
	case samples[flag.Format] != "":
		return samples[flag.Format]
	}
	return strings.ToUpper(flag.Name)
}
