package cli

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFormatOf(t *testing.T) {
	cd := make([]byte, 17*2048)
	copy(cd[16*2048:], "\x01CD001")
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"qcow2": {[]byte("QFI\xfb\x00\x00\x00\x03"), "qcow2"},
		"CD":    {cd, "iso"},
		"disk":  {make([]byte, 40000), "raw"},
		"short": {[]byte("Q"), "raw"},
		"empty": {nil, "raw"},
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := formatOf(file); got != c.want || err != nil {
			t.Errorf("%s: %s, %v", name, got, err)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
}
