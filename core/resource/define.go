package resource

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx/reflectx"
)

// Column says where in a row's struct a field's value is.
type Column struct {
	// Field is the declaration; it lives as long as the type.
	Field *Field
	// Path is the index path for reflect.Value.FieldByIndex.
	Path []int
	// Pointer: the Go field is a pointer; nil is NULL and zero is zero.
	Pointer bool
}

// Typed is a Type whose rows are the struct T.
type Typed[T any] struct {
	*Type
	columns []Column
}

// Columns returns the columns in the order of Fields. It is not to be changed.
func (t *Typed[T]) Columns() []Column { return t.columns }

// Define makes a type from a declaration and the struct tags of T:
//
//	ZoneUUID string `db:"zoneUuid" kumo:"size=32,null,index" caption:"Zone|区域"`
//
// Embedded structs (Base, Owned) contribute their fields. A Go field of
// pointer type is nullable and keeps nil apart from zero. t.Fields must be
// empty. It panics on a wrong declaration: it is called when a package is
// initialised, and a wrong declaration is a programming error.
func Define[T any](t Type) *Typed[T] {
	rt := reflect.TypeFor[T]()
	if rt.Kind() != reflect.Struct {
		panic(fmt.Sprintf("resource type %s: rows are %s, not a struct", t.Name, rt))
	}
	if len(t.Fields) != 0 {
		panic(fmt.Sprintf("resource type %s: the fields come from the struct %s", t.Name, rt))
	}
	typed := &Typed[T]{Type: &t}
	if err := typed.collect(rt); err != nil {
		panic(fmt.Sprintf("resource type %s: struct %s: %v", t.Name, rt, err))
	}
	t.Owned = embeds(rt, reflect.TypeFor[Owned]()) || t.Owned
	if err := t.init(); err != nil {
		panic(err.Error())
	}
	for i := range typed.columns {
		typed.columns[i].Field = &t.Fields[i]
	}
	return typed
}

func embeds(rt, what reflect.Type) bool {
	for i := range rt.NumField() {
		f := rt.Field(i)
		if f.Anonymous && (f.Type == what || f.Type.Kind() == reflect.Struct && f.Type != timeType && embeds(f.Type, what)) {
			return true
		}
	}
	return false
}

// mapper reads db tags as sqlx does.
var mapper = reflectx.NewMapper("db")

// collect adds the fields of rt, in the struct's order.
func (t *Typed[T]) collect(rt reflect.Type) error {
	for _, sf := range reflect.VisibleFields(rt) {
		if name, tagged := sf.Tag.Lookup("db"); tagged && name != "-" && !sf.IsExported() {
			return fmt.Errorf("field %s has a db tag but is not exported", sf.Name)
		}
	}
	found := slices.Clone(mapper.TypeMap(rt).Index)
	slices.SortFunc(found, func(a, b *reflectx.FieldInfo) int { return slices.Compare(a.Index, b.Index) })
	for _, fi := range found {
		_, tagged := fi.Field.Tag.Lookup("db")
		switch {
		case strings.Contains(fi.Path, "."): // inside of a value, such as a Time
			continue
		case !tagged && fi.Field.Tag.Get("kumo") != "":
			return fmt.Errorf("field %s has a kumo tag but no db tag", fi.Field.Name)
		case !tagged:
			continue
		case fi.Parent.Field.Type != nil && fi.Parent.Field.Type.Kind() == reflect.Pointer:
			return fmt.Errorf("field %s is in an embedded pointer, which may be nil", fi.Field.Name)
		}
		f, pointer, err := fieldOf(fi.Field, fi.Name)
		if err != nil {
			return err
		}
		t.Fields = append(t.Fields, f)
		t.columns = append(t.columns, Column{Path: fi.Index, Pointer: pointer})
	}
	return nil
}

func fieldOf(sf reflect.StructField, name string) (f Field, pointer bool, err error) {
	goType := sf.Type
	if goType.Kind() == reflect.Pointer {
		pointer, goType = true, goType.Elem()
	}
	kind, ok := kindOf(goType)
	if !ok {
		return f, false, fmt.Errorf("field %s: Go type %s holds no kind of field", sf.Name, sf.Type)
	}
	f = Field{Name: name, Kind: kind, Null: pointer, Caption: ParseCaption(sf.Tag.Get("caption"))}
	if err := f.parseTag(sf.Tag.Get("kumo")); err != nil {
		return f, false, fmt.Errorf("field %s: %w", sf.Name, err)
	}
	if f.Kind == Text && kind != String {
		return f, false, fmt.Errorf("field %s: text needs a string", sf.Name)
	}
	return f, pointer, nil
}

// Declare makes a type that has no Go struct, such as one of a plugin, from
// t.Fields. A missing uuid is added; so are name, description, createDate and
// lastOpDate unless the type is a subtype, and accountUuid when it is owned.
func Declare(t Type) (*Type, error) {
	base, err := fieldsOf(reflect.TypeFor[Base]())
	if err != nil {
		return nil, err
	}
	if t.Parent != "" {
		base = base[:1]
	}
	if t.Owned {
		owned, err := fieldsOf(reflect.TypeFor[Owned]())
		if err != nil {
			return nil, err
		}
		base = append(base, owned...)
	}
	given := map[string]bool{}
	for _, f := range t.Fields {
		given[f.Name] = true
	}
	fields := make([]Field, 0, len(base)+len(t.Fields))
	for _, f := range base {
		if !given[f.Name] {
			fields = append(fields, f)
		}
	}
	t.Fields = append(fields, t.Fields...)
	t.Edges = append([]Edge(nil), t.Edges...)
	if err := t.init(); err != nil {
		return nil, err
	}
	return &t, nil
}

func fieldsOf(rt reflect.Type) ([]Field, error) {
	var fields []Field
	for i := range rt.NumField() {
		f, _, err := fieldOf(rt.Field(i), rt.Field(i).Tag.Get("db"))
		if err != nil {
			return nil, err
		}
		fields = append(fields, f)
	}
	return fields, nil
}
