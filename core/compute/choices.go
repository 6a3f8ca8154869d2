package compute

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// This file has the options of guests that hypervisors declare: what a guest is
// given by a system tag of its own, or by a setting.

// registerChoices defines the tags and the settings of all options.
func (s *Service) registerChoices() error {
	var failed error
	choices := plugin.Offers(s.generic.Declared()).Options
	s.choices.Store(&choices)
	for _, o := range choices {
		values, captions := plugin.ChoicesOf(o), map[string]resource.Caption{}
		for _, c := range o.GetChoices() {
			captions[c.GetValue()] = captionOf(c.GetCaption())
		}
		if o.GetTag() != "" {
			failed = errors.Join(failed, s.Tags.Define(tag.Pattern{Resource: VMType.Name, Pattern: o.GetTag(), Single: true, Caption: captionOf(o.GetCaption()),
				Validate: func(tokens map[string]string) error {
					for key, v := range tokens {
						if !slices.Contains(values, v) {
							return errs.New(errs.Invalid, "system tag "+key, "%q is not %s", v, strings.Join(values, " or "))
						}
					}
					return nil
				}}))
		}
		if o.GetSettingName() != "" {
			failed = errors.Join(failed, s.Config.Define(config.Setting{Category: o.GetSettingCategory(), Name: o.GetSettingName(), Type: "string",
				Default: plugin.Usual(o, ""), Values: values, Captions: captions, Resources: []string{VMType.Name, "Cluster"}, Doc: o.GetDoc(),
				Caption: captionOf(o.GetCaption())}))
		}
	}
	return failed
}

func captionOf(c *pluginv1.Caption) resource.Caption { return resource.Say(c.GetEn(), c.GetZh()) }

// choicesOf is what a guest's tags choose, by the options' names.
func (s *Service) choicesOf(tags []string) map[string]string {
	var chosen map[string]string
	for _, o := range *s.choices.Load() {
		if v := choiceOf(o, tags); v != "" {
			if chosen == nil {
				chosen = map[string]string{}
			}
			chosen[o.GetName()] = v
		}
	}
	return chosen
}

func choiceOf(o *pluginv1.GuestOption, tags []string) string {
	if o.GetTag() == "" {
		return ""
	}
	for _, t := range slices.Backward(tags) {
		if tokens, ok := tag.Match(o.GetTag(), t); ok {
			for _, v := range tokens {
				return v
			}
		}
	}
	return ""
}

// asked is what the tags of a guest ask of its hypervisor.
func (s *Service) asked(tags []string) options {
	return options{Devices: devicesOf(tags), BootMode: bootModeOf(tags), Choices: s.choicesOf(tags)}
}

// planChoices gives a new guest the tags of the choices that are usual now: those
// of later times are for later guests.
func (s *Service) planChoices(st *creation) error {
	hv, err := s.Plugins.Hypervisor(st.HypervisorType)
	if err != nil {
		return err
	}
	for _, o := range hv.Decl.GetGuestOptions() {
		usual := plugin.Usual(o, st.Architecture)
		if o.GetTag() == "" || usual == "" || choiceOf(o, st.Tags) != "" {
			continue
		}
		name, _, _ := strings.Cut(o.GetTag(), "{")
		st.Tags = append(slices.Clip(st.Tags), name+usual)
	}
	return nil
}

// options are a guest's for its hypervisor: by its tags, and by the settings as they
// are now.
func (s *Service) options(ctx context.Context, g *guest, hv *plugin.Hypervisor) map[string]string {
	chosen := map[string]string{}
	for _, o := range hv.Decl.GetGuestOptions() {
		v := g.Choices[o.GetName()]
		if o.GetSettingName() != "" && v == "" {
			v = s.Config.String(ctx, o.GetSettingCategory(), o.GetSettingName(), g.UUID)
		}
		if v != "" {
			chosen[o.GetName()] = v
		}
	}
	return chosen
}
