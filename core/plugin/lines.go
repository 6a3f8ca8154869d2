package plugin

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// What is kept of a plugin's log: as many lines, of as many bytes.
const (
	keptLines = 200
	keptBytes = 1000
)

// lines keeps the end of what the processes of a plugin wrote, one after the other.
type lines struct {
	mu   sync.Mutex
	line []byte
	text []string
}

// Write implements io.Writer; it never fails.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range p {
		if c != '\n' {
			if len(l.line) < keptBytes {
				l.line = append(l.line, c)
			}
			continue
		}
		if text := strings.TrimSpace(string(l.line)); text != "" {
			l.text = append(l.text, readable(text))
		}
		l.line = l.line[:0]
		if len(l.text) > keptLines {
			l.text = slices.Delete(l.text, 0, len(l.text)-keptLines)
		}
	}
	return len(p), nil
}

// readable writes a line of hclog's JSON as people read it; others stay.
func readable(text string) string {
	var fields map[string]any
	if !strings.HasPrefix(text, "{") || json.Unmarshal([]byte(text), &fields) != nil {
		return strings.ToValidUTF8(text, "\uFFFD")
	}
	word := func(key string) string { s, _ := fields[key].(string); return s }
	out := fmt.Sprintf("%s [%s] %s", word("@timestamp"), strings.ToUpper(word("@level")), word("@message"))
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if !strings.HasPrefix(key, "@") {
			out += fmt.Sprintf(" %s=%v", key, fields[key])
		}
	}
	return out
}

// Log returns the last lines, at most limit, that a plugin's processes have written
// since the core started, the oldest first. Errors: NotFound.
func (m *Manager) Log(name string, limit int) ([]string, error) {
	s, err := m.plugin(name)
	if err != nil {
		return nil, err
	}
	s.lines.mu.Lock()
	defer s.lines.mu.Unlock()
	return slices.Clone(s.lines.text[max(0, len(s.lines.text)-limit):]), nil
}
