package action

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Bounds of every message. What a handler, and the only writer of the database,
// does for each element of an input is so bounded as well.
const (
	// maxElements is how many elements a list or an object may have, unless the
	// parameter says less.
	maxElements = 1000
	// maxTags is how many system tags, and user tags, one message may carry, and
	// maxTag how many bytes one may have: a user's data travels in tags.
	maxTags = 200
	maxTag  = 1 << 20
)

// checkTags bounds the tags of a message.
func (b *base) checkTags(message string) error {
	for name, tags := range map[string][]string{"systemTags": b.systemTags, "userTags": b.userTags} {
		bad := func(format string, args ...any) error {
			return errs.New(errs.Invalid, "parameter "+name+" of "+message, format, args...)
		}
		if len(tags) > maxTags {
			return bad("it has %d tags, at most %d are allowed", len(tags), maxTags)
		}
		for _, t := range tags {
			if len(t) > maxTag {
				return bad("a tag has %d bytes, at most %d are allowed", len(t), maxTag)
			}
			if !utf8.ValidString(t) {
				return bad("a tag is not valid UTF-8")
			}
			if r := harmful(t, false); r >= 0 {
				return bad("a tag has the character %U, which is not allowed", r)
			}
		}
	}
	return nil
}

// isName tells whether a parameter is what people call something, which is
// shown in lists: one line.
func isName(parameter string) bool {
	return parameter == "name" || strings.HasSuffix(parameter, "Name")
}

// harmful returns the first character of a text that may not be in it, -1 when
// all may: controls, which terminals obey, and marks that change the direction of
// what is around them, so that a text looks like another one (Unicode Technical
// Report 36, section 3.5). Other texts than names may have lines and tabs.
func harmful(s string, name bool) rune {
	for i := 0; i < len(s); i++ {
		// Nearly all texts are printable ASCII, and need no table.
		if c := s[i]; c >= ' ' && c < 0x7f {
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		i += n - 1
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			if name {
				return r
			}
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '\u2028', r == '\u2029', r == '\ufeff':
			return r
		}
	}
	return -1
}
