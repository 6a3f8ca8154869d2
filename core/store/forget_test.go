package store

import (
	"fmt"
	"testing"
)

// TestOldAnswersGoFirst fills the memory with answers that soon are old: those
// that are not stay, until there is no room for all of these either.
func TestOldAnswersGoFirst(t *testing.T) {
	var m memory
	var calm, busy lastChange
	const size = 100 << 10
	commit := uint64(0)
	put := func(key string, of *lastChange) {
		m.put([]byte(key), &memorised{value: key, size: size, at: commit, of: []*lastChange{of}})
	}
	kept := func(name string, n int) (found int) {
		for i := range n {
			if _, ok := m.get(fmt.Appendf(nil, "%s %d", name, i)); ok {
				found++
			}
		}
		return found
	}
	const few, many = 50, 3 * maxMemory / size
	for i := range few {
		put(fmt.Sprintf("calm %d", i), &calm)
	}
	for i := range many {
		put(fmt.Sprintf("busy %d", i), &busy)
		commit++
		busy.changed.Store(commit)
	}
	if n := kept("calm", few); n != few {
		t.Errorf("%d of %d answers are left that are not old", n, few)
	}
	if n := kept("busy", many); n != 0 {
		t.Errorf("%d old answers were given", n)
	}
	for i := range many {
		put(fmt.Sprintf("more %d", i), &calm)
	}
	if n := kept("more", many); n < maxMemory*3/4/size || m.size > maxMemory {
		t.Errorf("%d answers of %d bytes are left, which take %d", n, size, m.size)
	}
}
