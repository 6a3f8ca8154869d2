package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kumo-cloud/kumo/integration/wire"
)

const (
	// jobTimeout bounds the wait for one VM.
	jobTimeout = 2 * time.Minute
	// maxErrors is how many errors a load keeps to show; all are counted.
	maxErrors = 5
)

// load is a source of requests from several clients at once.
type load struct {
	addr    string
	session string
	clients int
}

// outcome is what a load measured.
type outcome struct {
	Count  int
	Errors int
	First  []string // the first errors
	Took   time.Duration
	// P50, P99 and Max are latencies of what succeeded.
	P50, P99, Max time.Duration
	uuids         []string
}

// perSecond is the rate of successes.
func (o outcome) perSecond() float64 { return float64(o.Count-o.Errors) / o.Took.Seconds() }

// worker is one client.
type worker struct {
	*conn
	rnd       *rand.Rand
	path      []byte
	latencies []time.Duration
	uuids     []string
	errors    []error
	// typical is a running mean of job durations, from which the first poll
	// is timed.
	typical time.Duration
}

// run lets the clients do until it says that there is no more to do.
func (l load) run(do func(w *worker) (more bool, err error)) outcome {
	workers := make([]*worker, l.clients)
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range workers {
		w := &worker{conn: newConn(l.addr, l.session), rnd: rand.New(rand.NewPCG(rand.Uint64(), uint64(i)))}
		workers[i] = w
		wg.Go(func() {
			for {
				start := time.Now()
				more, err := do(w)
				if !more {
					break
				}
				if err != nil {
					w.errors = append(w.errors, err)
					continue
				}
				w.latencies = append(w.latencies, time.Since(start))
			}
			if err := w.close(); err != nil && len(w.errors) > 0 {
				w.errors = append(w.errors, err)
			}
		})
	}
	wg.Wait()
	return summarise(workers, time.Since(begin))
}

func summarise(workers []*worker, took time.Duration) outcome {
	o := outcome{Took: took}
	var all []time.Duration
	for _, w := range workers {
		all = append(all, w.latencies...)
		o.uuids = append(o.uuids, w.uuids...)
		o.Errors += len(w.errors)
		for _, err := range w.errors {
			if len(o.First) < maxErrors {
				o.First = append(o.First, err.Error())
			}
		}
	}
	o.Count = len(all) + o.Errors
	if slices.Sort(all); len(all) > 0 {
		o.P50, o.P99, o.Max = all[len(all)/2], all[len(all)*99/100], all[len(all)-1]
	}
	return o
}

// vmBody is the request that creates a VM, cut where name and UUID go.
type vmBody struct{ before, between, after []byte }

func newVMBody(cloud *wire.Cloud) vmBody {
	// The marks are not changed by JSON and are in nothing else.
	p := cloud.VM("@name@")
	p["resourceUuid"] = "@uuid@"
	text := mustJSON(map[string]any{"params": p})
	before, rest, _ := bytes.Cut(text, []byte("@name@"))
	between, after, _ := bytes.Cut(rest, []byte("@uuid@"))
	return vmBody{before, between, after}
}

func (b vmBody) appendTo(buf []byte, n int, uuid []byte) []byte {
	buf = append(append(buf, b.before...), "bench-"...)
	buf = strconv.AppendInt(buf, int64(n), 10)
	buf = append(append(buf, b.between...), uuid...)
	return append(buf, b.after...)
}

// newUUID returns a random UUID (version 4) as the wire wants it.
func newUUID(r *rand.Rand) []byte {
	var raw [16]byte
	for i := range raw {
		raw[i] = byte(r.Uint32())
	}
	raw[6] = raw[6]&0x0f | 0x40
	raw[8] = raw[8]&0x3f | 0x80
	return hex.AppendEncode(nil, raw[:])
}

// createVMs makes n VMs and measures each from its POST to the end of its job.
func (l load) createVMs(cloud *wire.Cloud, first, n int) outcome {
	body := newVMBody(cloud)
	var next atomic.Int64
	return l.run(func(w *worker) (bool, error) {
		i := int(next.Add(1))
		if i > n {
			return false, nil
		}
		uuid := newUUID(w.rnd)
		if err := w.createVM(body.appendTo(nil, first+i, uuid)); err != nil {
			return true, fmt.Errorf("create VM %d: %w", first+i, err)
		}
		w.uuids = append(w.uuids, string(uuid))
		return true, nil
	})
}

func (w *worker) createVM(body []byte) error {
	begin := time.Now()
	if err := w.begin(body); err != nil {
		return err
	}
	// One poll shortly after the usual end costs the server less than many.
	time.Sleep(w.typical - w.typical/8 - time.Since(begin))
	pause := max(w.typical/16, time.Millisecond)
	for {
		status, answer, err := w.get(string(w.path))
		switch {
		case err != nil:
			return err
		case status == http.StatusOK:
			took := time.Since(begin)
			w.typical += (took - w.typical) / 4
			return nil
		case status != http.StatusAccepted:
			return fmt.Errorf("status %d: %s", status, shorten(answer))
		case time.Since(begin) > jobTimeout:
			return fmt.Errorf("the job has not ended within %s", jobTimeout)
		}
		time.Sleep(pause)
		pause = min(2*pause, 100*time.Millisecond)
	}
}

// begin posts and keeps the path of the job.
func (w *worker) begin(body []byte) error {
	status, answer, err := w.post(wire.Root+wire.VMs, body)
	if err != nil {
		return err
	}
	if status != http.StatusAccepted {
		return fmt.Errorf("status %d: %s", status, shorten(answer))
	}
	w.path, err = jobPath(w.path[:0], answer)
	return err
}

// beginVMs posts n VMs and waits for none.
func (l load) beginVMs(cloud *wire.Cloud, first, n int) outcome {
	body := newVMBody(cloud)
	var next atomic.Int64
	return l.run(func(w *worker) (bool, error) {
		i := int(next.Add(1))
		if i > n {
			return false, nil
		}
		return true, w.begin(body.appendTo(nil, first+i, newUUID(w.rnd)))
	})
}

// read requests paths for a while; each answer must have status 200 and hold
// the text that goes with the path.
func (l load) read(d time.Duration, choose func(*rand.Rand) (path, text string)) outcome {
	end := time.Now().Add(d)
	return l.run(func(w *worker) (bool, error) {
		if time.Now().After(end) {
			return false, nil
		}
		path, text := choose(w.rnd)
		status, answer, err := w.get(path)
		if err != nil {
			return true, err
		}
		if status != http.StatusOK || !bytes.Contains(answer, []byte(text)) {
			return true, errors.New("GET " + path + ": status " + strconv.Itoa(status) + " without " + text + ": " + shorten(answer))
		}
		return true, nil
	})
}
