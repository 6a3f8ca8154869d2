package plugintest

import (
	"crypto/md5"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// ImageServer serves one image file to plugins under test.
type ImageServer struct {
	// URL is where the image is.
	URL string
	// Source is the same for PrimaryStorage.EnsureImage, with size and MD5.
	Source *pluginv1.ImageSource
}

func serveFile(t testing.TB, path string) *ImageServer {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, path)
	}))
	t.Cleanup(server.Close)
	sum := md5.Sum(data)
	return &ImageServer{URL: server.URL + "/image.qcow2", Source: &pluginv1.ImageSource{
		Url: server.URL + "/image.qcow2", SizeBytes: int64(len(data)), Md5: hex.EncodeToString(sum[:]), Format: "qcow2",
	}}
}
