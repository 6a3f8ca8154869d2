package config

import (
	"context"
	"slices"

	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// tagSetting gives a new resource its own value of a setting.
const tagSetting = "resourceConfig::{category}::{name}::{value}"

// DefineTags lets the resources that may override settings be made with values
// of their own. Call it when all settings are defined; again is no harm.
func (s *Service) DefineTags(tags *tag.Service) error {
	seen := map[string]bool{}
	for _, d := range s.Settings() {
		for _, typ := range d.Resources {
			if seen[typ] {
				continue
			}
			seen[typ] = true
			err := tags.Define(tag.Pattern{Resource: typ, Pattern: tagSetting, Take: s.takeTag, Single: true, Each: []string{"category", "name"},
				Validate: func(t map[string]string) error { return s.checkTag(typ, t) }})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// checkTag checks the tag of a resource that is to be made.
func (s *Service) checkTag(typ string, t map[string]string) error {
	d, err := s.bindable(t["category"], t["name"])
	if err != nil {
		return err
	}
	if !slices.Contains(d.Resources, typ) {
		return errs.New(errs.Invalid, d.label(), "no %s can have its own value, only %q can", typ, d.Resources)
	}
	_, err = d.parse(t["value"])
	return err
}

// takeTag sets what a tag says, in the transaction that makes its resource.
func (s *Service) takeTag(ctx context.Context, tx *store.Tx, resourceUUID string, t map[string]string) error {
	d, err := s.bindable(t["category"], t["name"])
	if err != nil {
		return err
	}
	v, err := d.parse(t["value"])
	if err != nil {
		return err
	}
	_, err = s.setFor(ctx, tx, d, resourceUUID, v)
	return err
}
