package pluginsdk

import (
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
)

// CheckUUID refuses (errs.Invalid) what is no UUID of Kumo: 32 lower-case hex
// digits. Drivers that make names of files or devices from a UUID call it
// first, so that no name can leave its folder. kind is "volume", "image", ….
func CheckUUID(kind, uuid string) error {
	if len(uuid) == 32 && strings.Trim(uuid, "0123456789abcdef") == "" {
		return nil
	}
	return errs.New(errs.Invalid, kind+" "+uuid, "its UUID is not 32 lower-case hex digits")
}

// CheckFolder refuses (errs.Invalid) a folder's path on a host that is not
// absolute and clean, is the root or one of the system's own folders, or has
// characters that do not belong in a path which people type. object names what
// has the path.
func CheckFolder(object, folder string) error {
	refuse := func(why string) error {
		return errs.New(errs.Invalid, object, "folder %q %s", folder, why).
			WithAdvice("choose a folder such as /var/lib/storage")
	}
	switch {
	case kinds.Exact("path", folder) != nil:
		return refuse("is not absolute and clean")
	case strings.ContainsFunc(folder, func(r rune) bool { return r < ' ' || strings.ContainsRune(`"'$*?\`+"`", r) }):
		return refuse("has characters that a path should not have")
	}
	top, rest, _ := strings.Cut(folder[1:], "/")
	switch top {
	case "", "bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "root", "run", "sbin", "sys", "usr":
		return refuse("belongs to the system")
	case "home", "var":
		if !strings.Contains(rest, "/") && (rest == "" || top == "var") {
			return refuse("belongs to the system")
		}
	}
	return nil
}
