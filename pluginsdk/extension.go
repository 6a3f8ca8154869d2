package pluginsdk

import (
	"slices"

	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Strategy is a kind of work that plugins do for the core's own resources.
type Strategy string

// The strategies whose plugins extend a type of the core.
const (
	HypervisorStrategy     Strategy = "hypervisor"
	PrimaryStorageStrategy Strategy = "primary storage"
	BackupStorageStrategy  Strategy = "backup storage"
	L2NetworkStrategy      Strategy = "L2 network"
)

// Extension is what a declaration adds to the resources of its strategy: the
// message that makes one of a type, and fields.
type Extension struct {
	Strategy Strategy
	// Type is the value by which resources of it are told from others, such as "KVM".
	Type string
	// Add is nil, and Fields are empty, when the declaration adds nothing.
	Add    *pluginv1.AddMessage
	Fields []*pluginv1.Field
}

// Extensions returns what a manifest adds to the core's types, with the
// declarations that add nothing.
func Extensions(m *pluginv1.Manifest) []Extension {
	return slices.Concat(extensions(HypervisorStrategy, m.GetHypervisors()), extensions(PrimaryStorageStrategy, m.GetPrimaryStorages()),
		extensions(BackupStorageStrategy, m.GetBackupStorages()), extensions(L2NetworkStrategy, m.GetL2Networks()))
}

func extensions[D interface {
	GetType() string
	GetAdd() *pluginv1.AddMessage
	GetFields() []*pluginv1.Field
}](s Strategy, declared []D) (all []Extension) {
	for _, d := range declared {
		all = append(all, Extension{s, d.GetType(), d.GetAdd(), d.GetFields()})
	}
	return all
}
