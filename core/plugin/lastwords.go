package plugin

import (
	"strings"
	"sync"
)

// lastWords keeps the end of what a process wrote on stderr, less the JSON
// lines: those are in the log.
type lastWords struct {
	mu   sync.Mutex
	line []byte
	text []string
	// panicked is set by the line that says why the runtime gave up; the stack
	// after it is in the log.
	panicked bool
}

const (
	wordsLines = 5
	wordsBytes = 400
)

func (w *lastWords) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range p {
		if c != '\n' {
			if len(w.line) < wordsBytes {
				w.line = append(w.line, c)
			}
			continue
		}
		w.add(strings.TrimSpace(string(w.line)))
		w.line = w.line[:0]
	}
	return len(p), nil
}

func (w *lastWords) add(s string) {
	if s == "" || strings.HasPrefix(s, "{") || w.panicked {
		return
	}
	w.panicked = strings.HasPrefix(s, "panic: ") || strings.HasPrefix(s, "fatal error: ")
	w.text = append(w.text, s)
	if len(w.text) > wordsLines {
		w.text = w.text[1:]
	}
}

func (w *lastWords) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.text, " / ")
}
