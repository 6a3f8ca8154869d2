package render

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Safe makes text that others wrote harmless for a terminal: control characters
// (ECMA-48, C0 and C1), characters that turn the direction of what follows
// (Unicode UAX #9) or that are not seen, and broken UTF-8 are written as escapes.
// Blanks take the place of line ends and tabs, so that a cell stays a cell.
func Safe(text string) string {
	if safe(text) {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case r == '\n' || r == '\t':
			b.WriteByte(' ')
		case harmful(r):
			b.WriteString(escape(r))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func safe(text string) bool {
	if !utf8.ValidString(text) {
		return false
	}
	return strings.IndexFunc(text, func(r rune) bool { return r == '\n' || r == '\t' || harmful(r) }) < 0
}

// harmful characters act on a terminal, or hide, instead of being seen. Cf has
// the marks of direction and the joiners, Zl and Zp the separators of lines.
func harmful(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// escape writes a character as JSON and double-quoted YAML both read it.
func escape(r rune) string {
	if r > 0xffff {
		r -= 0x10000
		return fmt.Sprintf(`\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
	}
	return fmt.Sprintf(`\u%04x`, r)
}

// safeLines escapes within a text of lines, such as an indented JSON document,
// in which harmful characters stand inside of strings only.
func safeLines(text []byte) []byte {
	var b strings.Builder
	for _, r := range string(text) {
		if r != '\n' && harmful(r) {
			b.WriteString(escape(r))
			continue
		}
		b.WriteRune(r)
	}
	return []byte(b.String())
}
