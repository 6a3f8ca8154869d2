package sql

import (
	"fmt"
	"hash/fnv"
	"strings"
)

// Dialect is one of the two kinds of database; it is the dot of a migration's
// template.
type Dialect string

// The dialects.
const (
	SQLite Dialect = "sqlite"
	MySQL  Dialect = "mysql"
)

// UUID is the type of columns that hold a resource's uuid. They compare byte
// by byte, so that a join uses the index whichever side it starts from.
func (d Dialect) UUID() string {
	if d == MySQL {
		return "VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
	}
	return "VARCHAR(32)"
}

// String is text of at most n characters that compares without regard to case,
// see Fold.
func (d Dialect) String(n int) string {
	if d == MySQL {
		return fmt.Sprintf("VARCHAR(%d)", n)
	}
	return fmt.Sprintf("VARCHAR(%d) COLLATE NOCASE", n)
}

// Text is text of up to 16 MiB.
func (d Dialect) Text() string {
	if d == MySQL {
		return "MEDIUMTEXT"
	}
	return "TEXT COLLATE NOCASE"
}

// Int is a 32-bit number.
func (d Dialect) Int() string { return "INT" }

// Long is a 64-bit number.
func (d Dialect) Long() string { return "BIGINT" }

// Bool is 0 or 1.
func (d Dialect) Bool() string { return "TINYINT" }

// Double is a floating point number.
func (d Dialect) Double() string { return "DOUBLE" }

// Time is an instant in Unix milliseconds.
func (d Dialect) Time() string { return "BIGINT" }

// TextDefault is the default of a Text column, which MySQL wants as an
// expression.
func (d Dialect) TextDefault(value string) string {
	if d == MySQL {
		return "(" + Quote(value) + ")"
	}
	return Quote(value)
}

// End closes a CREATE TABLE and makes the table's indexes. Each index is a
// comma-separated list of columns, with "unique " before it if it is one.
// MySQL makes them with the table, which is much faster than afterwards.
func (d Dialect) End(table string, indexes ...string) string {
	var b strings.Builder
	if d == MySQL {
		for _, ix := range indexes {
			columns, unique := splitIndex(ix)
			b.WriteString(",\n  ")
			if unique {
				b.WriteString("UNIQUE ")
			}
			fmt.Fprintf(&b, "KEY `%s` (%s)", IndexName(table, columns, unique), quoteAll(d.indexed(columns)))
			if named(columns) {
				b.WriteString(",\n  " + foldedName)
			}
		}
		b.WriteString("\n) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;\n")
		return b.String()
	}
	b.WriteString("\n);\n")
	for _, ix := range indexes {
		b.WriteString(d.Index(table, ix) + ";\n")
	}
	return b.String()
}

// Index is the statement that makes one index of an existing table.
func (d Dialect) Index(table, index string) string {
	columns, unique := splitIndex(index)
	kind := "INDEX"
	if unique {
		kind = "UNIQUE INDEX"
	}
	if d == MySQL && named(columns) {
		return fmt.Sprintf("ALTER TABLE `%s` ADD COLUMN %s, ADD %s `%s` (`name_`)", table, foldedName, kind, IndexName(table, columns, unique))
	}
	return fmt.Sprintf("CREATE %s `%s` ON `%s` (%s)", kind, IndexName(table, columns, unique), table, quoteAll(columns))
}

// named tells an index of names, which are compared by their letters.
func named(columns []string) bool { return len(columns) == 1 && columns[0] == "name" }

func (d Dialect) indexed(columns []string) []string {
	if named(columns) {
		return []string{d.FoldedName()}
	}
	return columns
}

func splitIndex(ix string) (columns []string, unique bool) {
	ix, unique = strings.CutPrefix(ix, "unique ")
	return strings.Split(ix, ","), unique
}

func quoteAll(columns []string) string { return "`" + strings.Join(columns, "`, `") + "`" }

// IndexName returns the name of the index over these columns: table and
// columns, cut with a checksum where MySQL's 64 characters do not suffice.
func IndexName(table string, columns []string, unique bool) string {
	name := table + "_" + strings.Join(columns, "_")
	if unique {
		name += "_unique"
	}
	if len(name) > 60 {
		h := fnv.New32a()
		h.Write([]byte(name)) // a hash's Write returns no error
		name = fmt.Sprintf("%s_%08x", name[:50], h.Sum32())
	}
	return name
}

// Quote writes a text literal for a default. The text must have no backslash,
// which only MySQL reads as an escape; core/resource refuses such defaults.
func Quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
