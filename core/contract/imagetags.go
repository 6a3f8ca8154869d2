package contract

import (
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// ImageTag is a system tag that tells of an image how its guests are made; images
// and guests have one of each at most. A new guest gets the image's, unless it is given one of the pattern itself, and keeps
// it: what is changed at the image later is for later guests.
type ImageTag struct {
	Pattern string
	// Check looks at the tokens' values; nil accepts all. Errors: Invalid.
	Check func(tokens map[string]string) error
}

const (
	// TagBootMode says how a guest starts, by one of the modes that hypervisors
	// declare; the usual one of its hypervisor without it. Machines that know only
	// one way start by that in any case.
	TagBootMode = "bootMode::{bootMode}"
	// TagGuestAgent says that the agent of the hypervisor is installed. It changes
	// nothing: every guest has the channel for it, and nothing is asked of an agent
	// that might not be there.
	TagGuestAgent = "qemuga"
)

// ImageTagPatterns are the patterns of all of them.
var ImageTagPatterns = []string{TagBootMode, TagGuestAgent}

// ImageTags are all of them, where hypervisors offer these boot modes and tell why
// they refuse others; images and guests have the same.
func ImageTags(bootModes []string, refused map[string]string) []ImageTag {
	return []ImageTag{{Pattern: TagBootMode, Check: func(tokens map[string]string) error {
		mode, known := tokens["bootMode"], strings.Join(bootModes, " or ")
		switch {
		case slices.Contains(bootModes, mode):
			return nil
		case refused[mode] != "":
			return errs.New(errs.Invalid, "boot mode "+mode, "%s", refused[mode]).WithAdvice("use %s", known)
		}
		return errs.New(errs.Invalid, "boot mode", "%q is not %s", mode, known)
	}}, {Pattern: TagGuestAgent}}
}
