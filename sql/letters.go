package sql

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// How texts compare, in all languages and on both databases alike: letters that
// differ in case only are the same, all others differ, accents too, and the
// order is that of the code points of the small letters. A letter's case is that
// of Unicode's simple mappings, one character for one (Unicode 15, 5.18, without
// SpecialCasing.txt): "ß" and "ẞ" are the same, "ß" and "ss" are not.
//
// SQLite does this by functions of ours (core/store), MySQL by LOWER(UPPER(x)) in
// a collation that knows today's letters; a test compares the two for every
// character there is.

// Compose returns a text with each letter and its marks as one character where
// there is one (Unicode Annex 15, NFC): some systems write "é" as two. Texts that
// people write are kept so, and asked for so; otherwise names that look alike would
// differ, and nobody would find one that another system wrote.
func Compose(s string) string { return norm.NFC.String(s) }

// Fold returns a text in the letters that it compares by.
func Fold(s string) string {
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return strings.Map(fold, s)
		}
	}
	return s
}

// fold goes by the capital letter: several small ones may have the same one, as
// the two forms of the Greek sigma have.
func fold(r rune) rune {
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}
	return unicode.ToLower(unicode.ToUpper(r))
}

// Compare is negative, zero or positive when a comes before, with or after b.
// What is not UTF-8 compares as U+FFFD.
func Compare(a, b string) int {
	for a != "" && b != "" {
		x, y, n, m := rune(a[0]), rune(b[0]), 1, 1
		if x >= utf8.RuneSelf {
			x, n = utf8.DecodeRuneInString(a)
		}
		if y >= utf8.RuneSelf {
			y, m = utf8.DecodeRuneInString(b)
		}
		if x != y {
			if x, y = fold(x), fold(y); x != y {
				return int(x - y)
			}
		}
		a, b = a[n:], b[m:]
	}
	return len(a) - len(b)
}

// Like tells whether a text has the form of a pattern: "%" is any text, "_" any
// character, and what follows escape stands for itself, as an escape at the end
// does; 0 is no escape.
func Like(pattern, text string, escape rune) bool {
	p, s := []rune(Fold(pattern)), []rune(Fold(text))
	// star and from are where to go on when a later character does not fit: the
	// last "%" takes one character more.
	i, j, star, from := 0, 0, -1, 0
	for j < len(s) {
		switch {
		case i+1 < len(p) && p[i] == escape && escape != 0:
			if p[i+1] == s[j] {
				i, j = i+2, j+1
				continue
			}
		case i < len(p) && p[i] == '%' && p[i] != escape:
			star, from = i, j
			i++
			continue
		case i < len(p) && (p[i] == '_' && p[i] != escape || p[i] == s[j]):
			i, j = i+1, j+1
			continue
		}
		if star < 0 {
			return false
		}
		from++
		i, j = star+1, from
	}
	for i < len(p) && p[i] == '%' && p[i] != escape {
		i++
	}
	return i == len(p)
}

// After returns a text that comes after all that begin with a prefix, and before
// all others that do; "" when there is none.
func After(prefix string) string {
	runes := []rune(Fold(prefix))
	for len(runes) > 0 {
		last := len(runes) - 1
		for r := runes[last] + 1; r <= unicode.MaxRune; r++ {
			if utf8.ValidRune(r) && fold(r) == r {
				runes[last] = r
				return string(runes)
			}
		}
		runes = runes[:last]
	}
	return ""
}

// CaseCollation is the collation by whose tables MariaDB changes case, and
// exactCollation the one that compares characters and blanks at the end as they
// are.
const (
	CaseCollation  = "utf8mb4_uca1400_nopad_as_ci"
	exactCollation = "utf8mb4_nopad_bin"
)

// Older makes of SQL what servers without CaseCollation understand: MariaDB
// before 10.10, and MySQL. They know no letters of later than Unicode 4.
func Older(query string) string { return older.Replace(query) }

var older = strings.NewReplacer(CaseCollation, "utf8mb4_general_ci", exactCollation, "utf8mb4_bin")

// Folded is an expression for what a text compares by, to be compared with a
// value that Fold has made.
func (d Dialect) Folded(text string) string {
	if d == MySQL {
		return "LOWER(UPPER(" + text + " COLLATE " + CaseCollation + ")) COLLATE " + exactCollation
	}
	return text
}

// BeyondASCII is a condition that holds for texts with characters other than the
// printable ones of ASCII.
func (d Dialect) BeyondASCII(text string) string {
	if d == MySQL {
		return text + " REGEXP '[^ -~]'"
	}
	return text + " GLOB '*[^ -~]*'"
}

// FoldedName is the column by which the names of a table's rows compare, and by
// which they are indexed: its values are compared with what Fold has made.
func (d Dialect) FoldedName() string {
	if d == MySQL {
		return "name_"
	}
	return "name"
}

// foldedName declares that column.
const foldedName = "`name_` VARCHAR(512) CHARACTER SET utf8mb4 COLLATE " + exactCollation + " AS (LOWER(UPPER(`name` COLLATE " + CaseCollation + "))) VIRTUAL"

// Letters changes a table whose names are indexed as they are to one where they
// are indexed by what they compare by. On SQLite names compare rightly by
// themselves.
func (d Dialect) Letters(table, index string) string {
	if d != MySQL {
		return ""
	}
	columns, unique := splitIndex(index)
	name, kind := IndexName(table, columns, unique), ""
	if unique {
		kind = "UNIQUE "
	}
	return "ALTER TABLE `" + table + "` ADD COLUMN " + foldedName + ", DROP INDEX `" + name + "`, ADD " + kind + "KEY `" + name + "` (`name_`);"
}
