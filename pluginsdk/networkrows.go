package pluginsdk

import (
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// NetworkRows are rows of a call by their kind.
type NetworkRows struct {
	Networks []*pluginv1.L3Network
	NICs     []*pluginv1.GuestNIC
	// Others are of further types.
	Others []*pluginv1.Resource
}

// SplitRows takes the rows of a call apart. Errors: Invalid for one of a kind that
// this version does not know.
func SplitRows(rows []*pluginv1.NetworkRow) (r NetworkRows, err error) {
	for _, row := range rows {
		switch kind := row.GetKind().(type) {
		case *pluginv1.NetworkRow_Network:
			r.Networks = append(r.Networks, kind.Network)
		case *pluginv1.NetworkRow_Nic:
			r.NICs = append(r.NICs, kind.Nic)
		case *pluginv1.NetworkRow_Row:
			r.Others = append(r.Others, kind.Row)
		default:
			return NetworkRows{}, unknownKind("network row")
		}
	}
	return r, nil
}

// Join is the opposite of SplitRows.
func (r NetworkRows) Join() []*pluginv1.NetworkRow {
	rows := make([]*pluginv1.NetworkRow, 0, len(r.Networks)+len(r.NICs)+len(r.Others))
	for _, n := range r.Networks {
		rows = append(rows, &pluginv1.NetworkRow{Kind: &pluginv1.NetworkRow_Network{Network: n}})
	}
	for _, n := range r.NICs {
		rows = append(rows, &pluginv1.NetworkRow{Kind: &pluginv1.NetworkRow_Nic{Nic: n}})
	}
	for _, o := range r.Others {
		rows = append(rows, &pluginv1.NetworkRow{Kind: &pluginv1.NetworkRow_Row{Row: o}})
	}
	return rows
}

// NetworkKeys are names of rows by their kind: UUIDs of networks and NICs, and rows
// of further types.
type NetworkKeys struct {
	Networks, NICs []string
	Others         []*pluginv1.ResourceKey
}

// SplitKeys takes the names of a call apart. Errors: Invalid for one of a kind that
// this version does not know.
func SplitKeys(keys []*pluginv1.NetworkRowKey) (k NetworkKeys, err error) {
	for _, key := range keys {
		switch kind := key.GetKind().(type) {
		case *pluginv1.NetworkRowKey_NetworkUuid:
			k.Networks = append(k.Networks, kind.NetworkUuid)
		case *pluginv1.NetworkRowKey_NicUuid:
			k.NICs = append(k.NICs, kind.NicUuid)
		case *pluginv1.NetworkRowKey_Row:
			k.Others = append(k.Others, kind.Row)
		default:
			return NetworkKeys{}, unknownKind("name of a network row")
		}
	}
	return k, nil
}

// Join is the opposite of SplitKeys.
func (k NetworkKeys) Join() []*pluginv1.NetworkRowKey {
	keys := make([]*pluginv1.NetworkRowKey, 0, len(k.Networks)+len(k.NICs)+len(k.Others))
	for _, uuid := range k.Networks {
		keys = append(keys, &pluginv1.NetworkRowKey{Kind: &pluginv1.NetworkRowKey_NetworkUuid{NetworkUuid: uuid}})
	}
	for _, uuid := range k.NICs {
		keys = append(keys, &pluginv1.NetworkRowKey{Kind: &pluginv1.NetworkRowKey_NicUuid{NicUuid: uuid}})
	}
	for _, o := range k.Others {
		keys = append(keys, &pluginv1.NetworkRowKey{Kind: &pluginv1.NetworkRowKey_Row{Row: o}})
	}
	return keys
}

// HostTarget is a host as a target.
func HostTarget(h *pluginv1.Host) *pluginv1.NetworkTarget {
	return &pluginv1.NetworkTarget{Kind: &pluginv1.NetworkTarget_Host{Host: h}}
}

func unknownKind(object string) error {
	return errs.New(errs.Invalid, object, "it is of a kind that this version of the plugin does not know").WithAdvice("upgrade the plugin")
}
