package kinds

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"
)

// parseLabel takes one label of a DNS name.
func parseLabel(text string) (string, error) {
	if strings.Contains(text, ".") {
		return "", but("a name with a domain, or an address")
	}
	return text, label(text)
}

func label(text string) error {
	switch {
	case text == "":
		return but("a part of it is empty")
	case len(text) > 63:
		return but("a part of it has more than 63 characters")
	case text[0] == '-' || text[len(text)-1] == '-':
		return but("a part of it begins or ends with '-'")
	}
	for i := range len(text) {
		c := text[i]
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && c != '-' {
			return but("it has other characters than letters, digits and '-'")
		}
	}
	return nil
}

// parseDomain takes a name of labels; the dot of the root at its end is no part
// of it. A name whose last label is a number would be read as an address.
func parseDomain(text string) (string, error) {
	text = strings.TrimSuffix(text, ".")
	if len(text) > 253 {
		return "", but("more than 253 characters")
	}
	last := ""
	for l := range strings.SplitSeq(text, ".") {
		if err := label(l); err != nil {
			return "", err
		}
		last = l
	}
	if strings.Trim(last, "0123456789") == "" {
		return "", but("an address, or looks like one")
	}
	return text, nil
}

// parseDevice takes what Linux takes for a device's name, less what would
// confuse a shell or a file system (net/core/dev.c, dev_valid_name).
func parseDevice(text string) (string, error) {
	for i := range len(text) {
		c := text[i]
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && (i == 0 || !strings.ContainsRune("_.-", rune(c))) {
			return "", errNot
		}
	}
	if text == "" {
		return "", errNot
	}
	return text, nil
}

// parseName takes names of one line that have something to see.
func parseName(text string) (string, error) {
	if text == "" {
		return "", but("empty")
	}
	if r := Harmful(text, true); r >= 0 {
		return "", but("has the character %U, which is not allowed", r)
	}
	return text, nil
}

// parseHostname takes a label, or one with a domain behind it.
func parseHostname(text string) (string, error) {
	if strings.Contains(strings.TrimSuffix(text, "."), ".") {
		return parseDomain(text)
	}
	return text, label(text)
}

// parseKey takes one key, as ssh-keygen writes it and as people keep it in files:
// with its options and comment, among comments and empty lines.
func parseKey(text string) (string, error) {
	lines := keyLines(text)
	switch len(lines) {
	case 0:
		return "", errNot
	case 1:
		return lines[0], checkKey(lines[0])
	}
	return "", but("there are several")
}

// parseKeys takes a file of keys; each counts once.
func parseKeys(text string) (string, error) {
	var keys []string
	for n, line := range keyLines(text) {
		switch err := checkKey(line); {
		case err == errNot:
			return "", but("key %d is none", n+1)
		case err != nil:
			return "", but("key %d is %w", n+1, err)
		case !slices.Contains(keys, line):
			keys = append(keys, line)
		}
	}
	if len(keys) == 0 {
		return "", errNot
	}
	return strings.Join(keys, "\n"), nil
}

// keyLines are the lines with keys of a file (sshd(8), AUTHORIZED_KEYS FILE
// FORMAT): "empty lines and lines starting with a # are ignored".
func keyLines(text string) (lines []string) {
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == '\r' }) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}

func checkKey(line string) error {
	if strings.Contains(line, "PRIVATE KEY") {
		return but("a private key, which must not be shown to anybody")
	}
	if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line)); err != nil {
		return errNot
	}
	if r := Harmful(line, true); r >= 0 && r != '\t' {
		return but("one with the character %U, which is not allowed", r)
	}
	return nil
}

// Harmful returns the first character of a text that may not be in it, -1 when
// all may: controls, which terminals obey, and marks that change the direction of
// what is around them, so that a text looks like another one (Unicode Technical
// Report 36, section 3.5). Texts that are no names may have lines and tabs.
func Harmful(s string, name bool) rune {
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
