package contract

import "github.com/kumo-cloud/kumo/pluginsdk/errs"

// ImageTag is a system tag that tells of an image how its guests are made. A new
// guest gets the image's, unless it is given one of the pattern itself, and keeps
// it: what is changed at the image later is for later guests.
type ImageTag struct {
	Pattern string
	// Check looks at the tokens' values; nil accepts all. Errors: Invalid.
	Check func(tokens map[string]string) error
}

const (
	// TagBootMode says with which firmware a guest starts: Legacy (a BIOS, which
	// is also what no tag means) or UEFI. Machines without a BIOS, such as ARM's,
	// start by UEFI in any case.
	TagBootMode = "bootMode::{bootMode}"
	// TagGuestAgent says that QEMU's guest agent is installed. It changes nothing:
	// every guest has the channel for the agent (org.qemu.guest_agent.0), and
	// nothing is asked of an agent that might not be there.
	TagGuestAgent = "qemuga"
)

// Values of TagBootMode.
const (
	BootLegacy = "Legacy"
	BootUEFI   = "UEFI"
	// bootCSM is a value of the API that no host can fulfil.
	bootCSM = "UEFI_WITH_CSM"
)

// ImageTags are all of them; images and guests have the same.
var ImageTags = []ImageTag{{Pattern: TagBootMode, Check: checkBootMode}, {Pattern: TagGuestAgent}}

func checkBootMode(tokens map[string]string) error {
	switch mode := tokens["bootMode"]; mode {
	case BootLegacy, BootUEFI:
		return nil
	case bootCSM:
		return errs.New(errs.Invalid, "boot mode "+mode, "UEFI firmware (edk2) has no compatibility support module any more").
			WithAdvice("use %s for systems that start from a BIOS, else %s", BootLegacy, BootUEFI)
	default:
		return errs.New(errs.Invalid, "boot mode", "%q is not %s or %s", mode, BootLegacy, BootUEFI)
	}
}
