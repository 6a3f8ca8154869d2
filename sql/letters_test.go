package sql

import (
	"strings"
	"testing"
)

func TestFold(t *testing.T) {
	for _, same := range [][]string{{"Ñandú", "ñandú", "ÑANDÚ"}, {"ΣΊΣΥΦΟΣ", "σίσυφος"}, {"ПРИВЕТ", "привет"}, {"Straße", "STRAẞE"}, {"Ქართული", "ქართული"}, {"ꭰꮃꭹ", "ᎠᎳᎩ"}, {"𞤀𞤣", "𞤢𞤣"}, {"Ա", "ա"}, {"a_B", "A_b"}} {
		for _, s := range same[1:] {
			if Fold(s) != Fold(same[0]) || Compare(s, same[0]) != 0 || !Like(s, same[0], '\\') {
				t.Errorf("%s and %s are not the same", same[0], s)
			}
		}
	}
	ordered := []string{"", " ", "-", "A", "a ", "A-b", "a_b", "aA", "ab", "B", "n", "z", "É", "ñ", "Ж", "名", "😀", "😎"}
	for i, a := range ordered {
		for j, b := range ordered {
			if c := Compare(a, b); (c < 0) != (i < j) || (c > 0) != (i > j) || strings.Compare(Fold(a), Fold(b)) < 0 != (i < j) {
				t.Errorf("%q and %q compare as %d", a, b, c)
			}
		}
	}
}

func TestLike(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		fits          bool
	}{
		{"", "", true}, {"", "a", false}, {"%", "", true}, {"%%", "x", true}, {"_", "", false}, {"_", "名", true}, {"_", "😀", true}, {"__", "名", false},
		{"A%Z", "a-b-z", true}, {"a%b%c", "aXbXbXc", true}, {"a%b%c", "aXc", false}, {"%ÑAN%", "mi ñandú", true}, {"nandu", "ñandú", false},
		{`a\%`, "a%", true}, {`a\%`, "ab", false}, {`a\_b`, "axb", false}, {`\a`, "A", true}, {`a\`, `a\`, true}, {`\\%`, `\x`, true}, {"%a", strings.Repeat("b", 100) + "a", true},
	} {
		if got := Like(c.pattern, c.text, '\\'); got != c.fits {
			t.Errorf("%q like %q: %t", c.text, c.pattern, got)
		}
	}
	if !Like(`a\%`, `a\b`, 0) || !Like("a!%", "a%", '!') {
		t.Error("the escape is not what it was said to be")
	}
}

func TestAfter(t *testing.T) {
	for _, prefix := range []string{"a", "Z", "z", "名", "\u007f", "\ud7ff", "É", "ẞ", "a\U0010ffff"} {
		after := After(prefix)
		for _, s := range []string{prefix, prefix + "\U0010ffff", prefix + "x", strings.ToUpper(prefix) + "0"} {
			if strings.HasPrefix(Fold(s), Fold(prefix)) && Compare(s, after) >= 0 {
				t.Errorf("%q does not come before %q, which comes after what begins with %q", s, after, prefix)
			}
		}
	}
	if After("") != "" || After("\U0010ffff") != "" {
		t.Error("something comes after everything")
	}
}
