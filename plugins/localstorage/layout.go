package main

import (
	"regexp"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const volumeFormat = "qcow2"

// imageFormats are the formats that an image in the cache may have.
var imageFormats = []string{"qcow2", "raw", "iso"}

// systemFolders never hold volumes: /dev, /proc and /sys by the specification.
var systemFolders = []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr"}

var (
	uuidForm = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// layout tells where the files of one storage are.
type layout struct{ root string }

// layoutOf checks the storage's url (errs.Invalid naming the storage).
func layoutOf(s *pluginv1.Storage) (layout, error) {
	object := "local storage " + s.GetUuid()
	root, err := kinds.Parse("plainpath", s.GetUrl())
	invalid := func(why string) (layout, error) {
		return layout{}, errs.New(errs.Invalid, object, "url %q %s", kinds.Shown(s.GetUrl()), why).
			WithAdvice("give the absolute path of a folder for volumes, such as /var/lib/kumo/local")
	}
	if err != nil {
		return invalid("is not an absolute path of letters, digits and . _ - + @")
	}
	for _, folder := range systemFolders {
		if root == folder || strings.HasPrefix(root, folder+"/") {
			return invalid("lies in the system folder " + folder)
		}
	}
	return layout{root}, nil
}

func (l layout) cache() string   { return l.root + "/imagecache" }
func (l layout) volumes() string { return l.root + "/volumes" }

// volume returns the path of a volume. One that the caller remembers must be
// the same, or removing it would silently remove nothing.
func (l layout) volume(uuid, remembered string) (string, error) {
	if !uuidForm.MatchString(uuid) {
		return "", errs.New(errs.Invalid, "volume "+uuid, "its UUID is not 32 lower-case hex digits")
	}
	file := l.volumes() + "/" + uuid + "." + volumeFormat
	if remembered != "" && remembered != file {
		return "", errs.New(errs.Invalid, "volume "+uuid, "install path %q is not %q, where this storage keeps it", remembered, file)
	}
	return file, nil
}

func (l layout) image(uuid, format string) (string, error) {
	if !uuidForm.MatchString(uuid) {
		return "", errs.New(errs.Invalid, "image "+uuid, "its UUID is not 32 lower-case hex digits")
	}
	if !slices.Contains(imageFormats, format) {
		return "", errs.New(errs.Invalid, "image "+uuid, "format %q cannot be used on local storage", format).
			WithAdvice("convert the image to qcow2, raw or iso")
	}
	return l.cache() + "/" + uuid + "." + format, nil
}

// backing returns the format of a cached image for a volume on it. An overlay
// on any other file of the host would let its guest read that file.
func (l layout) backing(volumeUUID, file string) (string, error) {
	name, inCache := strings.CutPrefix(file, l.cache()+"/")
	uuid, format, _ := strings.Cut(name, ".")
	if want, err := l.image(uuid, format); !inCache || err != nil || want != file {
		return "", errs.New(errs.Invalid, "volume "+volumeUUID, "%q is no image in the cache %s", file, l.cache())
	}
	if format == "iso" {
		return "raw", nil
	}
	return format, nil
}
