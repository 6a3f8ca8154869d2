package driver

import (
	"strings"

	"github.com/kumo-cloud/kumo/plugins/kvm/domain"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// explain names the package that is missing when libvirt found no UEFI firmware
// on the host; other errors stay as they are.
func explain(vm *pluginv1.VM, err error) error {
	if !domain.UEFI(vm) || !strings.Contains(err.Error(), "Unable to find any firmware") {
		return err
	}
	return errs.Wrap(errs.Refused, vmObject(vm.GetUuid()), err, "the host has no UEFI firmware for it").
		WithAdvice("install the package %s on the host", domain.FirmwarePackage(vm))
}
