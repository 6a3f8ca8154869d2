package action

import (
	"unicode/utf8"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
)

// Bounds of every message. What a handler, and the only writer of the database,
// does for each element of an input is so bounded as well.
const (
	// maxElements is how many elements a list or an object may have, unless the
	// parameter says less.
	maxElements = 1000
	// defaultText is how many characters a text may have, unless the parameter
	// says how many: more than any name, address or path.
	defaultText = 4096
	// maxNumber is how large a number may be, unless the parameter says how large:
	// sums of several fit in 64 bits.
	maxNumber = 1 << 60
	// maxJSON is how many bytes a parameter may have of which only its handler
	// knows the form.
	maxJSON = 64 << 10
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
			if r := kinds.Harmful(t, false); r >= 0 {
				return bad("a tag has the character %U, which is not allowed", r)
			}
		}
	}
	return nil
}
