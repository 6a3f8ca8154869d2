package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// imageFormats are the formats of the wire catalogue, and those in which
// VirtualBox and Hyper-V export disks.
var imageFormats = []string{"qcow2", "raw", "iso", "vmdk", "vdi", "vhdx"}

// isoMagicAt is where a volume descriptor's identifier stands (ECMA-119).
const isoMagicAt = 16*2048 + 1

// magics tell formats by their first bytes. Archives are among them because they
// are a common mistake.
var magics = []struct{ name, bytes string }{
	{"qcow2", "QFI\xfb"}, {"vmdk", "KDMV"}, {"vmdk", "COWD"}, {"vmdk", "# Disk DescriptorFile"},
	{"vhdx", "vhdxfile"}, {"vpc", "conectix"}, {"qed", "QED\x00"}, {"luks", "LUKS\xba\xbe"},
	{"parallels", "WithoutFreeSpace"}, {"parallels", "WithouFreSpacExt"},
	{"gzip", "\x1f\x8b"}, {"xz", "\xfd7zXZ\x00"}, {"zstd", "\x28\xb5\x2f\xfd"}, {"bzip2", "BZh"}, {"zip", "PK\x03\x04"},
}

// inspect makes sure that the file has the format that was said and stands on
// its own, and returns the size of the disk in it; from is where it came from.
// Errors: Invalid.
func inspect(ctx context.Context, object, from string, f *os.File, format string) (int64, error) {
	if err := checkBytes(object, f, format); err != nil {
		return 0, err
	}
	info, err := diskInfo(ctx, object, from, f.Name(), format)
	if err != nil {
		return 0, err
	}
	switch {
	case info.Backing != "" || info.FullBacking != "" || info.Specific.Data.DataFile != "" || len(info.Specific.Data.Extents) > 1:
		return 0, notAlone(object)
	case info.Encrypted:
		return 0, errs.New(errs.Invalid, object, "it is encrypted and nobody gave its key")
	case info.Specific.Data.Corrupt:
		return 0, errs.New(errs.Invalid, object, "it is marked as damaged").WithAdvice("repair it with qemu-img check -r")
	case info.VirtualSize <= 0:
		return 0, errs.New(errs.Invalid, object, "the disk in it has no size")
	}
	return info.VirtualSize, nil
}

func notAlone(object string) error {
	return errs.New(errs.Invalid, object, "it refers to another file, which would be read on the machine that uses it").
		WithAdvice("make it stand on its own with qemu-img convert")
}

// checkBytes looks at the header before any tool opens the file: opening a
// qcow2 with an external data file, or a VMDK descriptor, opens the files that
// it names.
func checkBytes(object string, f *os.File, format string) error {
	head := make([]byte, 512)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return errs.Wrap(errs.Internal, object, err, "read its header")
	}
	if n == 0 {
		return errs.New(errs.Invalid, object, "it is empty")
	}
	seen := formatOf(head[:n])
	switch format {
	case "qcow2":
		if seen == format {
			return checkQcow2(object, head[:n])
		}
	case "vmdk":
		if seen == format && strings.HasPrefix(string(head), "KDMV") && binary.LittleEndian.Uint64(head[12:]) > 0 {
			return nil
		}
	case "iso":
		id := make([]byte, 5)
		if _, err := f.ReadAt(id, isoMagicAt); err == nil && (string(id) == "CD001" || string(id) == "BEA01") {
			return nil
		}
	case "vdi", "vhdx": // QEMU opens none that is made of several files
		if seen == format {
			return nil
		}
	case "raw":
		if seen == "" {
			return nil
		}
	}
	if seen == "" {
		seen = "something else"
	}
	return errs.New(errs.Invalid, object, "its bytes are %s, not %s as was said", seen, format).
		WithAdvice("give the right format, and take the image out of its archive first")
}

func formatOf(head []byte) string {
	for _, m := range magics {
		if strings.HasPrefix(string(head), m.bytes) {
			return m.name
		}
	}
	if len(head) > 262 && string(head[257:262]) == "ustar" {
		return "tar"
	}
	if len(head) > 68 && binary.LittleEndian.Uint32(head[64:]) == 0xbeda107f {
		return "vdi"
	}
	return ""
}

// checkQcow2 reads the header's fields that name other files (QEMU,
// docs/interop/qcow2.txt): the backing file's offset, and bit 2 of the
// incompatible features for an external data file.
func checkQcow2(object string, head []byte) error {
	const dataFile = 1 << 2
	if len(head) < 104 {
		return errs.New(errs.Invalid, object, "its qcow2 header is cut off")
	}
	if binary.BigEndian.Uint64(head[8:]) != 0 {
		return notAlone(object)
	}
	if binary.BigEndian.Uint32(head[4:]) >= 3 && binary.BigEndian.Uint64(head[72:])&dataFile != 0 {
		return notAlone(object)
	}
	return nil
}

// qemuInfo is what we use of `qemu-img info --output=json`.
type qemuInfo struct {
	VirtualSize int64  `json:"virtual-size"`
	Backing     string `json:"backing-filename"`
	FullBacking string `json:"full-backing-filename"`
	Encrypted   bool   `json:"encrypted"`
	Specific    struct {
		Data struct {
			DataFile string            `json:"data-file"`
			Corrupt  bool              `json:"corrupt"`
			Extents  []json.RawMessage `json:"extents"`
		} `json:"data"`
	} `json:"format-specific"`
}

// diskInfo asks qemu-img, with the format given, so that nothing is guessed.
func diskInfo(ctx context.Context, object, from, path, format string) (qemuInfo, error) {
	var info qemuInfo
	driver := format
	if format == "iso" {
		driver = "raw"
	}
	out, problem, err := runQemuImg(ctx, object, inspectTimeout, "info", "--output=json", "-f", driver, path)
	if err != nil {
		return info, err
	}
	if problem != "" {
		return info, damaged(object, from, "qemu-img cannot read it as "+format+": "+problem)
	}
	if err := json.Unmarshal(out, &info); err != nil {
		return info, errs.Wrap(errs.Internal, object, err, "read the answer of qemu-img")
	}
	return info, nil
}

func knownFormat(format string) bool { return slices.Contains(imageFormats, format) }
