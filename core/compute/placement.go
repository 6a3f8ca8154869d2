package compute

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// checkStrategy refuses a strategy of placement that is not offered.
func checkStrategy(name string) error {
	if name == "" || contract.KnownStrategy(name) {
		return nil
	}
	return errs.New(errs.Invalid, "allocatorStrategy", "%q is not offered", name).
		WithAdvice("use one of %s", strings.Join(contract.Strategies, ", "))
}

// checkReserved refuses a memory reservation: a guest has all its memory from
// its start, nothing of it is lent to others.
func checkReserved(bytes int64) error {
	if bytes == 0 {
		return nil
	}
	return errs.New(errs.Invalid, "reservedMemorySize", "%d is not offered: the whole memory of a guest is reserved", bytes).
		WithAdvice("leave it away, or use 0")
}

func (s *Service) registerPlacement() error {
	check := func(t map[string]string) error { _, err := guestLimit(t); return err }
	return errors.Join(
		s.Tags.Define(tag.Pattern{Resource: VMType.Name, Pattern: contract.TagMaxInstance, Validate: check, Single: true}),
		s.Tags.Define(tag.Pattern{Resource: InstanceOfferingType.Name, Pattern: contract.TagMaxInstance, Validate: check, Single: true}),
	)
}

// guestLimit reads the limit of a tag contract.TagMaxInstance. Errors: Invalid,
// which a tag that was stored cannot have.
func guestLimit(tokens map[string]string) (int64, error) {
	n, err := strconv.ParseInt(tokens["maxInstancePerHost"], 10, 64)
	if err != nil || n < 1 {
		return 0, errs.New(errs.Invalid, "system tag maxInstancePerHost", "%q is not a number of at least 1", tokens["maxInstancePerHost"])
	}
	return n, nil
}

// maxGuests is the limit of guests on the guest's host, 0 without one: that of
// its own tags, else that of its offering.
func (s *Service) maxGuests(ctx context.Context, q store.Querier, vm *VMInstance, tags []string) (int64, error) {
	for _, t := range tags {
		if m, ok := tag.Match(contract.TagMaxInstance, t); ok {
			return guestLimit(m)
		}
	}
	if vm.AllocatorStrategy != contract.PlaceMaxInstance {
		return 0, nil
	}
	of, err := s.Tags.Tokens(ctx, q, vm.InstanceOfferingUUID, contract.TagMaxInstance)
	if err != nil {
		return 0, err
	}
	if len(of) == 0 {
		return 0, errs.New(errs.Invalid, "allocatorStrategy "+vm.AllocatorStrategy, "there is no limit of guests on a host").
			WithAdvice("give the instance offering, or the guest, a system tag maxInstancePerHost::N")
	}
	return guestLimit(of[0])
}

// reachable gives the clusters that have all networks, for contract.HostRequest:
// nil for a guest without NICs, none when there is no such cluster.
func (s *Service) reachable(ctx context.Context, q store.Querier, l3s []string) ([]string, error) {
	if len(l3s) == 0 {
		return nil, nil
	}
	clusters, err := s.networks.Clusters(ctx, q, l3s)
	if clusters == nil {
		clusters = []string{}
	}
	return slices.Clip(clusters), err
}
