package config

import (
	"context"
	"fmt"

	"github.com/kumo-cloud/kumo/core/store"
)

// Look calls found for each value of a setting, global or a resource's own, that
// breaks a rule which it was set before: with its type, what clients see of it, and
// why. An error of found ends it. Settings that are not known now are not looked at.
func (s *Service) Look(ctx context.Context, q store.Querier, found func(typeName, uuid, value, why string) error) error {
	settings := s.view.Load().settings
	look := func(typeName, uuid, category, name, text string) error {
		d := settings[key{category, name}]
		if d == nil {
			return nil
		}
		if why := d.broken(text); why != "" {
			return found(typeName, uuid, d.shown(text), why)
		}
		return nil
	}
	globals, err := store.Find(ctx, q, GlobalConfigType, "ORDER BY `id`")
	if err != nil {
		return err
	}
	for _, r := range globals {
		if err := look(GlobalConfigType.Name, r.UUID, r.Category, r.Name, r.text()); err != nil {
			return err
		}
	}
	own, err := store.Find(ctx, q, ResourceConfigType, "ORDER BY `uuid`")
	if err != nil {
		return err
	}
	for _, r := range own {
		if err := look(ResourceConfigType.Name, r.UUID, r.Category, r.Name, r.text()); err != nil {
			return err
		}
	}
	return nil
}

// broken says how a stored value breaks a rule, "" when it does not.
func (s *Setting) broken(text string) string {
	v, err := s.parse(text)
	switch {
	case err != nil:
		return err.Error()
	case v.text != text && s.Secret:
		return s.label() + ": it is spelled in another way today"
	case v.text != text:
		return fmt.Sprintf("%s: %.80q is spelled %q today", s.label(), text, v.text)
	}
	return ""
}
