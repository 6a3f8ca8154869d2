package main

import (
	"bytes"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Blocks of zeros take no place, wherever the pieces of a download begin and end,
// and whether or not place was set aside.
func TestHolesStayHoles(t *testing.T) {
	data := make([]byte, 16<<20)
	copy(data[100:], noise(5000))
	copy(data[4<<20-1:], noise(2))
	copy(data[9<<20:], noise(70000))
	for _, step := range []int{1 << 20, 5000, 4096, 65537} {
		for _, size := range []int64{0, int64(len(data))} {
			b := newBench(t)
			d, err := folder{root: b.root, object: "store"}.newDraft(imageUUID, "raw", size)
			requireClass(t, err, errs.Class(""))
			for rest := data; len(rest) > 0; {
				n, err := d.Write(rest[:min(step, len(rest))])
				if err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := d.end(); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(d.file.Name())
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("steps of %d, %d set aside: other bytes: %v", step, size, err)
			}
			var st unix.Stat_t
			if err := unix.Stat(d.file.Name(), &st); err != nil || st.Blocks*512 > 1<<20 {
				t.Errorf("steps of %d, %d set aside: %d bytes on the disk: %v", step, size, st.Blocks*512, err)
			}
			if err := d.discard(); err != nil {
				t.Error(err)
			}
		}
	}
}
