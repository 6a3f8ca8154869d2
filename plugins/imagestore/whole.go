package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// checkTimeout bounds the reading of an image's tables: those of some terabytes
// lie scattered over a slow disk.
const checkTimeout = 30 * time.Minute

// whole makes sure that the image is there to its end. A transfer that ends
// where its headers say is not enough: a cache or a mirror that kept a part
// tells the part's length. So the image's own tables are asked how far it
// reaches. Errors: Invalid, naming the source.
func (a *adding) whole(ctx context.Context, f *os.File, rec *record, src *source) error {
	var cause error
	var err error
	switch rec.Format {
	case "raw":
		cause, err = checkRaw(f, rec.FileBytes, src.mediaType)
	case "iso":
		cause, err = checkISO(f, rec.FileBytes)
	default:
		a.core.Progress(ctx, 99, "checking the image")
		cause, err = a.checkTables(ctx, f.Name(), rec)
	}
	if err != nil {
		return errs.Wrap(errs.ClassOf(err), a.object, err, "check what came from %s", src.name)
	}
	if cause == nil {
		return nil
	}
	var page notADisk
	if errors.As(cause, &page) {
		return errs.New(errs.Invalid, a.object, "what came from %s is %s", src.name, cause).
			WithAdvice("open the URL in a browser: it must give the image itself, without a log-in")
	}
	return damaged(a.object, src.name, cause.Error())
}

func damaged(object, from, cause string) error {
	return errs.New(errs.Invalid, object, "what came from %s is damaged or cut off: %s", from, cause).
		WithAdvice("compare the source with its checksum, and take it from elsewhere or make it anew; one that is whole can be mended with qemu-img check -r all")
}

// notADisk is a cause that is no damage.
type notADisk string

func (e notADisk) Error() string { return string(e) }

// checkTables has qemu-img look at all tables of a format that has some, and
// compares where its data lies with the file's length. QEMU itself lets a file
// end within its last cluster, and reads zeros there.
func (a *adding) checkTables(ctx context.Context, path string, rec *record) (cause, err error) {
	out, problem, err := runQemuImg(ctx, a.object, checkTimeout, "check", "--output=json", "-f", rec.Format, path)
	if err != nil {
		return nil, err
	}
	var found struct {
		Corruptions int64 `json:"corruptions"`
		CheckErrors int64 `json:"check-errors"`
		Leaks       int64 `json:"leaks"` // clusters that nothing uses; harmless
	}
	if problem != "" {
		known := json.Unmarshal(out, &found)
		if known != nil || found.Corruptions > 0 || found.CheckErrors > 0 || found.Leaks == 0 {
			return errors.New("qemu-img check: " + problem), nil
		}
	}
	hidden := false
	problem, err = pipeQemuImg(ctx, a.object, checkTimeout, func(r io.Reader) error {
		hidden, cause = dataWithin(r, rec.FileBytes)
		return cause
	}, "map", "--output=json", "-f", rec.Format, path)
	switch {
	case cause != nil:
		return cause, nil
	case err != nil:
		return nil, err
	case problem != "":
		return errors.New("qemu-img map: " + problem), nil
	case !hidden || rec.Format != a.format: // a conversion reads all of it
		return nil, nil
	}
	return a.readThrough(ctx, path, rec)
}

// dataWithin reads the answer of "qemu-img map" and refuses data that ends
// behind size. hidden tells of data of which no place is told, because it is
// compressed.
func dataWithin(r io.Reader, size int64) (hidden bool, cause error) {
	d := json.NewDecoder(r)
	if _, err := d.Token(); err != nil {
		return false, nil // qemu-img tells the problem
	}
	for d.More() {
		var e struct {
			Start, Length int64
			Data          bool
			Offset        *int64
		}
		if err := d.Decode(&e); err != nil {
			return false, nil
		}
		switch {
		case !e.Data:
		case e.Offset == nil:
			hidden = true
		case *e.Offset > size-e.Length:
			return false, fmt.Errorf("the disk's bytes %d to %d lie behind the end of the file, which has %d bytes", e.Start, e.Start+e.Length-1, size)
		}
	}
	return hidden, nil
}

// readThrough reads the whole disk, so that what is compressed is unpacked.
func (a *adding) readThrough(ctx context.Context, path string, rec *record) (cause, err error) {
	a.core.Progress(ctx, 99, "reading the image")
	target := fmt.Sprintf("driver=null-co,size=%d", rec.VirtualBytes)
	_, problem, err := runQemuImg(ctx, a.object, convertTimeout, "convert", "-n", "--target-is-zero", "-f", rec.Format, "--target-image-opts", path, target)
	if err != nil || problem == "" {
		return nil, err
	}
	return errors.New(problem), nil
}

// checkISO compares the file's length with the volume's size in its primary
// descriptor (ECMA-119, 8.4.8 and 8.4.12). The last 150 sectors may be padding
// that a reader of discs has left out.
func checkISO(f *os.File, size int64) (cause, err error) {
	const sector, padding = 2048, 150 * 2048
	b := make([]byte, sector)
	if _, err := f.ReadAt(b, isoMagicAt-1); err != nil {
		return errors.New("it ends within its first descriptor"), nil
	}
	if b[0] != 1 || string(b[1:6]) != "CD001" {
		return nil, nil // UDF alone
	}
	volume := int64(binary.LittleEndian.Uint32(b[80:])) * int64(binary.LittleEndian.Uint16(b[128:]))
	if size < volume-padding {
		return fmt.Errorf("its volume has %d bytes, the file %d", volume, size), nil
	}
	return nil, nil
}

// checkRaw refuses pages and messages in place of a disk, and a disk whose
// partition table reaches behind its end.
func checkRaw(f *os.File, size int64, mediaType string) (cause, err error) {
	head := make([]byte, 8192)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	head = head[:n]
	if isPage(head, size, mediaType) {
		return notADisk("a page or a message, not a disk: " + fmt.Sprintf("%.60q", firstLine(string(head)))), nil
	}
	if end := partitionsEnd(head); end > size {
		return fmt.Errorf("its partition table is for a disk of at least %d bytes, the file has %d", end, size), nil
	}
	return nil, nil
}

// pageStarts are how pages and the messages of servers and object stores begin.
var pageStarts = []string{"<!doctype", "<html", "<head", "<body", "<?xml", "<!--", "<error", "{\"", "[{\""}

// isPage tells a text from a disk. A media type alone is no proof: servers that
// do not know a suffix say text/plain of everything.
func isPage(head []byte, size int64, mediaType string) bool {
	head = head[:min(len(head), 512)]
	if !isText(head) {
		return false
	}
	text := strings.ToLower(strings.TrimSpace(strings.TrimPrefix(string(head), "\ufeff")))
	if slices.ContainsFunc(pageStarts, func(s string) bool { return strings.HasPrefix(text, s) }) {
		return true
	}
	kind, _, _ := mime.ParseMediaType(mediaType)
	switch {
	case kind == "text/html", strings.HasSuffix(kind, "/xml"), strings.HasSuffix(kind, "+xml"), strings.HasSuffix(kind, "/json"), strings.HasSuffix(kind, "+json"):
		return true
	}
	// Shorter than any file system, or than a disk's sector whatever was said of it: a
	// pointer to a large file, a message that a server said under the disk's name.
	return strings.HasPrefix(kind, "text/") && size < 4096 || size < 512
}

func isText(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 && len(b) >= utf8.UTFMax || r < ' ' && !strings.ContainsRune("\t\n\r\f", r) {
			return false
		}
		b = b[n:]
	}
	return true
}

// partitionsEnd is how long a disk must be for its partition table, or 0 when it
// has none. GPT: the place of the other header, which is the last sector (UEFI
// 2.10, 5.3.2). MBR: the ends of its four records (UEFI 2.10, 5.2.1); a boot
// sector of a file system looks alike, but not where a record's first byte is.
func partitionsEnd(head []byte) int64 {
	for _, sector := range []int64{512, 4096} {
		if int64(len(head)) < sector+92 || !bytes.HasPrefix(head[sector:], []byte("EFI PART")) {
			continue
		}
		last := binary.LittleEndian.Uint64(head[sector+32:])
		return int64(min(last, 1<<50)+1) * sector
	}
	if len(head) < 512 || head[510] != 0x55 || head[511] != 0xaa {
		return 0
	}
	var end int64
	for i := range 4 {
		p := head[446+16*i:]
		if p[0] != 0 && p[0] != 0x80 || p[4] == 0xee {
			return 0
		}
		if p[4] != 0 {
			end = max(end, 512*(int64(binary.LittleEndian.Uint32(p[8:]))+int64(binary.LittleEndian.Uint32(p[12:]))))
		}
	}
	return end
}
