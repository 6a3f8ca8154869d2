package driver

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/digitalocean/go-libvirt"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

func refusal(code libvirt.ErrorNumber, text string) error {
	return errs.Wrap(errs.Internal, vmObject(vmUUID), libvirt.Error{Code: uint32(code), Message: text}, "libvirt refused")
}

func TestCreateAfterItsEnd(t *testing.T) {
	forgetting := refusal(libvirt.ErrOperationFailed, "operation failed: domain '"+vmUUID+"' is already being removed")
	broken := refusal(libvirt.ErrInternalError, "internal error: qemu would not start "+vmUUID)
	noFirmware := refusal(libvirt.ErrOperationFailed, "operation failed: Unable to find any firmware to satisfy 'efi'")
	for name, c := range map[string]struct {
		answers []error // the last one repeats
		tries   int
		want    error
	}{
		"at once":           {[]error{nil}, 1, nil},
		"soon forgotten":    {[]error{forgetting, forgetting, nil}, 3, nil},
		"fails otherwise":   {[]error{broken}, 1, broken},
		"of another kind":   {[]error{noFirmware}, 1, noFirmware},
		"then it is broken": {[]error{forgetting, broken}, 2, broken},
		"never forgotten":   {[]error{forgetting}, int(forgetPatience/forgetPause) + 2, forgetting},
		"no answer of it":   {[]error{errs.New(errs.Unavailable, vmObject(vmUUID), "lost")}, 1, errs.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				err := afterItsEnd(vmUUID, func() error {
					tries++
					return c.answers[min(tries, len(c.answers))-1]
				})
				if !errors.Is(err, c.want) || tries != c.tries {
					t.Errorf("%d tries and %v, want %d and %v", tries, err, c.tries, c.want)
				}
			})
		})
	}
}
