package schema

import (
	"strings"
	"unicode"
)

// Kebab writes a wire name as a flag or a verb: instanceOfferingUuid is
// instance-offering-uuid, APIAddDnsToL3NetworkMsg is add-dns-to-l3-network.
func Kebab(name string) string {
	name = strings.TrimSuffix(strings.TrimPrefix(name, "API"), "Msg")
	runes := []rune(name)
	var b strings.Builder
	for i, r := range runes {
		// A row of capitals is one word: getVMConsole is get-vm-console.
		begins := unicode.IsUpper(r) && i > 0 &&
			(!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]))
		if begins && runes[i-1] != '-' {
			b.WriteByte('-')
		}
		if r == '_' {
			r = '-'
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// Spaced writes a wire name as words: vipIp is "Vip ip". It stands for a caption
// that is not there.
func Spaced(name string) string {
	text := strings.ReplaceAll(Kebab(name), "-", " ")
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// withoutUUID drops the words uuid and uuids: l3-network-uuids is l3-network.
func withoutUUID(kebab string) string {
	var words []string
	for w := range strings.SplitSeq(kebab, "-") {
		if w != "uuid" && w != "uuids" {
			words = append(words, w)
		}
	}
	return strings.Join(words, "-")
}

// Nearest returns the word that was probably meant, or "": the one with the
// fewest changes, at most a third of its letters, or the only one that begins so.
func Nearest(text string, words []string) string {
	text = strings.ToLower(text)
	best, least := "", 1000
	var begins []string
	for _, w := range words {
		lower := strings.ToLower(w)
		if n := distance(text, lower); n < least && n <= max(1, (max(len(text), len(lower))+1)/3) {
			best, least = w, n
		}
		if len(text) > 1 && strings.HasPrefix(lower, text) {
			begins = append(begins, w)
		}
	}
	if len(begins) == 1 && least > 1 {
		return begins[0]
	}
	return best
}

// distance counts the letters to add, drop, change or swap.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			n := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				n = min(n, rows[i-2][j-2]+1)
			}
			rows[i][j] = n
		}
	}
	return rows[len(x)][len(y)]
}
