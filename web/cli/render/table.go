package render

import (
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// table writes cells in columns, three blanks apart. Columns are as wide as they
// look: a Chinese character takes two places.
type table struct {
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(w io.Writer) error {
	var b strings.Builder
	for _, line := range t.lines() {
		b.WriteString(line + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// lines lays the cells out, without blanks at the ends.
func (t *table) lines() []string {
	var widths []int
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], cells(cell))
		}
	}
	var out []string
	for _, row := range t.rows {
		line := ""
		for i, cell := range row {
			line += cell + strings.Repeat(" ", widths[i]-cells(cell)+3)
		}
		out = append(out, strings.TrimRight(line, " "))
	}
	return out
}

// cells is how many places a text takes: two for each wide character (Unicode
// UAX #11).
func cells(text string) int {
	n := utf8.RuneCountInString(text)
	for _, r := range text {
		if kind := width.LookupRune(r).Kind(); kind == width.EastAsianWide || kind == width.EastAsianFullwidth {
			n++
		}
	}
	return n
}
