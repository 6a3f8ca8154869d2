package pluginsdk

import (
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// ValueOf makes the value of a field or parameter of a resource: of a string, an
// int or int64, a bool, a float64, a time.Time (to the millisecond), a []string, or, for parameters, a
// []map[string]any of those. errs.Internal for anything else.
func ValueOf(v any) (*pluginv1.Value, error) {
	switch v := v.(type) {
	case string:
		return &pluginv1.Value{Kind: &pluginv1.Value_Text{Text: v}}, nil
	case int:
		return &pluginv1.Value{Kind: &pluginv1.Value_Number{Number: int64(v)}}, nil
	case int64:
		return &pluginv1.Value{Kind: &pluginv1.Value_Number{Number: v}}, nil
	case bool:
		return &pluginv1.Value{Kind: &pluginv1.Value_Flag{Flag: v}}, nil
	case float64:
		return &pluginv1.Value{Kind: &pluginv1.Value_Real{Real: v}}, nil
	case time.Time:
		return &pluginv1.Value{Kind: &pluginv1.Value_Time{Time: v.UnixMilli()}}, nil
	case []string:
		return &pluginv1.Value{Kind: &pluginv1.Value_List{List: &pluginv1.TextList{Items: v}}}, nil
	case []map[string]any:
		list := &pluginv1.ObjectList{Items: make([]*pluginv1.Object, len(v))}
		for i, members := range v {
			values, err := Values(members)
			if err != nil {
				return nil, err
			}
			list.Items[i] = &pluginv1.Object{Values: values}
		}
		return &pluginv1.Value{Kind: &pluginv1.Value_Objects{Objects: list}}, nil
	}
	return nil, errs.New(errs.Internal, "value", "a %T is the value of no kind of field", v)
}

// Values makes the values of several, by name. Errors: those of ValueOf.
func Values(plain map[string]any) (map[string]*pluginv1.Value, error) {
	out := make(map[string]*pluginv1.Value, len(plain))
	for name, v := range plain {
		value, err := ValueOf(v)
		if err != nil {
			return nil, errs.Wrap(errs.Internal, "field "+name, err, "its value")
		}
		out[name] = value
	}
	return out, nil
}

// Plain is the counterpart of ValueOf: a string, int64, bool, float64, time.Time
// in UTC, []string or []map[string]any; nil when there is none.
func Plain(v *pluginv1.Value) any {
	switch k := v.GetKind().(type) {
	case *pluginv1.Value_Text:
		return k.Text
	case *pluginv1.Value_Number:
		return k.Number
	case *pluginv1.Value_Flag:
		return k.Flag
	case *pluginv1.Value_Real:
		return k.Real
	case *pluginv1.Value_Time:
		return time.UnixMilli(k.Time).UTC()
	case *pluginv1.Value_List:
		return k.List.GetItems()
	case *pluginv1.Value_Objects:
		objects := make([]map[string]any, len(k.Objects.GetItems()))
		for i, o := range k.Objects.GetItems() {
			objects[i] = PlainValues(o.GetValues())
		}
		return objects
	}
	return nil
}

// PlainValues is the counterpart of Values.
func PlainValues(values map[string]*pluginv1.Value) map[string]any {
	plain := make(map[string]any, len(values))
	for name, v := range values {
		plain[name] = Plain(v)
	}
	return plain
}
