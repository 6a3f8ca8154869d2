package network

import (
	"context"

	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// This file gives plugins addresses of their own, without a NIC: of a virtual IP, or
// of an appliance that they run.

// heldUUID is that of the address which a plugin calls by a key.
func heldUUID(plugin, key string) string { return pluginsdk.UUIDOf("address", plugin, key) }

// AllocateFor takes an address for a plugin, which a repeat finds again by its key.
// Errors: NotFound for the network or range, Exists for a wanted address that is in use
// and for a key that has another address than is asked for, Exhausted, Invalid for one
// that is in no range.
func (s *Service) AllocateFor(ctx context.Context, plugin string, r *pluginv1.AllocateAddressRequest) (*pluginv1.Address, error) {
	for try := 0; ; try++ {
		held, had, err := s.hold(ctx, plugin, r)
		// On MySQL another transaction may have taken the address, or the key, meanwhile.
		if errs.ClassOf(err) == errs.Exists && !had && r.GetIp() == "" && try < maxAddressTries {
			continue
		}
		if err != nil {
			return nil, err
		}
		return &pluginv1.Address{Uuid: held.UUID, Ip: held.IP, Netmask: held.Netmask, Gateway: held.Gateway, L3NetworkUuid: held.L3NetworkUUID,
			IpRangeUuid: held.IPRangeUUID}, nil
	}
}

// hold finds the address of a key, which had says, or takes one.
func (s *Service) hold(ctx context.Context, plugin string, r *pluginv1.AllocateAddressRequest) (held *UsedIP, had bool, err error) {
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		uuid := heldUUID(plugin, r.GetKey())
		have, found, err := store.First(ctx, tx, UsedIPType, "`uuid` = ?", uuid)
		if err != nil {
			return err
		}
		if had = found; found {
			held = have
			return otherThanAsked(have, r)
		}
		if err := cascade.Guard(ctx, tx, L3NetworkType.Name, r.GetL3NetworkUuid()); err != nil {
			return err
		}
		ranges, err := s.rangesOf(ctx, tx, r)
		if err != nil {
			return err
		}
		held, err = s.takeOf(ctx, tx, ranges, contract.NICWish{L3UUID: r.GetL3NetworkUuid(), IP: r.GetIp()}, holder{uuid: uuid, usedFor: r.GetPurpose()})
		return err
	})
	return held, had, err
}

// otherThanAsked refuses a repeat that asks for something else.
func otherThanAsked(have *UsedIP, r *pluginv1.AllocateAddressRequest) error {
	if have.L3NetworkUUID == r.GetL3NetworkUuid() && (r.GetIp() == "" || r.GetIp() == have.IP) && (r.GetIpRangeUuid() == "" || r.GetIpRangeUuid() == have.IPRangeUUID) {
		return nil
	}
	return errs.New(errs.Exists, "address "+r.GetKey(), "it is %s of L3Network %s already", have.IP, have.L3NetworkUUID).WithAdvice("release it first, or use another key")
}

// rangesOf are the ranges that an address may be of.
func (s *Service) rangesOf(ctx context.Context, tx *store.Tx, r *pluginv1.AllocateAddressRequest) ([]*IPRange, error) {
	if r.GetIpRangeUuid() == "" {
		return store.Find(ctx, tx, IPRangeType, "`l3NetworkUuid` = ? AND `ipVersion` = 4 AND `ipRangeType` = 'Normal' ORDER BY `createDate`", r.GetL3NetworkUuid())
	}
	if err := cascade.Guard(ctx, tx, IPRangeType.Name, r.GetIpRangeUuid()); err != nil {
		return nil, err
	}
	one, err := store.Find(ctx, tx, IPRangeType, "`uuid` = ? AND `l3NetworkUuid` = ?", r.GetIpRangeUuid(), r.GetL3NetworkUuid())
	if err == nil && len(one) == 0 {
		err = errs.New(errs.NotFound, "IpRange "+r.GetIpRangeUuid(), "it is no range of L3Network %s", r.GetL3NetworkUuid())
	}
	return one, err
}

// ReleaseFor gives an address of a plugin's back. A key that has none is a success.
func (s *Service) ReleaseFor(ctx context.Context, plugin, key string) error {
	return s.Store.Update(ctx, func(tx *store.Tx) error { return store.Delete(ctx, tx, UsedIPType.Type, heldUUID(plugin, key)) })
}
