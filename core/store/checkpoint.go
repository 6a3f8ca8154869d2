package store

import (
	"context"

	"github.com/jmoiron/sqlx"
)

// SQLite appends commits to a write-ahead log and copies them into the file in
// a checkpoint, which needs two fsyncs. By default the committing connection
// does it; here another connection does it beside the writer. Sizes are in
// pages of 4 KiB.
const (
	// lookEvery is the number of commits between looks at the log.
	lookEvery = 16
	// softLog asks for a checkpoint beside the writer.
	softLog = 4096
	// hardLog makes the writer wait for one, so that the log is bounded under
	// any load.
	hardLog = 65536
)

// watchLog looks at the size of the write-ahead log now and then.
func (w *writer) watchLog() {
	if w.commits++; w.commits < lookEvery {
		return
	}
	w.commits = 0
	if w.written > analyzeEvery {
		w.written = 0
		w.analyze()
	}
	pages, err := checkpoint(w.conn, "NOOP")
	if err == nil && pages > hardLog {
		pages, err = checkpoint(w.conn, "RESTART")
	}
	if err != nil {
		w.s.log.Warn("write-ahead log not checkpointed", "database", w.s.name, "error", err)
		return
	}
	if pages > softLog {
		select {
		case w.check <- struct{}{}:
		default:
		}
	}
}

// analyzeEvery is the number of written rows after which the statistics are
// looked at. SQLite chooses between indexes by them; without, it takes any
// equality, such as a state that most rows have, for selective. A table is
// read again (a sample) only when it has grown or shrunk tenfold.
const analyzeEvery = 20000

func (w *writer) analyze() {
	for _, pragma := range []string{"PRAGMA analysis_limit=400", "PRAGMA optimize=0x10002"} {
		if _, err := w.conn.ExecContext(context.Background(), pragma); err != nil {
			w.s.log.Warn("statistics not renewed", "database", w.s.name, "error", err)
			return
		}
	}
}

// checkpoint runs one checkpoint and returns the pages that are in the log.
func checkpoint(c sqlx.QueryerContext, mode string) (pages int64, err error) {
	var state struct{ Busy, Log, Checkpointed int64 } // pages
	err = sqlx.GetContext(context.Background(), c, &state, "PRAGMA wal_checkpoint("+mode+")")
	return state.Log, err
}

// checkpoints runs the checkpoints that watchLog asks for.
func (w *writer) checkpoints() {
	defer close(w.checked)
	for {
		select {
		case <-w.quit:
			return
		case <-w.check:
		}
		_, err := checkpoint(w.db, "PASSIVE")
		if err != nil {
			w.s.log.Warn("write-ahead log not checkpointed", "database", w.s.name, "error", err)
		}
	}
}
