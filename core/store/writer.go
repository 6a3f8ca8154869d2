package store

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

const (
	// maxBatch bounds how long the first fn of a batch waits for the commit.
	maxBatch = 256
	// gather is how long a batch waits for one more fn, each time, and maxGather
	// for all of them: a commit costs as much as several fns, in pages written
	// twice and in all that is read anew after it. Only a batch that follows one
	// of several fns waits, so that a caller without company never does.
	gather, maxGather = 500 * time.Microsecond, 2 * time.Millisecond
	// maxWaiting bounds the queue; further callers wait to enter it.
	maxWaiting = 1024
	// maxQueued is how long a fn may wait in the queue. A fn of Update that
	// calls Update would otherwise wait for itself for ever.
	maxQueued = 30 * time.Second
)

// job is one call of Update.
type job struct {
	ctx   context.Context
	fn    func(*Tx) error
	state atomic.Int32
	err   error
	tx    *Tx // of fn, when it has run
	done  chan struct{}
}

const (
	queued int32 = iota
	running
	cancelled
)

// writer owns SQLite's only writing connection.
type writer struct {
	s       *Store
	db      *sqlx.DB // of the writing connection and the checkpointing one
	conn    *direct
	tx      *sqlx.Tx
	lock    *os.File
	files   openFiles
	queue   chan *job
	quit    chan struct{} // closed to stop the writer
	stopped chan struct{} // closed when it takes no more jobs
	once    sync.Once
	batch   []*job
	company bool          // the batch before had several fns
	dirty   bool          // the open transaction holds writes of an earlier fn
	first   int           // in the batch, that wrote
	careful bool          // each fn of it has a savepoint
	touched []*lastChange // of the tables that these wrote
	commits int           // with writes, since the log was looked at
	written int64         // rows, since the statistics were

	check    chan struct{} // asks for a checkpoint
	checked  chan struct{} // closed when no checkpoint runs any more
	finished chan struct{} // closed when the connection is closed
	closing  error
}

func startWriter(s *Store, db *sqlx.DB, conn *direct, lock *os.File, files openFiles) *writer {
	w := &writer{s: s, db: db, conn: conn, lock: lock, files: files, queue: make(chan *job, maxWaiting), quit: make(chan struct{}), stopped: make(chan struct{}),
		check: make(chan struct{}, 1), checked: make(chan struct{}), finished: make(chan struct{})}
	go w.loop()
	go w.checkpoints()
	return w
}

func (w *writer) update(ctx context.Context, fn func(*Tx) error) error {
	j := &job{ctx: ctx, fn: fn, done: make(chan struct{})}
	select {
	case w.queue <- j:
	case <-ctx.Done():
		return errs.Wrap(errs.ClassOf(ctx.Err()), "database "+w.s.name, ctx.Err(), "the queue of writes is full")
	case <-w.stopped:
		return errClosed(w.s.name)
	}
	timer := time.NewTimer(maxQueued)
	defer timer.Stop()
	var giveUp error
	select {
	case <-j.done:
	case <-ctx.Done():
		giveUp = errs.Wrap(errs.ClassOf(ctx.Err()), "database "+w.s.name, ctx.Err(), "given up before the write began")
	case <-timer.C:
		// Also what happens when Update is called inside Update.
		giveUp = errs.New(errs.Internal, "database "+w.s.name, "the writer was busy for %s", maxQueued).
			WithAdvice("repeat the call; if this stays, see whether the disk of the database stands still")
	case <-w.stopped:
		giveUp = errClosed(w.s.name)
	}
	if giveUp != nil && j.state.CompareAndSwap(queued, cancelled) {
		return giveUp
	}
	<-j.done
	if j.err != nil {
		return j.err
	}
	for _, f := range j.tx.hooks {
		f()
	}
	return nil
}

// loop runs batches until the store is closed. A fn that ends the goroutine
// (runtime.Goexit, as a failing test does) fails with its batch, and the loop
// goes on in a new goroutine.
func (w *writer) loop() {
	regular := false
	defer func() {
		if !regular {
			w.abandon(errs.New(errs.Internal, "transaction", "its function ended the goroutine"))
			go w.loop()
		}
	}()
	for {
		select {
		case j := <-w.queue:
			w.run(j)
			continue
		default:
		}
		select {
		case j := <-w.queue:
			w.run(j)
		case <-w.quit:
			regular = true
			w.finish()
			return
		}
	}
}

// run makes one transaction of the first job and all that wait behind it.
func (w *writer) run(j *job) {
	w.batch, w.dirty, w.careful, w.touched = w.batch[:0], false, false, w.touched[:0]
	if err := w.begin(); err != nil {
		w.fail(j, err)
		return
	}
	patience := maxGather
	for {
		if j.state.CompareAndSwap(queued, running) {
			w.batch = append(w.batch, j)
			if lost := w.apply(j); lost != nil {
				w.abandon(lost)
				return
			}
		}
		if len(w.batch) >= maxBatch {
			break
		}
		if j = w.next(&patience); j == nil {
			break
		}
	}
	w.company = len(w.batch) > 1
	err := w.commit()
	if err != nil {
		w.abandon(err)
		return
	}
	for _, j := range w.batch {
		if j.err == nil {
			j.tx.committed()
		}
	}
	w.answer()
	if w.dirty {
		w.watchLog()
	}
}

// commit ends the transaction, which has no effect when it writes to files that
// nobody can open any more.
func (w *writer) commit() error {
	if w.dirty {
		if err := w.usable(); err != nil {
			return err
		}
	}
	begins(w.touched)
	defer w.s.ended(w.touched)
	return w.tx.Commit()
}

// next returns the job that joins the batch, or nil when none comes in time.
// Its waiting is taken from patience.
func (w *writer) next(patience *time.Duration) *job {
	select {
	case j := <-w.queue:
		return j
	default:
	}
	if !w.company || *patience <= 0 {
		return nil
	}
	began := time.Now()
	timer := time.NewTimer(min(gather, *patience))
	defer timer.Stop()
	select {
	case j := <-w.queue:
		*patience -= time.Since(began)
		return j
	case <-timer.C:
		return nil
	}
}

func (w *writer) fail(j *job, err error) {
	if j.state.CompareAndSwap(queued, running) {
		j.err = w.s.explain(err, "BEGIN")
		close(j.done)
	}
}

// apply runs one fn. Its writes are undone when it fails. Savepoints would do
// that, but SQLite then copies every page before its first change by each fn,
// and nearly no fn fails once it has written: so the transaction begins anew,
// and with savepoints, when one did. The error returned says that the whole
// transaction is lost.
func (w *writer) apply(j *job) error {
	if j.err = j.ctx.Err(); j.err != nil {
		return nil
	}
	wrote, saved := false, false
	tx := &Tx{s: w.s, session: w.conn, steadfast: true, cause: CauseOf(j.ctx), batch: &w.touched}
	tx.beforeWrite = func() error {
		if w.dirty && w.careful {
			if err := w.exec("SAVEPOINT fn"); err != nil {
				return err
			}
			saved = true
		}
		wrote = true
		return nil
	}
	j.err, j.tx = w.s.call(j.ctx, tx, j.fn), tx
	if j.err == nil {
		w.written += tx.written
		for _, st := range tx.touched {
			w.touched = appendNew(w.touched, st)
		}
	}
	switch {
	case !wrote:
		return nil
	case j.err == nil && saved:
		return w.exec("RELEASE fn")
	case j.err == nil:
		if !w.dirty {
			w.dirty, w.first = true, len(w.batch)-1
		}
		return nil
	case saved:
		if err := w.exec("ROLLBACK TO fn"); err != nil {
			return errors.Join(j.err, err)
		}
		return w.exec("RELEASE fn")
	}
	if err := w.anew(); err != nil {
		return errors.Join(j.err, err)
	}
	return nil
}

// anew begins the transaction again, and with savepoints does in it what had
// been done before a fn failed.
func (w *writer) anew() error {
	if err := w.rollback(); err != nil {
		return err
	}
	if err := w.begin(); err != nil || !w.dirty {
		return err
	}
	w.dirty, w.careful, w.touched = false, true, w.touched[:0]
	for _, j := range w.batch[w.first:] {
		if j.err != nil {
			continue
		}
		w.written -= j.tx.written
		if err := w.apply(j); err != nil {
			return err
		}
	}
	return nil
}

// begin starts a transaction. Its statements are those of the connection,
// which stay prepared, and not the transaction's own: what runs on the
// connection runs in its transaction.
func (w *writer) begin() (err error) {
	w.tx, err = w.conn.BeginTxx(context.Background(), nil)
	return err
}

// rollback ends the transaction, unless it did not begin, or a failed COMMIT
// or SQLite itself has ended it.
func (w *writer) rollback() error {
	if w.tx == nil {
		return nil
	}
	err := w.tx.Rollback()
	if errors.Is(err, sql.ErrTxDone) || err != nil && noTransaction(err) {
		return nil
	}
	return err
}

// exec runs what database/sql has no call for: savepoints.
func (w *writer) exec(query string) error {
	_, err := w.conn.exec(context.Background(), query, nil)
	return err
}

// abandon rolls the transaction back and fails every job of the batch that
// has not failed by itself.
func (w *writer) abandon(err error) {
	if rerr := w.rollback(); rerr != nil {
		err = errors.Join(err, rerr)
	}
	err = w.s.explain(err, "COMMIT")
	w.s.log.Error("transaction lost", "database", w.s.name, "functions", len(w.batch), "error", err)
	for _, j := range w.batch {
		if j.err == nil {
			j.err = err
		}
	}
	w.answer()
}

func (w *writer) answer() {
	for i, j := range w.batch {
		w.batch[i] = nil
		close(j.done)
	}
	w.batch = w.batch[:0]
}

// finish answers what still waits and closes the connection.
func (w *writer) finish() {
	close(w.stopped)
	for {
		select {
		case j := <-w.queue:
			w.fail(j, errClosed(w.s.name))
			continue
		default:
		}
		break
	}
	<-w.checked
	w.analyze()
	w.closing = errors.Join(w.conn.close(), w.db.Close(), w.lock.Close())
	close(w.finished)
}

func (w *writer) close() error {
	w.once.Do(func() { close(w.quit) })
	<-w.finished
	return w.closing
}

func (w *writer) change(ctx context.Context, fn func(context.Context, *Tx) error) error {
	return w.update(ctx, func(tx *Tx) error { return fn(ctx, tx) })
}
