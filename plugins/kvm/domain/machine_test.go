package domain

import (
	"errors"
	"slices"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func TestProcessor(t *testing.T) {
	for _, c := range []struct {
		choice, arch, emulated string
		kvm                    bool
		mode, model            string
	}{
		{"", "", "", false, "maximum", ""},
		{processorNone, archX86, "", false, "maximum", ""},
		{processorNone, archX86, "Westmere", false, "custom", "Westmere"},
		{processorHostModel, archX86, "Westmere", false, "custom", "Westmere"},
		{processorPassthrough, "", "", false, "maximum", ""},
		{processorMax, "", "", false, "maximum", ""},
		{"Haswell", "", "", false, "custom", "Haswell"},
		{"", archARM, "Westmere", false, "custom", "cortex-a57"},
		{"", "", "Westmere", true, "host-model", ""},
		{processorNone, archARM, "", true, "host-model", ""},
		{processorHostModel, "", "", true, "host-model", ""},
		{processorPassthrough, "", "", true, "host-passthrough", ""},
		{processorMax, "", "", true, "maximum", ""},
		{"EPYC", "", "", true, "custom", "EPYC"},
	} {
		vm := &pluginv1.VM{Architecture: c.arch}
		if c.choice != "" {
			vm.Options = map[string]string{OptionProcessor: c.choice}
		}
		got, err := cpu(vm, Options{KVM: c.kvm, Emulated: c.emulated})
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		model := ""
		if got.Model != nil {
			model = got.Model.Value
		}
		if got.Mode != c.mode || model != c.model {
			t.Errorf("%+v: %s %s", c, got.Mode, model)
		}
	}
	arm := &pluginv1.VM{Uuid: uuid, Architecture: archARM, Options: map[string]string{OptionProcessor: "Haswell"}}
	if _, err := cpu(arm, Options{KVM: true}); !errors.Is(err, errs.Unsupported) {
		t.Errorf("a Haswell of ARM: %v", err)
	}
}

// What is declared can be had: no choice is refused by who declared it.
func TestDeclaredChoicesWork(t *testing.T) {
	for option, choices := range map[string][]*pluginv1.GuestChoice{OptionMachine: Machines(), OptionProcessor: Processors()} {
		for _, arch := range []string{archX86, archARM} {
			for _, c := range choices {
				if c.GetArchitecture() != "" && c.GetArchitecture() != arch {
					continue
				}
				vm := &pluginv1.VM{Uuid: uuid, CpuNum: 1, MemoryBytes: 1 << 30, Architecture: arch, Options: map[string]string{option: c.GetValue()}}
				if _, err := Build(vm, options()); err != nil {
					t.Errorf("%s %s of %s: %v", option, c.GetValue(), arch, err)
				}
			}
			usual := func(c *pluginv1.GuestChoice) bool {
				return c.GetUsual() && (c.GetArchitecture() == "" || c.GetArchitecture() == arch)
			}
			if !slices.ContainsFunc(choices, usual) {
				t.Errorf("%s has no usual choice for %s", option, arch)
			}
		}
	}
}

func TestNearestProcessor(t *testing.T) {
	const head, tail = `<domainCapabilities><cpu>`, `</cpu></domainCapabilities>`
	models := func(supported, list string) string {
		return `<mode name="custom" supported="` + supported + `">` + list + `</mode>`
	}
	for name, c := range map[string]struct {
		caps, want string
		class      errs.Class
	}{
		"maximum":       {head + `<mode name="maximum" supported="yes"/>` + models("yes", `<model usable="yes">Westmere</model>`) + tail, "", ""},
		"no maximum":    {head + `<mode name="maximum" supported="no"/>` + models("yes", `<model usable="yes">Nehalem</model><model usable="yes">Westmere</model>`) + tail, "Westmere", ""},
		"old libvirt":   {head + models("yes", `<model>Nehalem</model><model>qemu64</model>`) + tail, "Nehalem", ""},
		"not usable":    {head + models("yes", `<model usable="no">Westmere</model><model usable="yes">Nehalem</model>`) + tail, "Nehalem", ""},
		"not supported": {head + models("no", `<model usable="yes">Westmere</model>`) + tail, "", errs.Unsupported},
		"old models":    {head + models("yes", `<model usable="yes">qemu64</model>`) + tail, "", errs.Unsupported},
		"nothing":       {`<domainCapabilities/>`, "", errs.Unsupported},
		"broken":        {`<`, "", errs.Internal},
	} {
		got, err := NearestProcessor(c.caps)
		if got != c.want || errs.ClassOf(err) != c.class {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
