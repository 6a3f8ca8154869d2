package image_test

import (
	"slices"
	"testing"

	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// usable makes the test's two kinds of primary storage use images of some formats
// only, and its stores be read by some kinds only.
func (c *cloud) usable(shared, local, readers []string) {
	m := c.Plugins.Manifests()[0]
	m.PrimaryStorages[0].ImageFormats, m.PrimaryStorages[1].ImageFormats = shared, local
	m.BackupStorages[0].PrimaryStorageTypes = readers
}

// A store is told in which formats an image is of use: those that any primary
// storage that reads from it can take, each once, and none when one takes all.
func TestUsableFormats(t *testing.T) {
	for name, x := range map[string]struct{ shared, local, readers, want []string }{
		"all":                     {nil, nil, nil, nil},
		"each":                    {[]string{"raw"}, []string{"vmdk", "raw"}, nil, []string{"raw", "vmdk"}},
		"one takes all":           {[]string{"raw"}, nil, nil, nil},
		"the reader's":            {[]string{"raw"}, []string{"vmdk"}, []string{kerneltest.FakeLocalType}, []string{"vmdk"}},
		"the reader takes all":    {[]string{"raw"}, nil, []string{kerneltest.FakeLocalType}, nil},
		"who takes all reads not": {[]string{"raw"}, nil, []string{kerneltest.FakeType}, []string{"raw"}},
	} {
		c := newCloud(t)
		c.usable(x.shared, x.local, x.readers)
		p := c.image()
		if p["format"] = "raw"; len(x.want) > 0 {
			p["format"] = x.want[len(x.want)-1]
		}
		c.Do("APIAddImageMsg", p)
		r, _ := kerneltest.Last[*pluginv1.AddImageRequest](c.Calls, "AddImage")
		if got := r.GetUsableFormats(); !slices.Equal(got, x.want) {
			t.Errorf("%s: the store is told %v, want %v", name, got, x.want)
		}
	}
}

// What a store took although nobody can use it is taken back.
func TestFormatThatNobodyUses(t *testing.T) {
	c := newCloud(t)
	c.usable([]string{"raw"}, []string{"qcow2"}, nil)
	before := c.Dump(allTypes...)
	p := c.image()
	p["format"] = "vmdk"
	c.Refused(errs.Unsupported, "APIAddImageMsg", p, "image image", "has format vmdk", "add it in one of raw, qcow2")
	c.Want("copies that were taken back", len(c.Calls.Of("DeleteImage")), 1)
	c.Want("what is there", c.Dump(allTypes...), before)
	second := c.addStore("second")
	c.Calls.On("AddImage", in(c.store))
	p["backupStorageUuids"] = []string{c.store, second}
	c.Refused(errs.Unavailable, "APIAddImageMsg", p, "not mounted")
	c.Want("images", len(c.List("Image")), 0)
}
