package image

import (
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/tag"
)

// registerTags lets images have the tags that their guests are made by.
func (s *Service) registerTags() error {
	offers := plugin.Offers(s.generic.Declared())
	for _, t := range contract.ImageTags(offers.BootModes, offers.RefusedBootModes) {
		if err := s.Tags.Define(tag.Pattern{Resource: ImageType.Name, Pattern: t.Pattern, Single: true, Validate: t.Check}); err != nil {
			return err
		}
	}
	return nil
}
