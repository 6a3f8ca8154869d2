package compute

import (
	"context"
	"slices"
	"strconv"

	"github.com/kumo-cloud/kumo/core/compute/sshkey"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// planTags turns the parameters that a guest keeps as system tags into these,
// adds those of its image, and checks those of its volumes.
func (s *Service) planTags(ctx context.Context, q store.Querier, p *newVM, st *creation, img *contract.Image) error {
	for _, uuid := range p.SSHKeyPairs {
		key, err := store.Get(ctx, q, sshkey.Type, uuid)
		if err != nil {
			return errs.Wrap(errs.Invalid, "sshKeyPairUuids", err, "")
		}
		st.Tags = append(slices.Clip(st.Tags), "sshkey::"+key.PublicKey)
	}
	if err := s.planImageTags(ctx, q, st, img); err != nil {
		return err
	}
	return s.planVolumeTags(ctx, p, st)
}

// planDevices asks the hypervisor of the place for devices that every system
// knows, when the guest's brings no drivers and its tags ask for none.
func (s *Service) planDevices(p *newVM, st *creation, img *contract.Image) error {
	drivers := img.UsualDrivers
	if p.UsualDrivers != nil {
		drivers = *p.UsualDrivers
	}
	// Linux and the platforms that say so bring the drivers in any case.
	if drivers || st.Platform != "Windows" && st.Platform != "Other" || devicesOf(st.Tags) != "" {
		return nil
	}
	hv, err := s.Plugins.Hypervisor(st.HypervisorType)
	if err != nil {
		return err
	}
	if name := hv.Everywhere(); name != "" {
		st.Tags = append(slices.Clip(st.Tags), "driver::"+name)
	}
	return nil
}

// planImageTags gives the guest the tags of its image that it has not itself.
func (s *Service) planImageTags(ctx context.Context, q store.Querier, st *creation, img *contract.Image) error {
	ofImage, err := s.Tags.Of(ctx, q, img.UUID)
	if err != nil {
		return err
	}
	for _, pattern := range contract.ImageTagPatterns {
		if tags := fitting(ofImage, pattern); len(fitting(st.Tags, pattern)) == 0 && len(tags) > 0 {
			st.Tags = append(slices.Clip(st.Tags), tags[len(tags)-1]) // the newest
		}
	}
	return nil
}

// fitting returns the tags that fit a pattern, in their order.
func fitting(tags []string, pattern string) []string {
	var found []string
	for _, t := range tags {
		if _, ok := tag.Match(pattern, t); ok {
			found = append(found, t)
		}
	}
	return found
}

// planVolumeTags gives each volume its tags. Those by index count the data
// volumes from 0.
func (s *Service) planVolumeTags(ctx context.Context, p *newVM, st *creation) error {
	data := 0
	for _, v := range st.Volumes {
		switch v.Type {
		case "Root":
			v.Tags = p.RootTags
		case "Data":
			v.Tags = slices.Concat(p.DataTags, p.DataTagsOnIndex[strconv.Itoa(data)])
			data++
		}
		if err := s.Tags.CheckCreate(ctx, "Volume", v.Tags, nil); err != nil {
			return err
		}
	}
	for index := range p.DataTagsOnIndex {
		if n, err := strconv.Atoi(index); err != nil || n < 0 || n >= data {
			return errs.New(errs.Invalid, "dataVolumeSystemTagsOnIndex", "there is no data volume %q; they count from 0 to %d", index, data-1)
		}
	}
	return nil
}
