// Package kinds has the kinds of values that people write: addresses, names,
// keys. A parameter, a field, a token of a tag, a setting and a plugin's own
// field say by a word which kind they hold, and all are checked and spelled
// alike; what can never work is refused where it is written. It must not import
// anything of the project.
package kinds

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Kind is one kind of values.
type Kind struct {
	// Name is the word by which declarations refer to it.
	Name string
	// Is is what a value of it is, for people: "an IPv4 address of a machine".
	Is string
	// Rule is where that comes from: "RFC 1122, section 3.2.1.3".
	Rule string
	// Max is how many characters a value may have.
	Max int

	parse func(text string) (string, error)
}

// All are the kinds, by name.
var All = []Kind{
	{"addr", "the IP address of a machine", "RFC 1122, section 3.2.1.3; RFC 4291, section 2.5", 64, parseAddr},
	{"addr4", "the IPv4 address of a machine in a network", "RFC 1122, section 3.2.1.3; RFC 3927", 64, parseAddr4},
	{"cidr4", "an IPv4 network such as 10.0.0.0/24", "RFC 4632, section 3.1", 64, parseCIDR4},
	{"device", "the name of a network device", "at most 15 letters, digits, '.', '_' and '-' in Linux", 15, parseDevice},
	{"domain", "a DNS name", "RFC 1123, section 2.1; RFC 1035, section 2.3.4", 255, parseDomain},
	{"endpoint", "an IP address and a port such as 0.0.0.0:7172", "RFC 3986, section 3.2", 64, parseEndpoint},
	{"host", "an IP address or a host name", "RFC 1123, section 2.1", 255, parseHost},
	{"hostname", "a host name, alone or with its domain", "RFC 1123, section 2.1", 255, parseHostname},
	{"key", "one public key in OpenSSH's authorized_keys format", "sshd(8)", 16384, parseKey},
	{"keys", "public keys in OpenSSH's authorized_keys format, one a line", "sshd(8)", 65536, parseKeys},
	{"label", "a host name without a domain", "RFC 1123, section 2.1", 63, parseLabel},
	{"mac", "the MAC address of one station", "IEEE 802, section 8.2", 64, parseMAC},
	{"name", "a name of one line", "Unicode Technical Report 36, section 3.5", 255, parseName},
	{"netmask4", "an IPv4 netmask such as 255.255.255.0", "RFC 950", 64, parseNetmask4},
	{"networks", "a list of networks such as 10.0.0.0/24 and addresses, with commas between", "RFC 4632, section 3.1; RFC 4291, section 2.3", 65536, parseNetworks},
	{"path", "an absolute path", "POSIX.1-2024, section 3.2", 4000, parsePath},
	{"plainpath", "an absolute path of letters, digits and . _ - + @", "such a path needs no quotes in commands and configurations", 1024, parsePlainPath},
}

// Of returns the kind of a name.
func Of(name string) (Kind, bool) {
	i, ok := slices.BinarySearchFunc(All, name, func(k Kind, name string) int { return strings.Compare(k.Name, name) })
	if !ok {
		return Kind{}, false
	}
	return All[i], true
}

// shown bounds how much of a refused value an error repeats, in characters.
const shown = 80

// Parse returns the one spelling of a value, in which it is stored: a repeated
// call with that returns it again. Blanks and line ends around it are no part of
// it. An error says what the value is not, why, and where the rule is from; what a
// URL would have as its secrets is not in it.
func (k Kind) Parse(text string) (string, error) {
	trimmed := strings.TrimSpace(text)
	var out string
	err := errTooLong
	if utf8.RuneCountInString(trimmed) <= k.Max {
		out, err = k.parse(trimmed)
	}
	if err == nil {
		return out, nil
	}
	trimmed = Shown(trimmed)
	if r := []rune(trimmed); len(r) > shown {
		trimmed = string(r[:shown]) + "…"
	}
	if errors.Is(err, errTooLong) {
		return "", fmt.Errorf("%q has more than the %d characters of %s", trimmed, k.Max, k.Is)
	}
	if why := err.Error(); why != "" {
		return "", fmt.Errorf("%q is not %s, but %s (%s)", trimmed, k.Is, why, k.Rule)
	}
	return "", fmt.Errorf("%q is not %s (%s)", trimmed, k.Is, k.Rule)
}

// Shown is a text that is refused as an error may repeat it: what stands where a URL
// has user, password and query is left out, as people write URLs where something
// else is asked for.
func Shown(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		text, _, _ = strings.Cut(text, "?")
	} else if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
		text = u.String()
	}
	if i := strings.LastIndexByte(text, '@'); i >= 0 { // user:password@host:/folder
		return "…" + text[i:]
	}
	return text
}

// Parse is Kind.Parse of the kind of a name, for plugins and agents; an unknown
// kind has no values.
func Parse(kind, text string) (string, error) {
	k, ok := Of(kind)
	if !ok {
		return "", fmt.Errorf("there is no kind %q", kind)
	}
	return k.Parse(text)
}

// Exact refuses what is not of a kind, or not in its one spelling: what is written
// into configurations as it is.
func Exact(kind, text string) error {
	spelling, err := Parse(kind, text)
	if err == nil && spelling != text {
		err = fmt.Errorf("%.80q is spelled %q", text, spelling)
	}
	return err
}

// ParseSecret is Parse for values that nobody may see: an error does not have it.
func (k Kind) ParseSecret(text string) (string, error) {
	out, err := k.Parse(text)
	if err != nil {
		return "", fmt.Errorf("it is not %s (%s)", k.Is, k.Rule)
	}
	return out, nil
}

// errNot is the reason when there is nothing to add to what the kind is.
var (
	errNot     = errors.New("")
	errTooLong = errors.New("too long")
)

func but(format string, args ...any) error { return fmt.Errorf(format, args...) }
