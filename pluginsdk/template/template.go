package template

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"go/format"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// sample is compiled and tested with the rest of the tree, so that what New
// writes cannot fall behind the SDK.
//
//go:embed sample/*.go
var sample embed.FS

// goMod is written when the plugin is not in a Go module yet.
const goMod = `module %s

go 1.26.0
`

var validName = regexp.MustCompile(`^[a-z][a-z0-9]{1,30}$`)

// New writes a plugin called name into dir, which is made and must be empty or
// absent. In a folder that is in no Go module it also writes a go.mod; then
// `go get github.com/kumo-cloud/kumo/pluginsdk` fetches the SDK. Errors:
// Invalid for a bad name, Exists for a folder with something in it. When New
// fails, it leaves nothing behind.
func New(dir, name string) (err error) {
	if !validName.MatchString(name) || name == "main" {
		return errs.New(errs.Invalid, "plugin "+name, "this is not a plugin's name: lower-case letters and digits, 2 to 31, a letter first")
	}
	entries, err := os.ReadDir(dir)
	absent := errors.Is(err, fs.ErrNotExist)
	if err != nil && !absent {
		return errs.Wrap(errs.Invalid, "folder "+dir, err, "it cannot be used")
	}
	if len(entries) > 0 {
		return errs.New(errs.Exists, "folder "+dir, "it is not empty").WithAdvice("name a new folder")
	}
	files, err := generate(dir, name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return errs.Wrap(errs.Invalid, "folder "+dir, err, "it cannot be made")
	}
	var written []string
	for file, text := range files {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return errs.Wrap(errs.Internal, "file "+path, errors.Join(err, remove(dir, absent, written)), "write it")
		}
		written = append(written, path)
	}
	return nil
}

// remove takes back what New has written.
func remove(dir string, made bool, written []string) error {
	var all []error
	for _, path := range written {
		all = append(all, os.Remove(path))
	}
	if made {
		all = append(all, os.Remove(dir))
	}
	return errors.Join(all...)
}

// generate gives the sample's files the new name.
func generate(dir, name string) (map[string][]byte, error) {
	entries, err := sample.ReadDir("sample")
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "plugin template", err, "read it")
	}
	upper := strings.ToUpper(name[:1]) + name[1:]
	files := map[string][]byte{}
	for _, e := range entries {
		text, err := sample.ReadFile("sample/" + e.Name())
		if err != nil {
			return nil, errs.Wrap(errs.Internal, "plugin template", err, "read it")
		}
		text = bytes.ReplaceAll(text, []byte("sample"), []byte(name))
		text = bytes.ReplaceAll(text, []byte("Sample"), []byte(upper))
		if text, err = format.Source(text); err != nil {
			return nil, errs.Wrap(errs.Internal, "plugin template", err, "file %s", e.Name())
		}
		files[e.Name()] = text
	}
	inside, err := inModule(dir)
	if err != nil {
		return nil, err
	}
	if !inside {
		files["go.mod"] = fmt.Appendf(nil, goMod, "kumo-plugin-"+name)
	}
	return files, nil
}

// inModule reports whether dir or a folder above it has a go.mod.
func inModule(dir string) (bool, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return false, errs.Wrap(errs.Invalid, "folder "+dir, err, "it cannot be used")
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return true, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return false, nil
		}
		dir = up
	}
}
