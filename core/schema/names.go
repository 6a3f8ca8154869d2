package schema

import (
	"slices"
	"strings"
	"unicode"
)

// split cuts a name into its words at capitals; runs of capitals and digits
// stay together: "KVMHost" is KVM Host, "L2Network" is L2 Network, "vmNicUuid"
// is vm Nic Uuid.
func split(name string) []string {
	var words []string
	runes := []rune(name)
	start := 0
	for i := 1; i < len(runes); i++ {
		upper := unicode.IsUpper(runes[i])
		before := runes[i-1]
		switch {
		case runes[i] == '-' || runes[i] == '_' || runes[i] == '.':
		case runes[start] == '-' || runes[start] == '_' || runes[start] == '.':
			start++
			continue
		case upper && !unicode.IsUpper(before):
		case upper && unicode.IsUpper(before) && i+1 < len(runes) && unicode.IsLower(runes[i+1]):
		default:
			continue
		}
		words = append(words, string(runes[start:i]))
		start = i
	}
	if start < len(runes) {
		words = append(words, strings.TrimLeft(string(runes[start:]), "-_."))
	}
	return words
}

// kebab writes words as a command line does.
func kebab(words []string) string { return strings.ToLower(strings.Join(words, "-")) }

// spoken writes a name as a caption: "vipIp" is "Vip ip". It is called by what it
// refers to: "userUuids" is "User".
func spoken(name string) string {
	words := split(name)
	if rest := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "Uuid" || w == "Uuids" }); len(rest) > 0 {
		words = rest
	}
	for i, w := range words {
		switch {
		case i == 0:
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		case strings.ToUpper(w) != w || len(w) == 1:
			words[i] = strings.ToLower(w)
		}
	}
	return strings.Join(words, " ")
}

// plural is the English plural of a name or a noun.
func plural(s string) string {
	switch {
	case s == "":
		return s
	case strings.HasSuffix(s, "y") && len(s) > 1 && !strings.ContainsRune("aeiou", rune(s[len(s)-2])):
		return s[:len(s)-1] + "ies"
	case strings.HasSuffix(s, "s") || strings.HasSuffix(s, "x") || strings.HasSuffix(s, "sh") || strings.HasSuffix(s, "ch"):
		return s + "es"
	}
	return s + "s"
}

// without takes the first run of words out of all, ignoring case, and tells
// where it was.
func without(all, words []string) (rest []string, at int, found bool) {
	if len(words) == 0 {
		return all, 0, false
	}
	for i := 0; i+len(words) <= len(all); i++ {
		if equalWords(all[i:i+len(words)], words) {
			return append(append([]string{}, all[:i]...), all[i+len(words):]...), i, true
		}
	}
	return all, 0, false
}

func equalWords(a, b []string) bool {
	for i := range b {
		if !strings.EqualFold(a[i], b[i]) {
			return false
		}
	}
	return true
}

// verbOf derives the verb of a message about a type called by any of names:
// its first word, and those that are left without the type and without the
// "To" and "From" of a type that a parameter names. Of a create, what is left
// is the variant. "APIAttachL2NetworkToClusterMsg" of an L2Network is "attach",
// "APICreateDataVolumeMsg" of a Volume "create" with the variant "data".
func verbOf(message string, names, others [][]string, create bool) (verb, variant string) {
	words := split(strings.TrimSuffix(strings.TrimPrefix(message, "API"), "Msg"))
	if len(words) == 0 {
		return strings.ToLower(message), ""
	}
	first, rest := words[0], words[1:]
	rest = gather(rest, names)
	// The longest name says most: of a data volume, nothing must be left over.
	names = slices.SortedStableFunc(slices.Values(names), func(a, b []string) int { return len(b) - len(a) })
	for _, name := range names {
		var found bool
		var at int
		if rest, at, found = without(rest, name); found {
			if at > 0 && preposition(rest[at-1]) && at == len(rest) {
				rest = rest[:at-1]
			}
			break
		}
	}
	for _, other := range others {
		if r, at, found := without(rest, other); found && at > 0 && at == len(r) && preposition(r[at-1]) {
			rest = r[:at-1]
		}
	}
	if len(rest) > 0 && preposition(rest[0]) && !create {
		rest = rest[1:]
	}
	if create {
		return strings.ToLower(first), kebab(rest)
	}
	return kebab(append([]string{first}, rest...)), ""
}

// gather returns the words with those of a name of two words put together at
// the end, when they stand around others: "L2NoVlanNetwork" names an L2Network
// and is "NoVlanL2Network". Words that hold no name so are returned as they are.
func gather(words []string, names [][]string) []string {
	last := len(words) - 1
	for _, name := range names {
		if len(name) == 2 && last > 1 && strings.EqualFold(words[0], name[0]) && strings.EqualFold(words[last], name[1]) {
			return slices.Concat(words[1:last], name)
		}
	}
	return words
}

func preposition(word string) bool {
	switch word {
	case "To", "From", "Of", "On", "In", "By", "For":
		return true
	}
	return false
}
