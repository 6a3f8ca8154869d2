package tag

import (
	"context"
	"fmt"
	"strings"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
)

// Pattern declares a kind of system tag: texts between "::", of which those in
// braces are tokens: "staticIp::{l3NetworkUuid}::{staticIp}".
type Pattern struct {
	// Resource is the type whose resources may have it, such as "VmInstance".
	Resource string
	// Pattern is the text with tokens.
	Pattern string
	// Inherent tags are made by the system only.
	Inherent bool
	// AdminOnly tags are made by the admin account only.
	AdminOnly bool
	// Single: a resource has at most one tag of the pattern; another one is
	// refused, rather than one of the two be without effect. With Each it is one for
	// each value of these tokens, as an address is of a network.
	Single bool
	Each   []string
	// Holds has the kinds of tokens' values (kinds.All), by token: they are checked
	// by that, and the tag is stored in their one spelling.
	Holds map[string]string
	// Secret names the token whose value clients never see again; it is stored
	// apart and shown as stars.
	Secret string
	// Validate checks the tokens' values; nil accepts all. It must not block.
	Validate func(tokens map[string]string) error
	// Caption is what people call the tag and its one token, when schema has no words
	// for them.
	Caption resource.Caption
	// Given is called in the transaction in which a resource that is there is given
	// a tag, or another value of it; an error refuses it. It is not called for the
	// tags of a create message.
	Given func(ctx context.Context, tx *store.Tx, resourceUUID string, tokens map[string]string) error
	// Take does what a tag says, in the transaction that makes its resource; the
	// tag itself is not kept, and can be given with a create message only. nil
	// keeps the tag.
	Take func(ctx context.Context, tx *store.Tx, resourceUUID string, tokens map[string]string) error

	parts []part
}

type part struct {
	text  string
	token bool
}

// separator stands between the parts of a tag.
const separator = "::"

func parse(pattern string) ([]part, error) {
	if pattern == "" {
		return nil, fmt.Errorf("the pattern is empty")
	}
	var out []part
	seen := map[string]bool{}
	for _, s := range strings.Split(pattern, separator) {
		inner, token := strings.CutPrefix(s, "{")
		if token {
			inner, token = strings.CutSuffix(inner, "}")
		}
		if !token {
			inner = s
		}
		if inner == "" || (token && seen[inner]) || strings.ContainsAny(inner, "{}") {
			return nil, fmt.Errorf("the part %q of pattern %q is empty, repeated or has a stray brace", s, pattern)
		}
		seen[inner] = token
		out = append(out, part{text: inner, token: token})
	}
	return out, nil
}

// match returns the tokens of a tag. The last token takes what remains, so that
// values such as IPv6 addresses and keys may hold the separator.
func match(parts []part, tag string) (map[string]string, bool) {
	var tokens map[string]string
	for i, p := range parts {
		s := tag
		if i < len(parts)-1 {
			var more bool
			if s, tag, more = strings.Cut(tag, separator); !more {
				return nil, false
			}
		}
		if !p.token {
			if s != p.text {
				return nil, false
			}
			continue
		}
		if s == "" {
			return nil, false
		}
		if tokens == nil {
			tokens = make(map[string]string, len(parts))
		}
		tokens[p.text] = s
	}
	if tokens == nil {
		tokens = map[string]string{}
	}
	return tokens, true
}

// Match reports whether a tag fits a pattern, with the tokens' values. A wrong
// pattern fits nothing.
func Match(pattern, tag string) (map[string]string, bool) {
	parts, err := parse(pattern)
	if err != nil {
		return nil, false
	}
	return match(parts, tag)
}

// masked stands in a shown tag where the secret is.
const masked = "*****"

// show returns what clients see of a tag of this pattern.
func (p *Pattern) show(tag string) string {
	tokens, ok := match(p.parts, tag)
	if p.Secret == "" || !ok {
		return tag
	}
	out := make([]string, len(p.parts))
	for i, part := range p.parts {
		switch {
		case !part.token:
			out[i] = part.text
		case part.text == p.Secret:
			out[i] = masked
		default:
			out[i] = tokens[part.text]
		}
	}
	return strings.Join(out, separator)
}

// shown is the beginning of show, for messages: user data is a tag.
func (p *Pattern) shown(tag string) string { return clip(p.show(tag), 80) }

// clip returns the beginning of a text, when it has more characters than most.
func clip(text string, most int) string {
	if all := []rune(text); len(all) > most {
		return string(all[:most]) + "…"
	}
	return text
}

// of is what tags of a single pattern must differ in: nothing, or the tokens of
// Each, which are not the last ones and so do not hold the separator.
func (p *Pattern) of(tokens map[string]string) string {
	values := make([]string, len(p.Each))
	for i, token := range p.Each {
		values[i] = tokens[token]
	}
	return strings.Join(values, separator)
}

// Format writes the tag of a pattern. errs.Invalid when a token has no value or,
// unless it is the last, holds the separator.
func Format(pattern string, tokens map[string]string) (string, error) {
	parts, err := parse(pattern)
	if err != nil {
		return "", errs.Wrap(errs.Invalid, "tag pattern", err, "")
	}
	out := make([]string, len(parts))
	for i, p := range parts {
		out[i] = p.text
		if !p.token {
			continue
		}
		out[i] = tokens[p.text]
		if out[i] == "" || (i < len(parts)-1 && strings.Contains(out[i], separator)) {
			return "", errs.New(errs.Invalid, "system tag "+pattern, "token %s has the value %q, which cannot be written", p.text, out[i])
		}
	}
	return strings.Join(out, separator), nil
}

// spell checks the tokens that hold a kind, and puts their one spelling into the
// tokens and into the tag.
func (p *Pattern) spell(tag string, tokens map[string]string) (string, error) {
	if len(p.Holds) == 0 {
		return tag, nil
	}
	for token, holds := range p.Holds {
		k, _ := kinds.Of(holds)
		parse := k.Parse
		if token == p.Secret {
			parse = k.ParseSecret
		}
		spelling, err := parse(tokens[token])
		if err != nil {
			return "", fmt.Errorf("%s: %w", token, err)
		}
		tokens[token] = spelling
	}
	return Format(p.Pattern, tokens)
}

// prefix is a LIKE condition that all tags of the pattern fulfil, as clients'
// texts never reach it unescaped.
func (p *Pattern) prefix() string {
	first := p.parts[0]
	if first.token {
		return "%"
	}
	esc := strings.NewReplacer(`!`, `!!`, `%`, `!%`, `_`, `!_`).Replace(first.text)
	if len(p.parts) == 1 {
		return esc
	}
	return esc + separator + "%"
}
