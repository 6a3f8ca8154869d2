package sql

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"sort"
	"strconv"
	"strings"
	"text/template"
)

//go:embed migrations
var files embed.FS

// Migration is one change of the schema.
type Migration struct {
	// Version is the number in the file's name, counted from 1 without gaps.
	Version int
	// Name is the rest of the file's name.
	Name string
	// Text is the template.
	Text string
}

// All returns the embedded migrations in order.
func All() ([]Migration, error) { return load(files) }

func load(from fs.FS) ([]Migration, error) {
	names, err := fs.Glob(from, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	sort.Strings(names)
	var out []Migration
	for i, name := range names {
		base := strings.TrimSuffix(strings.TrimPrefix(name, "migrations/"), ".sql")
		number, title, ok := strings.Cut(base, "_")
		version, err := strconv.Atoi(number)
		if !ok || err != nil || version != i+1 {
			return nil, fmt.Errorf("migration %s: file %d is named %04d_name.sql", name, i+1, i+1)
		}
		text, err := fs.ReadFile(from, name)
		if err != nil {
			return nil, fmt.Errorf("migration %s: %w", name, err)
		}
		out = append(out, Migration{Version: version, Name: title, Text: string(text)})
	}
	return out, nil
}

// Checksum identifies the template's text.
func (m Migration) Checksum() string {
	sum := sha256.Sum256([]byte(m.Text))
	return hex.EncodeToString(sum[:])
}

// Statements renders a migration for a dialect.
func (m Migration) Statements(d Dialect) ([]string, error) {
	stmts, err := Render(m.Text, d)
	if err != nil {
		return nil, fmt.Errorf("migration %04d %s: %w", m.Version, m.Name, err)
	}
	return stmts, nil
}

// Render executes a migration's template and splits it into statements, which
// end with a semicolon at the end of a line. Lines that begin with "--" are
// comments.
func Render(text string, d Dialect) ([]string, error) {
	tmpl, err := template.New("migration").Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	if err := tmpl.Execute(&b, d); err != nil {
		return nil, err
	}
	var stmts []string
	var stmt strings.Builder
	for line := range strings.Lines(b.String()) {
		if trimmed := strings.TrimSpace(line); trimmed == "" || strings.HasPrefix(trimmed, "--") {
			continue
		}
		stmt.WriteString(line)
		if strings.HasSuffix(strings.TrimSpace(line), ";") {
			stmts = append(stmts, strings.TrimSuffix(strings.TrimSpace(stmt.String()), ";"))
			stmt.Reset()
		}
	}
	if rest := strings.TrimSpace(stmt.String()); rest != "" {
		return nil, fmt.Errorf("the last statement has no semicolon: %q", rest)
	}
	return stmts, nil
}
