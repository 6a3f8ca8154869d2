package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

// row is one line of the table.
type row struct {
	Name string `json:"name"`
	// Value is the measured number in Unit.
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Notes tell what else was measured, such as latencies.
	Notes string `json:"notes,omitempty"`
	// Goal is the architecture's, in its words; "" for none.
	Goal string `json:"goal,omitempty"`
	// Met tells whether the goal was met; nil without a goal.
	Met *bool `json:"met,omitempty"`
	// Errors counts what failed.
	Errors int `json:"errors"`
}

// report collects rows and errors.
type report struct {
	rows   []row
	errors []string
}

func (r *report) add(x row) { r.rows = append(r.rows, x) }

// load adds what a load measured, with its errors.
func (r *report) load(x row, o outcome) {
	x.Value, x.Unit = o.perSecond(), "/s"
	x.Notes = strings.TrimPrefix(x.Notes+fmt.Sprintf(", p50 %s, p99 %s, max %s", short(o.P50), short(o.P99), short(o.Max)), ", ")
	if x.Errors = o.Errors; o.Errors > 0 {
		r.fail("%s: %d of %d failed, such as: %s", x.Name, o.Errors, o.Count, strings.Join(o.First, "\n  "))
	}
	r.add(x)
}

func (r *report) fail(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

// short rounds a duration to three digits.
func short(d time.Duration) string {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

// table writes the rows as Markdown.
func (r *report) table() string {
	var b strings.Builder
	b.WriteString("| what | measured | more | goal | met | errors |\n|---|---|---|---|---|---|\n")
	for _, x := range r.rows {
		met := ""
		if x.Met != nil {
			met = map[bool]string{true: "yes", false: "NO"}[*x.Met]
		}
		fmt.Fprintf(&b, "| %s | %s%s | %s | %s | %s | %d |\n", x.Name, number(x.Value), x.Unit, x.Notes, x.Goal, met, x.Errors)
	}
	return b.String()
}

// number writes a value with about three digits.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

func (r *report) writeJSON(path string) error {
	return os.WriteFile(path, append(mustJSON(map[string]any{"rows": r.rows, "errors": r.errors}), '\n'), 0o644)
}

// mustJSON marshals values of the program's own types, which cannot fail.
func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

func yes(b bool) *bool { return &b }
