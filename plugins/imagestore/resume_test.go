package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// sendPart sends bytes of an image with a Content-Range; it returns the status,
// what the server has by its header Range, and its answer.
func sendPart(t *testing.T, link, span string, body []byte) (status int, has, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, link, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Range", span)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() // it was only read
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Range"), string(answer)
}

func (b *bench) requireImage(t *testing.T, data []byte) {
	t.Helper()
	kept, err := os.ReadFile(filepath.Join(b.root, "images", imageUUID, imageFile("qcow2")))
	if err != nil || !bytes.Equal(kept, data) {
		t.Errorf("%d bytes are kept of %d: %v", len(kept), len(data), err)
	}
}

// An image comes in parts; a part that does not fit changes nothing.
func TestUploadInParts(t *testing.T) {
	_, data := makeImage(t)
	b := newBench(t)
	link, added := b.begin(t), b.await(t, "qcow2")
	n := len(data)
	for _, c := range []struct {
		from, to, status int
		has              string
	}{
		{1000, 2000, 416, ""},
		{0, 1000, 308, "bytes=0-999"},
		{2000, 3000, 416, "bytes=0-999"},
		{500, 1500, 416, "bytes=0-999"},
		{1000, 70000, 308, "bytes=0-69999"},
	} {
		status, has, text := sendPart(t, link, fmt.Sprintf("bytes %d-%d/%d", c.from, c.to-1, n), data[c.from:c.to])
		if status != c.status || has != c.has {
			t.Fatalf("bytes from %d to %d: status %d, Range %q: %s", c.from, c.to, status, has, text)
		}
	}
	if status, has, _ := sendPart(t, link, fmt.Sprintf("bytes 70000-%d/%d", n, n+1), append(bytes.Clone(data[70000:]), 0)); status != 416 || has != "bytes=0-69999" {
		t.Errorf("a part of a larger image: status %d, Range %q", status, has)
	}
	if status, has, _ := sendPart(t, link, fmt.Sprintf("bytes */%d", n), nil); status != 308 || has != "bytes=0-69999" {
		t.Errorf("asked for what has come: status %d, Range %q", status, has)
	}
	if status, _, text := sendPart(t, link, fmt.Sprintf("bytes 70000-%d/%d", n-1, n), data[70000:]); status != http.StatusOK {
		t.Errorf("the last part: status %d: %s", status, text)
	}
	if err := <-added; err != nil {
		t.Fatal(err)
	}
	b.requireImage(t, data)
}

// A plain upload that breaks off goes on where it ended.
func TestBrokenUploadGoesOn(t *testing.T) {
	_, data := makeImage(t)
	b := newBench(t)
	link, added := b.begin(t), b.await(t, "qcow2")
	breakOff(t, link, data, true)
	n := len(data)
	has := ""
	for t.Context().Err() == nil && has == "" { // it may not have come yet
		_, has, _ = sendPart(t, link, fmt.Sprintf("bytes */%d", n), nil)
	}
	var last int
	if _, err := fmt.Sscanf(has, "bytes=0-%d", &last); err != nil || last < 1 || last >= n-1 {
		t.Fatalf("the server has %q of %d bytes", has, n)
	}
	if status, _, text := sendPart(t, link, fmt.Sprintf("bytes %d-%d/%d", last+1, n-1, n), data[last+1:]); status != http.StatusOK {
		t.Errorf("the rest: status %d: %s", status, text)
	}
	if err := <-added; err != nil {
		t.Fatal(err)
	}
	b.requireImage(t, data)
}

// Content-Range is read as RFC 9110 has it, or refused.
func TestWrongParts(t *testing.T) {
	b := newBench(t)
	link, added := b.begin(t), b.await(t, "qcow2")
	for _, span := range []string{"0-9/10", "bytes 0-9", "bytes 0-9/*", "bytes 5-4/10", "bytes 0-10/10", "bytes -1-9/10", "bytes a-b/c", "bytes 0-8/10",
		"bytes 0-9/99999999999999999999", "items 0-9/10", "bytes */0", "bytes */x"} {
		if status, _, text := sendPart(t, link, span, []byte("0123456789")); status != http.StatusBadRequest || !strings.Contains(text, "Content-Range") {
			t.Errorf("%q: status %d: %s", span, status, text)
		}
	}
	if status, _, text := sendPart(t, link, "bytes 0-9/10", []byte("0123456789")); status != http.StatusBadRequest {
		t.Errorf("what is no image: status %d: %s", status, text)
	}
	requireClass(t, <-added, errs.Invalid)
	b.requireEmpty(t)
}

// An upload of an image that is given up meanwhile is told so, and does not wait for
// the rest.
func TestUploadIsGivenUp(t *testing.T) {
	_, data := makeImage(t)
	b := newBench(t)
	link := b.begin(t)
	ctx, giveUp := context.WithCancel(t.Context())
	added := make(chan error, 1)
	go func() {
		_, err := b.add(ctx, "upload://"+imageUUID, "qcow2", "")
		added <- err
	}()
	c := breakOff(t, link, data, false)
	for has := false; !has && t.Context().Err() == nil; { // it has begun
		drafts, err := os.ReadDir(filepath.Join(b.root, "incoming"))
		if err != nil {
			t.Fatal(err)
		}
		has = len(drafts) > 0
	}
	giveUp()
	if err := <-added; err == nil {
		t.Error("the image was added")
	}
	answer := make([]byte, 64)
	if n, err := c.Read(answer); err != nil || !strings.Contains(string(answer[:n]), "409") {
		t.Errorf("its client is told %q, %v", answer[:n], err)
	}
}
