package store

import (
	"database/sql/driver"
	"unicode/utf8"

	"modernc.org/sqlite"

	schemasql "github.com/kumo-cloud/kumo/sql"
)

// SQLite's own NOCASE and LIKE know the case of ASCII letters only. They are
// replaced under their names, so that other programs can read the file; the
// order of texts in ASCII is the same. Who writes other names into it with
// another program runs "REINDEX" there afterwards, or Kumo may not find them.
func init() {
	sqlite.MustRegisterCollationUtf8("NOCASE", schemasql.Compare)
	sqlite.MustRegisterDeterministicScalarFunction("like", 2, like)
	sqlite.MustRegisterDeterministicScalarFunction("LIKE", 3, like) // the driver wants another spelling for the same name
}

// like is called as like(pattern, text, escape) for "text LIKE pattern ESCAPE
// escape"; NULL is like nothing.
func like(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
	var texts [3]string
	for i, a := range args {
		if a == nil {
			return nil, nil
		}
		text, err := driver.String.ConvertValue(a)
		if err != nil {
			return nil, err
		}
		switch text := text.(type) {
		case string:
			texts[i] = text
		case []byte:
			texts[i] = string(text)
		}
	}
	escape, size := utf8.DecodeRuneInString(texts[2])
	if size == 0 {
		escape = 0
	}
	return schemasql.Like(texts[0], texts[1], escape), nil
}
