package kinds

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// parsePath takes the absolute path of a file or a folder. Slashes at its end, and
// more than one between names, are no part of it, nor is ".".
func parsePath(text string) (string, error) {
	switch {
	case !path.IsAbs(text):
		return "", errNot
	case strings.ContainsFunc(text, unicode.IsControl):
		return "", but("it has control characters")
	case slices.Contains(strings.Split(text, "/"), ".."):
		return "", but("it leads up again, by \"..\"")
	}
	return path.Clean(text), nil
}

var plainPath = regexp.MustCompile(`^/[A-Za-z0-9._@+/-]+$`)

// parsePlainPath takes those that mean the same in shells, XML, and lists with commas,
// but not the root.
func parsePlainPath(text string) (string, error) {
	spelling, err := parsePath(text)
	switch {
	case err != nil:
		return "", err
	case spelling == "/":
		return "", but("it is the root of all")
	case !plainPath.MatchString(spelling):
		return "", but("it has other characters")
	}
	return spelling, nil
}
