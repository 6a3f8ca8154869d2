package store

import (
	"context"
	"fmt"
	"sort"
	"strings"

	"github.com/kumo-cloud/kumo/core/resource"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

// schema is what a database has: by table, the columns and the indexes, each
// with a description that two databases of one dialect can be compared by.
type schema map[string]*table

type table struct{ columns, indexes map[string]string }

func (s schema) table(name string) *table {
	t := s[name]
	if t == nil {
		t = &table{columns: map[string]string{}, indexes: map[string]string{}}
		s[name] = t
	}
	return t
}

// String lists everything, one line a column or index, sorted.
func (s schema) String() string {
	var lines []string
	for name, t := range s {
		for c, d := range t.columns {
			lines = append(lines, name+"."+c+" "+d)
		}
		for i, d := range t.indexes {
			lines = append(lines, name+" index "+i+" "+d)
		}
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n") + "\n"
}

// introspect reads the schema from the database.
func introspect(ctx context.Context, q Querier) (schema, error) {
	if q.Dialect() == schemasql.MySQL {
		return introspectMySQL(ctx, q)
	}
	s := schema{}
	err := q.Each(ctx, "SELECT m.name, p.name, p.type, p.\"notnull\", p.dflt_value, p.pk FROM sqlite_master m, pragma_table_info(m.name) p WHERE m.type = 'table'", nil, func(r *Row) error {
		s.table(r.Text(0)).columns[r.Text(1)] = fmt.Sprintf("%s notnull=%d default=%s pk=%d", r.Text(2), r.Int(3), r.Text(4), r.Int(5))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, q.Each(ctx, "SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL", nil, func(r *Row) error {
		s.table(r.Text(0)).indexes[r.Text(1)] = r.Text(2)
		return nil
	})
}

func introspectMySQL(ctx context.Context, q Querier) (schema, error) {
	s := schema{}
	err := q.Each(ctx, "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, COALESCE(COLLATION_NAME, ''), COLUMN_KEY = 'PRI' "+
		"FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()", nil, func(r *Row) error {
		s.table(r.Text(0)).columns[r.Text(1)] = fmt.Sprintf("%s null=%s default=%s %s pk=%d", r.Text(2), r.Text(3), r.Text(4), r.Text(5), r.Int(6))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, q.Each(ctx, "SELECT TABLE_NAME, INDEX_NAME, NON_UNIQUE, GROUP_CONCAT(COLUMN_NAME ORDER BY SEQ_IN_INDEX) "+
		"FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND INDEX_NAME <> 'PRIMARY' GROUP BY TABLE_NAME, INDEX_NAME, NON_UNIQUE", nil, func(r *Row) error {
		s.table(r.Text(0)).indexes[r.Text(1)] = fmt.Sprintf("unique=%t %s", r.Int(2) == 0, r.Text(3))
		return nil
	})
}

// EnsureTypes makes the tables, columns and indexes that the declarations
// want and the database does not have, widens columns of texts that have become
// longer, and seals their secrets. It never drops or narrows anything, and a repeat
// changes nothing. Rows that exist get a new
// column's default.
func (s *Store) EnsureTypes(ctx context.Context, types ...*resource.Type) error {
	if err := s.ensureTables(ctx, types); err != nil {
		return err
	}
	return s.sealTypes(ctx, types)
}

// DropTables removes the tables of types that are not in use any more, with their rows;
// one that is gone is a success.
func (s *Store) DropTables(ctx context.Context, names ...string) error {
	return s.backend.change(ctx, func(ctx context.Context, tx *Tx) error {
		for _, name := range names {
			if err := s.ddl(ctx, tx, "DROP TABLE IF EXISTS `"+name+"`"); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) ensureTables(ctx context.Context, types []*resource.Type) error {
	if len(types) == 0 {
		return nil
	}
	have, err := introspect(ctx, s)
	if err != nil {
		return err
	}
	if migration(s.dialect, have, types) == "" {
		return nil // the usual start: no lock is taken
	}
	return s.backend.change(ctx, func(ctx context.Context, tx *Tx) error {
		have, err := introspect(ctx, tx)
		if err != nil {
			return err
		}
		stmts, err := schemasql.Render(migration(s.dialect, have, types), s.dialect)
		if err != nil {
			return fmt.Errorf("tables of declared types: %w", err)
		}
		for _, stmt := range stmts {
			if err := s.ddl(ctx, tx, stmt); err != nil {
				return err
			}
		}
		return nil
	})
}

// migration writes the text of a migration that adds to a schema what the
// declarations want; "" when there is nothing to add.
func migration(d schemasql.Dialect, have schema, types []*resource.Type) string {
	sorted := append([]*resource.Type(nil), types...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].Name < sorted[j].Name })
	var b strings.Builder
	for _, t := range sorted {
		old, exists := have[t.Name]
		if !exists {
			createTable(&b, t)
			continue
		}
		for i := range t.Fields {
			f := &t.Fields[i]
			switch have, ok := old.columns[f.Name]; {
			case !ok:
				fmt.Fprintf(&b, "ALTER TABLE `%s` ADD COLUMN %s;\n", t.Name, column(f))
			case d == schemasql.MySQL && narrow(have, f):
				fmt.Fprintf(&b, "ALTER TABLE `%s` MODIFY COLUMN %s;\n", t.Name, column(f))
			}
		}
		for _, ix := range indexes(t) {
			columns, unique := strings.CutPrefix(ix, "unique ")
			if _, ok := old.indexes[schemasql.IndexName(t.Name, strings.Split(columns, ","), unique)]; !ok {
				fmt.Fprintf(&b, "{{.Index %q %q}};\n", t.Name, ix)
				continue
			}
			if _, ok := old.columns[d.FoldedName()]; columns == "name" && !ok {
				fmt.Fprintf(&b, "{{.Letters %q %q}}\n", t.Name, ix)
			}
		}
	}
	return b.String()
}

// narrow reports a column of MySQL, as introspect describes it, that does not hold
// all texts of its field: an older version declared it shorter, or a secret as a
// string, which is longer when it is sealed. SQLite's columns hold any text.
func narrow(have string, f *resource.Field) bool {
	var size int
	if _, err := fmt.Sscanf(have, "varchar(%d)", &size); err != nil {
		return false
	}
	return f.Kind == resource.Text || f.Kind == resource.String && f.Size > size
}

func createTable(b *strings.Builder, t *resource.Type) {
	fmt.Fprintf(b, "CREATE TABLE IF NOT EXISTS `%s` (\n", t.Name)
	for i := range t.Fields {
		if i > 0 {
			b.WriteString(",\n")
		}
		b.WriteString("  " + column(&t.Fields[i]))
	}
	fmt.Fprintf(b, "{{.End %q", t.Name)
	for _, ix := range indexes(t) {
		fmt.Fprintf(b, " %q", ix)
	}
	b.WriteString("}}\n")
}

// column writes a column of a migration.
func column(f *resource.Field) string {
	typ, zero := "", "0"
	switch f.Kind {
	case resource.String:
		typ, zero = fmt.Sprintf("{{.String %d}}", f.Size), "''"
		if f.IsUUID() {
			typ = "{{.UUID}}"
		}
	case resource.Text:
		typ, zero = "{{.Text}}", "{{.TextDefault \"\"}}"
	case resource.Int:
		typ = "{{.Int}}"
	case resource.Long:
		typ = "{{.Long}}"
	case resource.Bool:
		typ = "{{.Bool}}"
	case resource.Double:
		typ = "{{.Double}}"
	case resource.TimeKind:
		typ = "{{.Time}}"
	}
	if f.Default != "" {
		zero = defaultOf(f)
	}
	switch {
	case f.Name == "uuid":
		return "`uuid` " + typ + " NOT NULL PRIMARY KEY"
	case (f.Null || f.Kind == resource.TimeKind) && f.Default == "":
		return "`" + f.Name + "` " + typ
	case f.Null || f.Kind == resource.TimeKind:
		return "`" + f.Name + "` " + typ + " DEFAULT " + zero
	}
	return "`" + f.Name + "` " + typ + " NOT NULL DEFAULT " + zero
}

func defaultOf(f *resource.Field) string {
	switch f.Kind {
	case resource.String:
		return schemasql.Quote(f.Default)
	case resource.Text:
		return fmt.Sprintf("{{.TextDefault %q}}", f.Default)
	case resource.Bool:
		if strings.EqualFold(f.Default, "true") || f.Default == "1" || strings.EqualFold(f.Default, "t") {
			return "1"
		}
		return "0"
	}
	return f.Default
}

// indexes lists a type's indexes as sql.Dialect.End takes them.
func indexes(t *resource.Type) []string {
	var out []string
	for i := range t.Fields {
		switch f := &t.Fields[i]; {
		case f.Name == "uuid":
		case f.Unique:
			out = append(out, "unique "+f.Name)
		case f.Index:
			out = append(out, f.Name)
		}
	}
	for _, ix := range t.Indexes {
		s := strings.Join(ix.Columns, ",")
		if ix.Unique {
			s = "unique " + s
		}
		out = append(out, s)
	}
	return out
}
