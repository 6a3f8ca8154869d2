package media

import (
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kumo-cloud/kumo/integration/wire"
)

const (
	// piece is what a client sends at once.
	piece = 1 << 20
	// drop is what a slow one sends, so small that its progress is seen between.
	drop = 16 << 10
	// sent is how long the answer to a whole upload may take.
	sent = 30 * time.Second
)

// errHungUp is how a client breaks an upload off.
var errHungUp = errors.New("the client hangs up")

// upload is an image that waits for its bytes.
type upload struct {
	c *cloud
	// name is what the client calls it, job the call that adds it.
	name, job  string
	image, url string
}

// begin adds an image under a name of its client's. The answer comes before any
// byte was sent, and tells where they go.
func (c *cloud) begin(name, mediaType, format, checksum string) *upload {
	c.t.Helper()
	u := &upload{c: c, name: name}
	p := wire.Params{"name": name, "url": "upload://" + name + checksum, "mediaType": mediaType, "format": format,
		"platform": "Linux", "backupStorageUuids": []string{c.Backup}}
	var err error
	if u.job, err = c.Client.Start(c.t.Context(), http.MethodPost, wire.Images, map[string]any{"params": p}); err != nil {
		c.t.Fatal(err)
	}
	body, err := c.Client.Wait(c.t.Context(), u.job)
	if err != nil {
		c.t.Fatal(err)
	}
	var got struct{ Inventory image }
	if err := json.Unmarshal(body, &got); err != nil {
		c.t.Fatal(err)
	}
	i := got.Inventory
	if i.Status != "Downloading" || len(i.BackupStorageRefs) != 1 || i.BackupStorageRefs[0].Status != "Downloading" {
		c.t.Fatalf("an upload that can be sent is %s", body)
	}
	u.image, u.url = i.UUID, i.BackupStorageRefs[0].InstallPath
	// Each answer signs the same place anew.
	place := func() string { p, _, _ := strings.Cut(u.url, "?"); return p }
	if told := place(); !u.ask(name) || place() != told {
		c.t.Fatalf("the upload of %s goes to %s, or to %s", name, told, u.url)
	}
	return u
}

// ask asks for the address of an upload by the client's name for it or by the
// image's UUID. It reports whether there is one.
func (u *upload) ask(id string) bool {
	u.c.t.Helper()
	body, err := u.c.Client.Call(u.c.t.Context(), http.MethodGet, wire.Images+"/upload-job/details/"+id, nil)
	if err != nil {
		u.c.t.Fatal(err)
	}
	var got struct {
		Success            bool
		ExistingJobDetails []struct{ ImageUUID, ImageUploadURL, LongJobState string }
	}
	if err := json.Unmarshal(body, &got); err != nil {
		u.c.t.Fatal(err)
	}
	jobs := got.ExistingJobDetails
	if len(jobs) == 0 {
		return false
	}
	if !got.Success || len(jobs) != 1 || jobs[0].LongJobState != "Running" || (u.image != "" && u.image != jobs[0].ImageUUID) {
		u.c.t.Fatalf("the upload of %s is %s", id, body)
	}
	u.image, u.url = jobs[0].ImageUUID, jobs[0].ImageUploadURL
	return true
}

// until waits until the image has a status, "" for one that is gone. There is no
// event: the call that adds it was answered long before.
func (u *upload) until(status string, limit time.Duration) {
	u.c.t.Helper()
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		i := u.c.image(u.image)
		if i.Status == status {
			return
		}
		if time.Since(begin) > limit {
			u.c.t.Fatalf("after %s the image is %+v; want the status %q", limit, i, status)
		}
	}
}

// progress is how far the upload is, in percent, and in words.
func (u *upload) progress() (percent int, message string) {
	u.c.t.Helper()
	body, err := u.c.Client.Call(u.c.t.Context(), http.MethodGet, "/task-progresses/"+u.job, nil)
	if err != nil {
		u.c.t.Fatal(err)
	}
	var got struct {
		Inventories []struct {
			Type, Content string
			Opaque        struct{ Message string }
		}
	}
	if err := json.Unmarshal(body, &got); err != nil {
		u.c.t.Fatal(err)
	}
	if len(got.Inventories) != 1 || got.Inventories[0].Type != "Progress" {
		u.c.t.Fatalf("the progress of the upload is %s", body)
	}
	if percent, err = strconv.Atoi(got.Inventories[0].Content); err != nil {
		u.c.t.Fatal(err)
	}
	return percent, got.Inventories[0].Opaque.Message
}

// answer is what the client of an upload is told.
type answer struct {
	status int
	text   string
	err    error
}

// sending is one attempt to send an image.
type sending struct {
	c      *cloud
	pipe   *io.PipeWriter
	form   *multipart.Writer
	body   io.Writer
	answer chan answer
}

// put sends an image of that size as the body of a request.
func (u *upload) put(size int) *sending {
	u.c.t.Helper()
	r, w := io.Pipe()
	s := &sending{c: u.c, pipe: w, body: w, answer: make(chan answer, 1)}
	req, err := http.NewRequestWithContext(u.c.t.Context(), http.MethodPut, u.url, r)
	if err != nil {
		u.c.t.Fatal(err)
	}
	req.ContentLength = int64(size)
	go s.do(req)
	return s
}

// post sends it as the file of a form, with the headers of ZStack's clients.
func (u *upload) post(size int) *sending {
	u.c.t.Helper()
	r, w := io.Pipe()
	s := &sending{c: u.c, pipe: w, form: multipart.NewWriter(w), answer: make(chan answer, 1)}
	req, err := http.NewRequestWithContext(u.c.t.Context(), http.MethodPost, u.url, r)
	if err != nil {
		u.c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", s.form.FormDataContentType())
	req.Header.Set("X-IMAGE-UUID", u.image)
	req.Header.Set("X-IMAGE-SIZE", strconv.Itoa(size))
	go s.do(req)
	if s.body, err = s.form.CreateFormFile("file", u.name); err != nil {
		u.c.t.Fatal(err)
	}
	return s
}

func (s *sending) do(req *http.Request) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		s.answer <- answer{err: err}
		return
	}
	text, err := io.ReadAll(resp.Body)
	s.answer <- answer{resp.StatusCode, string(text), errors.Join(err, resp.Body.Close())}
}

// send sends some bytes in pieces.
func (s *sending) send(data []byte) {
	s.c.t.Helper()
	for len(data) > 0 {
		n := min(len(data), piece)
		if _, err := s.body.Write(data[:n]); err != nil {
			s.c.t.Fatalf("send a piece: %v", err)
		}
		data = data[n:]
	}
}

// breakOff hangs up in the middle.
func (s *sending) breakOff() {
	s.c.t.Helper()
	if err := s.pipe.CloseWithError(errHungUp); err != nil {
		s.c.t.Fatal(err)
	}
	if a := s.told(); !errors.Is(a.err, errHungUp) {
		s.c.t.Fatalf("a client that hung up is told %+v", a)
	}
}

// end ends the body and returns the answer.
func (s *sending) end() answer {
	s.c.t.Helper()
	if s.form != nil {
		if err := s.form.Close(); err != nil {
			s.c.t.Fatal(err)
		}
	}
	if err := s.pipe.Close(); err != nil {
		s.c.t.Fatal(err)
	}
	return s.told()
}

// told waits for the answer.
func (s *sending) told() answer {
	s.c.t.Helper()
	select {
	case a := <-s.answer:
		return a
	case <-time.After(sent):
		s.c.t.Fatalf("no answer to the upload after %s", sent)
	}
	return answer{}
}
