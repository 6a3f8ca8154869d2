package main

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/outbound"
)

// hashes are the kinds of checksums that are taken. MD5 and SHA-1 find damage;
// they are no proof against who wants to deceive.
var hashes = map[string]func() hash.Hash{"md5": md5.New, "sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New}

// listBytes bounds a list of checksums; those of large mirrors have some 100 KiB.
const listBytes = 4 << 20

// sums are those that are known of some bytes, in lower-case hex digits: MD5
// always, another one when it was asked for.
type sums struct {
	MD5    string `json:"md5"`
	SHA1   string `json:"sha1,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	SHA512 string `json:"sha512,omitempty"`
}

// of returns the place of one of hashes.
func (s *sums) of(kind string) *string {
	switch kind {
	case "md5":
		return &s.MD5
	case "sha1":
		return &s.SHA1
	case "sha256":
		return &s.SHA256
	}
	return &s.SHA512
}

// checksum is what the caller expects; the zero value expects nothing.
type checksum struct {
	kind, hex string
	// list is where hex is found by the name of the image's file, when it was
	// not given itself; listed is its URL without secrets.
	list         *url.URL
	listed, file string
}

// parseChecksum reads KIND:HEX or KIND:URL of a list. Errors: Invalid, without
// the text, as a URL may have secrets.
func parseChecksum(object, text, imageURL string) (checksum, error) {
	if text == "" {
		return checksum{}, nil
	}
	kind, value, _ := strings.Cut(text, ":")
	c := checksum{kind: strings.ToLower(kind)}
	newHash := hashes[c.kind]
	if newHash == nil {
		return c, errs.New(errs.Invalid, object, "checksum %.20q is none of md5:, sha1:, sha256: and sha512:", kind).
			WithAdvice("end the URL in #sha256:HEX, or in #sha256: and the URL of a list of checksums")
	}
	if !strings.Contains(value, "://") {
		c.hex = strings.ToLower(value)
		if raw, err := hex.DecodeString(c.hex); err != nil || len(raw) != newHash().Size() {
			return c, errs.New(errs.Invalid, object, "its checksum %s:%.130q has not %d hex digits", c.kind, value, 2*newHash().Size())
		}
		return c, nil
	}
	list, err := parseImageURL(object, value)
	image, bad := url.Parse(imageURL)
	switch {
	case err != nil || bad != nil || list.Scheme != "http" && list.Scheme != "https":
		return c, errs.New(errs.Invalid, object, "the list of its checksums is not at an http or https URL")
	case image.Scheme == "upload":
		return c, errs.New(errs.Invalid, object, "an upload has no file name to find in a list of checksums").
			WithAdvice("give the checksum itself: #%s:HEX", c.kind)
	}
	if c.file = path.Base(image.Path); c.file == "." || c.file == "/" {
		return c, errs.New(errs.Invalid, object, "its URL has no file name to find in a list of checksums").
			WithAdvice("give the checksum itself: #%s:HEX", c.kind)
	}
	c.list, c.listed = list, outbound.Shown(list)
	return c, nil
}

// lookUp finds the checksum in its list. Errors: Invalid when it is not there.
func (a *adding) lookUp(ctx context.Context) error {
	if a.want.list == nil {
		return nil
	}
	src, err := a.openHTTP(ctx, a.object, a.want.list, a.req.Reach)
	if err != nil {
		return err
	}
	defer src.done(nil)
	data, err := io.ReadAll(io.LimitReader(src, listBytes+1))
	for errors.Is(err, errRestarted) {
		data, err = io.ReadAll(io.LimitReader(src, listBytes+1))
	}
	var known *errs.Error
	switch {
	case errors.As(err, &known):
		return err
	case err != nil:
		return errs.Wrap(errs.Unavailable, a.object, err, "read the checksums in %s", a.want.listed)
	case len(data) > listBytes:
		return errs.New(errs.Invalid, a.object, "%s is too long for a list of checksums, it has more than %d bytes", a.want.listed, listBytes)
	}
	if a.want.hex, err = findChecksum(string(data), a.want.kind, a.want.file); err != nil {
		return errs.Wrap(errs.Invalid, a.object, err, "look up its checksum in %s", a.want.listed).
			WithAdvice("give the URL of a list that has it, or the checksum itself: #%s:HEX", a.want.kind)
	}
	return nil
}

// The lines of lists: GNU coreutils' "HEX  name" and "HEX *name", the tagged form
// of BSD, also of OpenSSL, "SHA512 (name) = HEX", and a file with the digits alone.
var (
	gnuLine = regexp.MustCompile(`^([0-9A-Fa-f]{32,})[ \t]+\*?(.+)$`)
	bsdLine = regexp.MustCompile(`^([A-Za-z0-9-]+) ?\((.+)\) ?= ?([0-9A-Fa-f]{32,})$`)
	hexLine = regexp.MustCompile(`^[0-9A-Fa-f]{32,}$`)
)

// findChecksum returns the digits of a file. A line that has just the name goes
// before those that have a path to it; digits alone count when there are no
// others.
func findChecksum(list, kind, file string) (string, error) {
	digits := 2 * hashes[kind]().Size()
	var exact, below, alone []string
	named := false
	for line := range strings.Lines(list) {
		name, sum := listLine(strings.TrimSpace(line), kind)
		named = named || name != ""
		switch {
		case len(sum) != digits:
		case name == "":
			alone = append(alone, sum)
		case name == file:
			exact = append(exact, sum)
		case path.Base(name) == file:
			below = append(below, sum)
		}
	}
	if named {
		alone = nil
	}
	for _, found := range [][]string{exact, below, alone} {
		switch found = slices.Compact(found); len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			return "", fmt.Errorf("it has different %s sums of %q", kind, file)
		}
	}
	return "", fmt.Errorf("it has no %s sum of %q", kind, file)
}

// listLine reads a line that may be of this kind.
func listLine(line, kind string) (name, sum string) {
	if m := bsdLine.FindStringSubmatch(line); m != nil {
		tag := strings.ReplaceAll(strings.Replace(strings.ToLower(m[1]), "sha2-", "sha", 1), "-", "")
		if name, sum = m[2], m[3]; tag != kind {
			sum = ""
		}
	} else if m := gnuLine.FindStringSubmatch(line); m != nil {
		name, sum = m[2], m[1]
	} else if hexLine.MatchString(line) {
		sum = line
	}
	return strings.TrimPrefix(name, "./"), strings.ToLower(sum)
}

// check compares. What was added without this kind of checksum being asked for
// has none, and none is wanted of a list that has not been read.
func (c checksum) check(object string, is sums) error {
	if c.kind == "" {
		return nil
	}
	got := *is.of(c.kind)
	if got == "" || c.hex == "" || got == c.hex {
		return nil
	}
	said := "was said"
	if c.list != nil {
		said = c.listed + " says"
	}
	return errs.New(errs.Invalid, object, "its %s is %s, not %s as %s", c.kind, got, c.hex, said).
		WithAdvice("the source was changed or damaged; check it and its checksum")
}
