package main

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/integration/rig/port"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func (b *bench) begin(t *testing.T) string {
	t.Helper()
	up, err := b.BeginUpload(t.Context(), &pluginv1.BeginUploadRequest{Store: b.row, ImageUuid: imageUUID})
	if err != nil {
		t.Fatal(err)
	}
	return up.Url
}

// await starts the AddImage that waits for an upload.
func (b *bench) await(t *testing.T, format string) <-chan error {
	result := make(chan error, 1)
	go func() {
		_, err := b.add(t.Context(), "upload://"+imageUUID, format, "")
		result <- err
	}()
	return result
}

func send(t *testing.T, method, url, contentType string, body io.Reader) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	return sendRequest(t, req)
}

func sendRequest(t *testing.T, req *http.Request) (int, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func form(t *testing.T, data []byte) (string, io.Reader) {
	t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	if err := w.WriteField("name", "an image"); err != nil {
		t.Fatal(err)
	}
	part, err := w.CreateFormFile("file", "disk.qcow2")
	if err == nil {
		_, err = part.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), &body
}

func TestUpload(t *testing.T) {
	_, data := makeImage(t)
	formType, formBody := form(t, data)
	for name, c := range map[string]struct {
		method, contentType string
		body                io.Reader
	}{
		"put":        {http.MethodPut, "application/octet-stream", bytes.NewReader(data)},
		"post":       {http.MethodPost, "application/octet-stream", bytes.NewReader(data)},
		"no length":  {http.MethodPut, "application/octet-stream", struct{ io.Reader }{bytes.NewReader(data)}},
		"form":       {http.MethodPost, formType, formBody},
		"early bird": {http.MethodPut, "application/octet-stream", bytes.NewReader(data)},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			link := b.begin(t)
			var added <-chan error
			if name == "early bird" {
				late := make(chan error, 1)
				added = late
				time.AfterFunc(100*time.Millisecond, func() { late <- <-b.await(t, "qcow2") })
			} else {
				added = b.await(t, "qcow2")
			}
			if status, text := send(t, c.method, link, c.contentType, c.body); status != http.StatusOK {
				t.Fatalf("status %d: %s", status, text)
			}
			if err := <-added; err != nil {
				t.Fatal(err)
			}
			if status, text := send(t, http.MethodPut, link, "", bytes.NewReader(data)); status != http.StatusConflict {
				t.Errorf("second use of the link: status %d: %s", status, text)
			}
		})
	}
}

func TestUploadOfTheWrongThing(t *testing.T) {
	b := newBench(t)
	link, added := b.begin(t), b.await(t, "qcow2")
	status, text := send(t, http.MethodPut, link, "", strings.NewReader("no disk at all"))
	if status != http.StatusBadRequest || !strings.Contains(text, "not qcow2") {
		t.Errorf("status %d: %s", status, text)
	}
	requireClass(t, <-added, errs.Invalid)
	b.requireEmpty(t)
}

// A client of ZStack's tells the image's size beside a form, and may send slices.
func TestUploadOfAForm(t *testing.T) {
	_, data := makeImage(t)
	post := func(t *testing.T, b *bench, header ...string) (int, string) {
		t.Helper()
		contentType, body := form(t, data)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.begin(t), body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		return sendRequest(t, req)
	}
	size := fmt.Sprint(len(data))
	for name, c := range map[string]struct {
		header []string
		says   string
	}{
		"slice":          {[]string{"X-IMAGE-SIZE", fmt.Sprint(2 * len(data)), "X-SLICE-SIZE", size}, "slices are not taken"},
		"slice alone":    {[]string{"X-SLICE-SIZE", size}, "slices are not taken"},
		"no size":        {[]string{"X-IMAGE-SIZE", "many"}, "no size"},
		"less than zero": {[]string{"X-IMAGE-SIZE", "-1"}, "no size"},
	} {
		b := newBench(t)
		if status, text := post(t, b, c.header...); status != http.StatusBadRequest || !strings.Contains(text, c.says) {
			t.Errorf("%s: status %d: %s", name, status, text)
		}
		b.requireEmpty(t)
	}
	b := newBench(t)
	added := b.await(t, "qcow2")
	if status, text := post(t, b, "X-IMAGE-SIZE", fmt.Sprint(len(data)+1)); status != http.StatusServiceUnavailable ||
		!strings.Contains(text, fmt.Sprintf("ended after %d of %d bytes", len(data), len(data)+1)) {
		t.Errorf("cut off: status %d: %s", status, text)
	}
	if status, text := post(t, b, "X-IMAGE-SIZE", size, "X-SLICE-SIZE", size); status != http.StatusOK {
		t.Errorf("whole: status %d: %s", status, text)
	}
	if err := <-added; err != nil {
		t.Error(err)
	}
}

// breakOff sends a part of a body and then nothing more, or hangs up.
func breakOff(t *testing.T, link string, data []byte, hangUp bool) net.Conn {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", u.Host)
	if err == nil {
		_, err = fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", u.RequestURI(), len(data), data[:1000])
	}
	if err == nil && hangUp {
		err = c.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // closed already by some callers
	return c
}

func TestBrokenUploadCanBeRepeated(t *testing.T) {
	_, data := makeImage(t)
	b := newBench(t)
	link, added := b.begin(t), b.await(t, "qcow2")
	breakOff(t, link, data, true)
	breakOff(t, link, data, false) // stalls
	if status, text := send(t, http.MethodPut, link, "", bytes.NewReader(data)); status != http.StatusOK {
		t.Fatalf("status %d: %s", status, text)
	}
	if err := <-added; err != nil {
		t.Fatal(err)
	}
}

func TestUploadGivesUp(t *testing.T) {
	_, data := makeImage(t)
	t.Run("after a stall nobody comes back", func(t *testing.T) {
		b := newBench(t)
		link, added := b.begin(t), b.await(t, "qcow2")
		c := breakOff(t, link, data, false)
		requireClass(t, <-added, errs.Timeout)
		answer := make([]byte, 64)
		if n, err := c.Read(answer); err != nil || !strings.Contains(string(answer[:n]), "503") {
			t.Errorf("the client is told %q, %v", answer[:n], err)
		}
		b.requireEmpty(t)
	})
	t.Run("three stalls", func(t *testing.T) {
		b := newBench(t)
		link, added := b.begin(t), b.await(t, "qcow2")
		for range uploadAttempts {
			c := breakOff(t, link, data, false)
			if _, err := c.Read(make([]byte, 64)); err != nil { // until the server gives up on it
				t.Fatal(err)
			}
		}
		err := <-added
		requireClass(t, err, errs.Unavailable)
		if !strings.Contains(err.Error(), "no byte came") {
			t.Error(err)
		}
		b.requireEmpty(t)
	})
}

func TestLinksMustBeGenuine(t *testing.T) {
	_, data := makeImage(t)
	b := newBench(t)
	if _, err := b.add(t.Context(), serveBytes(t, data), "qcow2", ""); err != nil {
		t.Fatal(err)
	}
	out, err := b.ExportImage(t.Context(), &pluginv1.ExportImageRequest{Store: b.row, ImageUuid: imageUUID, ReaderIp: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	good := out.Source.Url
	change := func(f func(u *url.URL, q url.Values)) string {
		u, err := url.Parse(good)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		f(u, q)
		u.RawQuery = q.Encode()
		return u.String()
	}
	for name, link := range map[string]string{
		"no signature":  change(func(_ *url.URL, q url.Values) { q.Del("sign") }),
		"other image":   change(func(u *url.URL, _ url.Values) { u.Path = "/export/" + storeUUID }),
		"other folder":  change(func(_ *url.URL, q url.Values) { q.Set("folder", "L3Nydg") }),
		"longer":        change(func(_ *url.URL, q url.Values) { q.Set("expires", "99999999999") }),
		"upload's link": strings.Replace(b.begin(t), "/upload/", "/export/", 1),
	} {
		if status, _ := get(t, link); status != http.StatusForbidden {
			t.Errorf("%s: status %d", name, status)
		}
	}
	if status, _ := send(t, http.MethodPut, strings.Replace(good, "/export/", "/upload/", 1), "", strings.NewReader("x")); status != http.StatusForbidden {
		t.Errorf("export's link used for an upload: status %d", status)
	}
	if status, _ := get(t, good); status != http.StatusOK {
		t.Errorf("the good link: status %d", status)
	}
	if resp, err := http.Post(good, "", nil); err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %v %v", resp, err)
	} else if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
}

func testServer(t *testing.T, listen, dir string) *server {
	t.Helper()
	key, err := signingKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServer(listen, key, newUploads(), hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestLinksExpireAndOutliveRestarts(t *testing.T) {
	dir, root := t.TempDir(), "/srv/images"
	s := &store{limits: defaultLimits, server: testServer(t, defaultListen, dir)}
	opened := func(on *server, link string) bool {
		req, err := http.NewRequest(http.MethodGet, "http://x"+link, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetPathValue("image", imageUUID)
		f, _, ok := on.opened(req, purposeExport)
		return ok && f.root == root
	}
	link := s.link(purposeExport, imageUUID, root)
	if !opened(s.server, link) {
		t.Error("a new link is refused")
	}
	if !opened(testServer(t, defaultListen, dir), link) {
		t.Error("the link is refused after a restart")
	}
	if opened(testServer(t, defaultListen, t.TempDir()), link) {
		t.Error("the link of another deployment is accepted")
	}
	s.limits.linkLife = -2 * time.Second
	if opened(s.server, s.link(purposeExport, imageUUID, root)) {
		t.Error("an expired link is accepted")
	}
}

func TestWhereReadersFindTheServer(t *testing.T) {
	loopback := testServer(t, defaultListen, t.TempDir())
	open := testServer(t, "0.0.0.0:"+freePort(t), t.TempDir())
	for name, c := range map[string]struct {
		server       *server
		reader, want string
		class        errs.Class
	}{
		"local reader":                 {loopback, "127.0.0.1", "http://127.0.0.1:", ""},
		"unknown reader":               {loopback, "", "http://127.0.0.1:", ""},
		"remote reader, closed":        {loopback, "203.0.113.7", "", errs.Refused},
		"remote reader, open":          {open, "203.0.113.7", "http://node.example:", ""},
		"local reader, open":           {open, "127.0.0.1", "http://127.0.0.1:", ""},
		"browser or command line":      {open, "", "http://node.example:", ""},
		"text that is no address":      {loopback, "host-a", "", errs.Refused},
		"remote reader, version 6":     {open, "2001:db8::7", "http://node.example:", ""},
		"local reader, mapped v4 in 6": {loopback, "::ffff:127.0.0.1", "http://127.0.0.1:", ""},
	} {
		got, err := c.server.baseURL("image x", "node.example", c.reader)
		if errs.ClassOf(err) != c.class || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q %v", name, got, err)
		}
		if c.class == errs.Refused && !strings.Contains(err.Error(), settingListen) {
			t.Errorf("%s: no advice: %v", name, err)
		}
	}
	if _, err := newServer("localhost", nil, nil, hclog.NewNullLogger()); errs.ClassOf(err) != errs.Invalid {
		t.Error(err)
	}
	if _, err := newServer("0.0.0.0:0", nil, nil, hclog.NewNullLogger()); errs.ClassOf(err) != errs.Invalid {
		t.Error(err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	p, err := port.Free()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(p)
}

// While a process is being replaced the old one still has the address.
func TestAddressInUseIsTriedAgain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := testServer(t, l.Addr().String(), t.TempDir())
	_, err = s.baseURL("image x", "h", "127.0.0.1")
	requireClass(t, err, errs.Unavailable)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.baseURL("image x", "h", "127.0.0.1"); err != nil {
		t.Error(err)
	}
}
