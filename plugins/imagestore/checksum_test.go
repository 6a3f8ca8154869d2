package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

func digest(kind string, data []byte) string {
	h := hashes[kind]()
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}

func TestChecksums(t *testing.T) {
	data := noise(1 << 20)
	b := newBench(t)
	url := serveBytes(t, data)
	for kind := range hashes {
		good := strings.ToUpper(kind) + ":" + strings.ToUpper(digest(kind, data))
		bad := kind + ":" + digest(kind, data[1:])
		_, err := b.add(t.Context(), url, "raw", bad)
		requireClass(t, err, errs.Invalid)
		if !strings.Contains(err.Error(), digest(kind, data)) || !strings.Contains(err.Error(), bad[len(kind)+1:]) {
			t.Errorf("%s: %v", kind, err)
		}
		b.requireEmpty(t)
		for range 2 { // the second finds it
			if _, err := b.add(t.Context(), url, "raw", good); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
		_, err = b.add(t.Context(), url, "raw", bad)
		requireClass(t, err, errs.Exists)
		b.remove(t)
	}
	for _, text := range []string{"sha512:" + strings.Repeat("0", 64), "sha1:", "sha256:" + strings.Repeat("x", 64), "sha384:" + strings.Repeat("0", 96),
		"sha256", "sha256:file:///etc/passwd", "sha256:ftp://127.0.0.1/x", "https://user:pa55word@127.0.0.1/SHA256SUMS", "sha256:https://user:pa55word@:bad/x"} {
		_, err := b.add(t.Context(), url, "raw", text)
		requireClass(t, err, errs.Invalid)
		if !strings.Contains(err.Error(), "checksum") || strings.Contains(err.Error(), "pa55word") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A list of checksums is read before the image, and only when it is needed.
func TestListsOfChecksums(t *testing.T) {
	data := noise(1 << 20)
	var asked atomic.Int32
	lists := map[string]string{
		"/good":  digest("sha512", data[1:]) + "  other.img\n" + digest("sha512", data) + "  disk a.img\n",
		"/wrong": digest("sha512", data[1:]) + "  disk a.img\n",
		"/none":  "<html>log in</html>",
		"/long":  strings.Repeat("x", listBytes+1),
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if text, ok := lists[r.URL.Path]; ok {
			_, _ = w.Write([]byte(text)) // the reader hangs up when it has enough
			return
		}
		if r.URL.Path != "/images/disk a.img" {
			http.NotFound(w, r)
			return
		}
		asked.Add(1)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	defer s.Close()
	b := newBench(t)
	image := s.URL + "/images/disk%20a.img?sign=s3cret"
	secret := strings.Replace(s.URL, "//", "//user:pa55word@", 1)
	for list, says := range map[string]string{
		"/wrong": s.URL + "/wrong says", "/none": "no sha512 sum of \"disk a.img\"", "/long": "too long", "/missing": "404",
	} {
		before := asked.Load()
		_, err := b.add(t.Context(), image, "raw", "sha512:"+secret+list+"?sign=s3cret")
		requireClass(t, err, errs.Invalid)
		if !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), s.URL+list) ||
			strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "pa55word") {
			t.Errorf("%s: %v", list, err)
		}
		if got := asked.Load() - before; got != 0 && list != "/wrong" {
			t.Errorf("%s: the image was asked for", list)
		}
		b.requireEmpty(t)
	}
	for range 2 {
		if _, err := b.add(t.Context(), image, "raw", "SHA512:"+secret+"/good"); err != nil {
			t.Error(err)
		}
		delete(lists, "/good") // what is in the store needs no list
	}
	b.remove(t)
	for _, u := range []string{"upload://" + imageUUID, s.URL, s.URL + "/"} {
		_, err := b.add(t.Context(), u, "raw", "sha512:"+s.URL+"/good")
		requireClass(t, err, errs.Invalid)
		if !strings.Contains(err.Error(), "no file name") {
			t.Error(err)
		}
	}
	_, err := b.add(t.Context(), image, "raw", "sha512:http://169.254.169.254/SHA512SUMS")
	requireClass(t, err, errs.Denied)
}

func TestFindChecksum(t *testing.T) {
	one, two := strings.Repeat("1", 64), strings.Repeat("a", 64)
	short := strings.Repeat("1", 32)
	for name, c := range map[string]struct{ list, want, fails string }{
		"GNU":               {one + "  other.img\n" + two + "  disk.img\n", two, ""},
		"GNU, binary":       {two + " *disk.img\r\n", two, ""},
		"capitals":          {strings.ToUpper(two) + "  disk.img", two, ""},
		"BSD":               {"SHA256 (other.img) = " + one + "\nSHA256 (disk.img) = " + two + "\n", two, ""},
		"BSD, mixed":        {"MD5 (disk.img) = " + short + "\nSHA512 (disk.img) = " + one + two[:64] + "\nSHA256 (disk.img) = " + two, two, ""},
		"OpenSSL":           {"SHA256(disk.img)= " + two, two, ""},
		"OpenSSL 3":         {"SHA2-256(disk.img)= " + two, two, ""},
		"signed":            {"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# disk.img: 99 bytes\nSHA256 (disk.img) = " + two + "\n-----BEGIN PGP SIGNATURE-----\n\niQIzBAEBCAAdFiEE\n", two, ""},
		"digits alone":      {two + "\n", two, ""},
		"below this folder": {one + "  ./other.img\n" + two + "  ./disk.img\n", two, ""},
		"in a folder":       {two + "  amd64/disk.img\n", two, ""},
		"here and there":    {one + "  amd64/disk.img\n" + two + "  disk.img\n", two, ""},
		"twice the same":    {two + "  disk.img\n" + two + "  disk.img\n", two, ""},
		"twice":             {one + "  disk.img\n" + two + "  disk.img\n", "", "different"},
		"two folders":       {one + "  amd64/disk.img\n" + two + "  arm64/disk.img\n", "", "different"},
		"longer name":       {two + "  disk.img.xz\n" + one + "  old-disk.img\n", "", "no sha256"},
		"other kind":        {short + "  disk.img\n", "", "no sha256"},
		"other kind, BSD":   {"SHA3-256 (disk.img) = " + two, "", "no sha256"},
		"alone of several":  {one + "  other.img\n" + two + "\n", "", "no sha256"},
		"several alone":     {one + "\n" + two + "\n", "", "different"},
		"empty":             {"", "", "no sha256"},
	} {
		got, err := findChecksum(c.list, "sha256", "disk.img")
		if got != c.want || (err == nil) != (c.fails == "") || err != nil && !strings.Contains(fmt.Sprint(err), c.fails) {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}
