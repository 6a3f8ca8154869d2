package store

import (
	"slices"
	"strings"
	"unicode"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// parseEffect reads one of
//
//	INSERT INTO `T` (`a`, `b`) VALUES …
//	UPDATE `T` SET `a` = …, `b` = … [WHERE …]
//	DELETE FROM `T` [WHERE …]
func (s *Store) parseEffect(query string) (*effect, error) {
	bad := func(why string) (*effect, error) {
		return nil, errs.New(errs.Internal, "statement", "%s: %.120q", why, query).
			WithAdvice("write it as INSERT INTO `T` (`a`) VALUES (?), UPDATE `T` SET `a` = ? WHERE … or DELETE FROM `T` WHERE …")
	}
	verb, rest := Verb(""), ""
	for prefix, v := range map[string]Verb{"INSERT INTO ": Created, "UPDATE ": Updated, "DELETE FROM ": Deleted} {
		if after, ok := strings.CutPrefix(query, prefix); ok {
			verb, rest = v, after
		}
	}
	if verb == "" {
		return bad("it is no INSERT, UPDATE or DELETE")
	}
	table, rest, ok := cutName(rest)
	if !ok {
		return bad("it names no table")
	}
	e := &effect{verb: verb, table: s.table(table)}
	switch verb {
	case Created:
		list, _, ok := strings.Cut(strings.TrimPrefix(rest, " ("), ") VALUES ")
		if !ok {
			return bad("it has no list of columns")
		}
		for _, c := range strings.Split(list, ", ") {
			name, _, ok := cutName(c)
			if !ok {
				return bad("a column has no name")
			}
			e.columns = append(e.columns, name)
		}
	case Updated:
		set, where := condition(strings.TrimPrefix(rest, " SET "))
		e.where = where
		for _, part := range split(set) {
			name, _, ok := cutName(strings.TrimSpace(part))
			if !ok {
				return bad("a column has no name")
			}
			arg := -1
			if _, expr, _ := strings.Cut(part, "="); strings.TrimSpace(expr) == "?" {
				arg = e.before
			}
			e.columns, e.direct, e.before = append(e.columns, name), append(e.direct, arg), e.before+placeholders(part)
		}
	case Deleted:
		_, e.where = condition(rest)
	}
	e.sorted = slices.Sorted(slices.Values(e.columns))
	e.byUUID = e.where == byUUID || strings.HasPrefix(e.where, byUUID+" AND ")
	e.sealed = s.sealedOf(table, e.columns)
	e.hot = verb == Updated && e.table.allVolatile(s, e.columns)
	return e, nil
}

const byUUID = " WHERE `uuid` = ?"

// cutName cuts a name off, which may be in backquotes.
func cutName(s string) (name, rest string, ok bool) {
	if strings.HasPrefix(s, "`") {
		return strings.Cut(s[1:], "`")
	}
	n := strings.IndexFunc(s, func(c rune) bool {
		return c != '_' && !unicode.IsLetter(c) && !unicode.IsDigit(c)
	})
	if n < 0 {
		n = len(s)
	}
	return s[:n], s[n:], n > 0
}

// outside calls fn for every byte of a text that is in no quotes and no
// parentheses, until fn returns false.
func outside(s string, fn func(i int) bool) {
	depth, quote := 0, byte(0)
	for i := range len(s) {
		switch c := s[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
			continue
		case c == '\'' || c == '"' || c == '`':
			quote = c
		case c == '(':
			depth++
		case c == ')':
			depth--
		}
		if depth == 0 && !fn(i) {
			return
		}
	}
}

// condition splits a text before its own WHERE.
func condition(s string) (before, where string) {
	at := -1
	outside(s, func(i int) bool {
		if strings.HasPrefix(s[i:], " WHERE ") {
			at = i
		}
		return at < 0
	})
	if at < 0 {
		return s, ""
	}
	return s[:at], s[at:]
}

// split splits a text at its own commas.
func split(s string) (parts []string) {
	begin := 0
	outside(s, func(i int) bool {
		if s[i] == ',' {
			parts, begin = append(parts, s[begin:i]), i+1
		}
		return true
	})
	return append(parts, s[begin:])
}

// placeholders counts the question marks of a text.
func placeholders(s string) int { return strings.Count(mask(s), "?") }
