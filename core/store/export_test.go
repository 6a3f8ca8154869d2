package store

import "context"

// Raw runs a statement that writes no rows, such as KILL.
func (tx *Tx) Raw(ctx context.Context, query string) error {
	_, err := tx.run(ctx, query, nil)
	return err
}

// Waiting tells how many fns wait for SQLite's writer.
func (s *Store) Waiting() int { return len(s.backend.(*writer).queue) }
