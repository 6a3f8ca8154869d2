package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// mirror is a server whose connections break. It gives ranges as net/http does.
type mirror struct {
	data   []byte
	header map[string]string
	// upTo is after how many bytes of its body an answer breaks off; answers
	// beyond the list, and negative ones, are whole.
	upTo []int
	// odd may answer a request itself; n counts from 0.
	odd func(m *mirror, n int, w http.ResponseWriter, r *http.Request) bool

	mu    sync.Mutex
	asked []string // Range and If-Range
	sent  int
}

func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	n := len(m.asked)
	m.asked = append(m.asked, strings.TrimSpace(r.Header.Get("Range")+" "+r.Header.Get("If-Range")))
	m.mu.Unlock()
	if m.odd != nil && m.odd(m, n, w, r) {
		return
	}
	for k, v := range m.header {
		w.Header().Set(k, v)
	}
	left := -1
	if n < len(m.upTo) {
		left = m.upTo[n]
	}
	changed, _ := http.ParseTime(m.header["Last-Modified"]) // zero for none
	http.ServeContent(&breaking{w, m, left}, r, "", changed, bytes.NewReader(m.data))
}

func (m *mirror) requests() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.asked)
}

// breaking breaks the connection after left bytes.
type breaking struct {
	http.ResponseWriter
	m    *mirror
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	cut := b.left >= 0 && len(p) > b.left
	if cut {
		p = p[:b.left]
	}
	n, err := b.ResponseWriter.Write(p)
	b.m.mu.Lock()
	b.m.sent += n
	b.m.mu.Unlock()
	if b.left >= 0 {
		b.left -= n
	}
	if cut {
		b.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

const lastYear = "Tue, 05 Aug 2025 10:00:00 GMT"

func tagged(tag string) map[string]string { return map[string]string{"ETag": tag} }

func TestBrokenDownloadsGoOn(t *testing.T) {
	data := noise(3 << 20)
	other := noise(4 << 20)[1<<20:]
	many := slices.Repeat([]int{100000}, 20)
	partial := func(contentRange, tag string) func(*mirror, int, http.ResponseWriter, *http.Request) bool {
		return func(_ *mirror, n int, w http.ResponseWriter, _ *http.Request) bool {
			if n != 1 {
				return false
			}
			w.Header().Set("Content-Range", contentRange)
			w.Header().Set("ETag", tag)
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(make([]byte, 1000)) // the reader may have hung up
			return true
		}
	}
	end := fmt.Sprintf("-%d/%d", len(data)-1, len(data))
	for name, c := range map[string]struct {
		mirror *mirror
		want   []byte
		asked  []string // nil is not looked at
		again  bool     // bytes come twice
	}{
		"whole":              {&mirror{data: data, header: tagged(`"1"`)}, data, []string{""}, false},
		"entity tag":         {&mirror{data: data, header: tagged(`"1"`), upTo: []int{1000, 50}}, data, []string{"", `bytes=1000- "1"`, `bytes=1050- "1"`}, false},
		"date":               {&mirror{data: data, header: map[string]string{"Last-Modified": lastYear}, upTo: []int{1000}}, data, []string{"", "bytes=1000- " + lastYear}, false},
		"before any byte":    {&mirror{data: data, header: tagged(`"1"`), upTo: []int{0, 0, 1000}}, data, []string{"", "", "", `bytes=1000- "1"`}, false},
		"often, a bit each":  {&mirror{data: data, header: tagged(`"1"`), upTo: many}, data, nil, false},
		"weak tag":           {&mirror{data: data, header: map[string]string{"ETag": `W/"1"`, "Last-Modified": lastYear}, upTo: []int{1000}}, data, []string{"", ""}, true},
		"date not yet old":   {&mirror{data: data, header: map[string]string{"Last-Modified": "Tue, 05 Aug 2042 10:00:00 GMT"}, upTo: []int{1000}}, data, []string{"", ""}, true},
		"nothing to compare": {&mirror{data: data, upTo: []int{1000}}, data, []string{"", ""}, true},
		"changed": {&mirror{data: data, header: tagged(`"1"`), upTo: []int{1000}, odd: func(m *mirror, n int, _ http.ResponseWriter, _ *http.Request) bool {
			if n == 1 {
				m.data, m.header = other, tagged(`"2"`)
			}
			return false
		}}, other, []string{"", `bytes=1000- "1"`}, true},
		"no ranges": {&mirror{data: data, header: tagged(`"1"`), upTo: []int{1000}, odd: func(_ *mirror, n int, w http.ResponseWriter, _ *http.Request) bool {
			if n != 1 {
				return false
			}
			_, _ = w.Write(data)
			return true
		}}, data, []string{"", `bytes=1000- "1"`}, true},
		"503": {&mirror{data: data, header: tagged(`"1"`), upTo: []int{-1, 1000}, odd: func(_ *mirror, n int, w http.ResponseWriter, _ *http.Request) bool {
			if n == 0 || n == 2 || n == 3 {
				w.WriteHeader([]int{503, 0, 500, 429}[n])
			}
			return n == 0 || n == 2 || n == 3
		}}, data, []string{"", "", `bytes=1000- "1"`, `bytes=1000- "1"`, `bytes=1000- "1"`}, false},
		"416": {&mirror{data: data, header: tagged(`"1"`), upTo: []int{1000}, odd: func(_ *mirror, n int, w http.ResponseWriter, _ *http.Request) bool {
			if n == 1 {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			}
			return n == 1
		}}, data, []string{"", `bytes=1000- "1"`, ""}, true},
		"other part":    {&mirror{data: data, header: tagged(`"1"`), upTo: []int{1000}, odd: partial("bytes 500"+end, `"1"`)}, data, nil, true},
		"part of other": {&mirror{data: data, header: tagged(`"1"`), upTo: []int{1000}, odd: partial("bytes 1000"+end, `"2"`)}, data, nil, true},
		"other length":  {&mirror{data: data, header: tagged(`"1"`), upTo: []int{1000}, odd: partial("bytes 1000-1999/2000", `"1"`)}, data, nil, true},
		"no range told": {&mirror{data: data, header: tagged(`"1"`), upTo: []int{1000}, odd: partial("", `"1"`)}, data, nil, true},
		"chunks": {&mirror{data: data, header: tagged(`"1"`), odd: func(m *mirror, n int, w http.ResponseWriter, _ *http.Request) bool {
			if n == 0 {
				w.Header().Set("ETag", `"1"`)
				w.(http.Flusher).Flush()
				_, _ = (&breaking{w, m, 1000}).Write(data)
			}
			return false
		}}, data, []string{"", `bytes=1000- "1"`}, false},
	} {
		t.Run(strings.ReplaceAll(name, ",", ""), func(t *testing.T) {
			b := newBench(t)
			sum := sha256.Sum256(c.want)
			got, err := b.add(t.Context(), serve(t, c.mirror.ServeHTTP), "raw", "sha256:"+hex.EncodeToString(sum[:]))
			if err != nil {
				t.Fatal(err, c.mirror.requests())
			}
			if kept, err := os.ReadFile(got.InstallPath); err != nil || !bytes.Equal(kept, c.want) {
				t.Errorf("%d bytes kept, want %d: %v", len(kept), len(c.want), err)
			}
			if asked := c.mirror.requests(); c.asked != nil && !slices.Equal(asked, c.asked) {
				t.Errorf("requests %q, want %q", asked, c.asked)
			}
			if again := c.mirror.sent > len(c.want); again && !c.again {
				t.Errorf("%d bytes were sent of %d", c.mirror.sent, len(c.want))
			}
		})
	}
}

func TestDownloadsGiveUp(t *testing.T) {
	data := noise(1 << 20)
	gone := func(_ *mirror, n int, w http.ResponseWriter, _ *http.Request) bool {
		if n > 0 {
			w.WriteHeader(http.StatusNotFound)
		}
		return n > 0
	}
	for name, c := range map[string]struct {
		mirror *mirror
		asked  int
		class  errs.Class
		says   string
	}{
		"no progress":     {&mirror{data: data, header: tagged(`"1"`), upTo: append([]int{1000}, make([]int, 50)...)}, downloadAttempts, errs.Unavailable, "after 1000 of 1048576 bytes"},
		"same part again": {&mirror{data: data, upTo: slices.Repeat([]int{1000}, 50)}, downloadAttempts, errs.Unavailable, "without progress"},
		"a bit from zero": {&mirror{data: data, upTo: []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18}}, downloadRestarts + 2, errs.Unavailable, "has no ranges"},
		"gone":            {&mirror{data: data, header: tagged(`"1"`), upTo: []int{1000}, odd: gone}, 2, errs.Invalid, "404"},
		"out of order": {&mirror{odd: func(_ *mirror, _ int, w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusBadGateway)
			return true
		}}, downloadAttempts, errs.Unavailable, "502"},
		"not done": {&mirror{odd: func(_ *mirror, _ int, w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusNotImplemented)
			return true
		}}, 1, errs.Unavailable, "501"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			_, err := b.add(t.Context(), serve(t, c.mirror.ServeHTTP)+"/x?sign=s3cret", "raw", "")
			requireClass(t, err, c.class)
			if !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "s3cret") {
				t.Error(err)
			}
			if n := len(c.mirror.requests()); n != c.asked {
				t.Errorf("%d requests, want %d", n, c.asked)
			}
			b.requireEmpty(t)
		})
	}
}

// What an account names leads to no address of the store's machine, not by a
// redirect and not for a list of checksums either, unless the operator lists it.
func TestReach(t *testing.T) {
	b := newBench(t)
	asked := atomic.Int64{}
	image := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if _, err := w.Write(noise(5000)); err != nil {
			t.Error(err)
		}
	}) + "/disk.img"
	for name, c := range map[string]struct {
		url, checksum string
		reach         *pluginv1.Reach
		class         errs.Class
	}{
		"administrator": {image, "", &pluginv1.Reach{}, ""},
		"account":       {image, "", &pluginv1.Reach{Guarded: true}, errs.Denied},
		"listed":        {image, "", &pluginv1.Reach{Guarded: true, Networks: []string{"10.0.0.0/8", "127.0.0.0/8"}}, ""},
		"list":          {"http://192.0.2.1/disk.img", "sha256:" + image, &pluginv1.Reach{Guarded: true}, errs.Denied},
		"no network":    {image, "", &pluginv1.Reach{Guarded: true, Networks: []string{"x"}}, errs.Invalid},
	} {
		asked.Store(0)
		_, err := b.AddImage(t.Context(), &pluginv1.AddImageRequest{Store: b.row, ImageUuid: imageUUID, Url: c.url, Format: "raw", Checksum: c.checksum, Reach: c.reach})
		if errs.ClassOf(err) != c.class || (err == nil) != (asked.Load() == 1) {
			t.Errorf("%s: asked %d times, %v", name, asked.Load(), err)
		}
		b.remove(t)
	}
}

// The end of the caller's context ends the wait before another attempt.
func TestCancelWhileWaiting(t *testing.T) {
	m := mirror{data: noise(5000), header: tagged(`"1"`), upTo: []int{1000}}
	u, err := url.Parse(serve(t, m.ServeHTTP))
	if err != nil {
		t.Fatal(err)
	}
	s := &store{log: hclog.NewNullLogger(), limits: limits{idle: time.Minute, retry: time.Hour}}
	ctx, cancel := context.WithCancel(t.Context())
	src, err := s.openHTTP(ctx, "image x", u, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer src.done(nil)
	if _, err := io.ReadFull(src, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := src.Read(make([]byte, 1))
		ended <- err
	}()
	cancel()
	if err := <-ended; errs.ClassOf(err) != errs.Cancelled {
		t.Error(err)
	}
}
