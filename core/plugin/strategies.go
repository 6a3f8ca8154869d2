package plugin

import (
	"slices"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Hypervisor is a hypervisor type with its calls. It stays usable while the
// plugin's process is replaced, as do the other types here.
type Hypervisor struct {
	Decl   *pluginv1.HypervisorDecl
	Plugin string
	pluginsdk.Hypervisor
}

// PrimaryStorage is a primary storage type with its calls.
type PrimaryStorage struct {
	Decl   *pluginv1.PrimaryStorageDecl
	Plugin string
	pluginsdk.PrimaryStorage
}

// BackupStorage is a backup storage type with its calls.
type BackupStorage struct {
	Decl   *pluginv1.BackupStorageDecl
	Plugin string
	pluginsdk.BackupStorage
}

// L2Network is an L2 network type on a hypervisor type with its calls.
type L2Network struct {
	Decl   *pluginv1.L2NetworkDecl
	Plugin string
	pluginsdk.L2Network
}

// NetworkService is a network service provider type with its calls.
type NetworkService struct {
	Decl   *pluginv1.NetworkServiceDecl
	Plugin string
	pluginsdk.NetworkService
}

// ResourceProvider is a resource type of a plugin's own with its calls.
type ResourceProvider struct {
	Decl   *pluginv1.ResourceTypeDecl
	Plugin string
	pluginsdk.ResourceProvider
}

// find returns the first declaration that fits, with its plugin.
func find[D any](m *Manager, decls func(*pluginv1.Manifest) []D, fits func(D) bool) (D, *supervised, bool) {
	for _, p := range m.all() {
		manifest := p.manifest.Load()
		if manifest == nil {
			continue
		}
		list := decls(manifest)
		if i := slices.IndexFunc(list, fits); i >= 0 {
			return list[i], p, true
		}
	}
	var none D
	return none, nil, false
}

func (m *Manager) noType(object string) error {
	return errs.New(errs.NotFound, object, "no enabled plugin offers it").
		WithAdvice("enabled plugins: %s", orNone(m.names()))
}

// Hypervisor returns the hypervisor of a type. Errors: NotFound.
func (m *Manager) Hypervisor(typ string) (*Hypervisor, error) {
	d, p, ok := find(m, (*pluginv1.Manifest).GetHypervisors, func(d *pluginv1.HypervisorDecl) bool { return d.Type == typ })
	if !ok {
		return nil, m.noType("hypervisor type " + typ)
	}
	return &Hypervisor{d, p.name, pluginsdk.NewHypervisorClient(handle{p})}, nil
}

// PrimaryStorage returns the primary storage of a type. Errors: NotFound.
func (m *Manager) PrimaryStorage(typ string) (*PrimaryStorage, error) {
	d, p, ok := find(m, (*pluginv1.Manifest).GetPrimaryStorages, func(d *pluginv1.PrimaryStorageDecl) bool { return d.Type == typ })
	if !ok {
		return nil, m.noType("primary storage type " + typ)
	}
	return &PrimaryStorage{d, p.name, pluginsdk.NewPrimaryStorageClient(handle{p})}, nil
}

// BackupStorage returns the backup storage of a type. Errors: NotFound.
func (m *Manager) BackupStorage(typ string) (*BackupStorage, error) {
	d, p, ok := find(m, (*pluginv1.Manifest).GetBackupStorages, func(d *pluginv1.BackupStorageDecl) bool { return d.Type == typ })
	if !ok {
		return nil, m.noType("backup storage type " + typ)
	}
	return &BackupStorage{d, p.name, pluginsdk.NewBackupStorageClient(handle{p})}, nil
}

// Switches returns the kinds of switches that plugins have for an L2 network
// type: the usual one of the first plugin first, none twice.
func Switches(manifests []*pluginv1.Manifest, l2Type string) []*pluginv1.Switch {
	var all []*pluginv1.Switch
	for _, manifest := range manifests {
		for _, d := range manifest.GetL2Networks() {
			for _, sw := range d.GetSwitches() {
				if d.GetType() == l2Type && !slices.ContainsFunc(all, func(k *pluginv1.Switch) bool { return k.GetName() == sw.GetName() }) {
					all = append(all, sw)
				}
			}
		}
	}
	return all
}

// L2Types returns what is declared of L2 network types, one declaration for each that
// has a message, for whatever hypervisor types it is.
func L2Types(manifests []*pluginv1.Manifest) []*pluginv1.L2NetworkDecl {
	var all []*pluginv1.L2NetworkDecl
	for _, manifest := range manifests {
		for _, d := range manifest.GetL2Networks() {
			same := func(k *pluginv1.L2NetworkDecl) bool { return k.GetType() == d.GetType() }
			if d.GetAdd() != nil && !slices.ContainsFunc(all, same) {
				all = append(all, d)
			}
		}
	}
	return all
}

// L2Ready is nil when a plugin that has the message of an L2 network type is switched
// on; else it says why not.
func (m *Manager) L2Ready(l2Type string) error {
	err := m.noType("L2 network type " + l2Type)
	for _, manifest := range m.Manifests() {
		for _, d := range manifest.GetL2Networks() {
			if d.GetType() != l2Type || d.GetAdd() == nil {
				continue
			}
			if err = m.Ready(manifest.GetName()); err == nil {
				return nil
			}
		}
	}
	return err
}

// L2Network returns who makes an L2 network type on hosts of a hypervisor type.
// A plugin that names no hypervisor types serves all. Errors: NotFound.
func (m *Manager) L2Network(l2Type, hypervisorType string) (*L2Network, error) {
	d, p, ok := find(m, (*pluginv1.Manifest).GetL2Networks, func(d *pluginv1.L2NetworkDecl) bool {
		return d.Type == l2Type && (len(d.HypervisorTypes) == 0 || slices.Contains(d.HypervisorTypes, hypervisorType))
	})
	if !ok {
		return nil, m.noType("L2 network type " + l2Type + " on " + hypervisorType)
	}
	return &L2Network{d, p.name, pluginsdk.NewL2NetworkClient(handle{p})}, nil
}

// NetworkService returns the network service provider of a type; one of the earlier
// contract is called by that (imperative). Errors: NotFound.
func (m *Manager) NetworkService(providerType string) (*NetworkService, error) {
	d, p, ok := find(m, (*pluginv1.Manifest).GetNetworkServices, func(d *pluginv1.NetworkServiceDecl) bool { return d.Type == providerType })
	if !ok {
		return nil, m.noType("network service provider type " + providerType)
	}
	if !d.GetDeclarative() {
		return &NetworkService{d, p.name, imperative{pluginv1.NewNetworkServiceServiceClient(handle{p})}}, nil
	}
	return &NetworkService{d, p.name, pluginsdk.NewNetworkServiceClient(handle{p})}, nil
}

// ResourceProvider returns what is behind a resource type of a plugin's own. Errors:
// NotFound.
func (m *Manager) ResourceProvider(typeName string) (*ResourceProvider, error) {
	d, p, ok := find(m, (*pluginv1.Manifest).GetResourceTypes, func(d *pluginv1.ResourceTypeDecl) bool { return d.Name == typeName })
	if !ok {
		return nil, m.noType("resource type " + typeName)
	}
	return &ResourceProvider{d, p.name, pluginsdk.NewResourceProviderClient(handle{p})}, nil
}

// InventorySync is what brings the rows of one type of endpoints.
type InventorySync struct {
	Decl   *pluginv1.InventoryDecl
	Plugin string
	pluginsdk.InventorySync
}

// InventorySync returns what brings the rows of a type of endpoints. Errors: NotFound.
func (m *Manager) InventorySync(endpointType string) (*InventorySync, error) {
	d, p, ok := find(m, (*pluginv1.Manifest).GetInventories, func(d *pluginv1.InventoryDecl) bool { return d.EndpointType == endpointType })
	if !ok {
		return nil, m.noType("inventory of " + endpointType)
	}
	return &InventorySync{d, p.name, pluginsdk.NewInventorySyncClient(handle{p})}, nil
}

// HybridCloud returns who knows the prices of a resource type of a plugin's own.
// Errors: NotFound.
func (m *Manager) HybridCloud(typeName string) (pluginsdk.HybridCloud, error) {
	_, p, ok := find(m, (*pluginv1.Manifest).GetResourceTypes, func(d *pluginv1.ResourceTypeDecl) bool { return d.Name == typeName && d.Priced })
	if !ok {
		return nil, m.noType("price of resource type " + typeName)
	}
	return pluginsdk.NewHybridCloudClient(handle{p}), nil
}

// Observer returns the observer of a plugin. Errors: NotFound when it is not enabled.
func (m *Manager) Observer(plugin string) (pluginsdk.Observer, error) {
	p, err := m.plugin(plugin)
	if err != nil {
		return nil, err
	}
	return pluginsdk.NewObserverClient(handle{p}), nil
}

// optional gives the optional service of a strategy's client when the
// declaration lists it. Errors: Unsupported.
func optional[I any](client any, object, plugin, name string, declared []string) (I, error) {
	service, ok := client.(I)
	if !ok || !slices.Contains(declared, name) {
		var none I
		return none, errs.New(errs.Unsupported, object, "plugin %s does not offer %q for it", plugin, name)
	}
	return service, nil
}

func (h *Hypervisor) object() string { return "hypervisor type " + h.Decl.GetType() }

// Pauser pauses and resumes guests. Errors: Unsupported.
func (h *Hypervisor) Pauser() (pluginsdk.VMPauser, error) {
	return optional[pluginsdk.VMPauser](h.Hypervisor, h.object(), h.Plugin, pluginsdk.OptionalPause, h.Decl.GetOptional())
}

// Migrator moves guests to other hosts while they run. Errors: Unsupported.
func (h *Hypervisor) Migrator() (pluginsdk.VMMigrator, error) {
	return optional[pluginsdk.VMMigrator](h.Hypervisor, h.object(), h.Plugin, pluginsdk.OptionalMigrate, h.Decl.GetOptional())
}

// Consoler tells where guests' screens are. Errors: Unsupported.
func (h *Hypervisor) Consoler() (pluginsdk.VMConsoler, error) {
	return optional[pluginsdk.VMConsoler](h.Hypervisor, h.object(), h.Plugin, pluginsdk.OptionalConsole, h.Decl.GetOptional())
}

// NICAttacher plugs network cards in and out of guests that run. Errors: Unsupported.
func (h *Hypervisor) NICAttacher() (pluginsdk.NICAttacher, error) {
	return optional[pluginsdk.NICAttacher](h.Hypervisor, h.object(), h.Plugin, pluginsdk.OptionalAttachNIC, h.Decl.GetOptional())
}

// Gateway carries calls to the agents on hosts. Errors: Unsupported.
func (h *Hypervisor) Gateway() (pluginsdk.HostGateway, error) {
	return optional[pluginsdk.HostGateway](h.Hypervisor, h.object(), h.Plugin, pluginsdk.OptionalHostGateway, h.Decl.GetOptional())
}

func (s *PrimaryStorage) object() string { return "primary storage type " + s.Decl.GetType() }

// Resizer grows volumes. Errors: Unsupported.
func (s *PrimaryStorage) Resizer() (pluginsdk.VolumeResizer, error) {
	return optional[pluginsdk.VolumeResizer](s.PrimaryStorage, s.object(), s.Plugin, pluginsdk.OptionalResize, s.Decl.GetOptional())
}

// Lister lists volumes. Errors: Unsupported.
func (s *PrimaryStorage) Lister() (pluginsdk.VolumeLister, error) {
	return optional[pluginsdk.VolumeLister](s.PrimaryStorage, s.object(), s.Plugin, pluginsdk.OptionalList, s.Decl.GetOptional())
}

// Uploader takes uploads of images. The manifest does not declare it, so a
// store without it answers errs.Unsupported at the call.
func (s *BackupStorage) Uploader() (pluginsdk.ImageUploader, error) {
	return optional[pluginsdk.ImageUploader](s.BackupStorage, "backup storage type "+s.Decl.GetType(), s.Plugin, "upload", []string{"upload"})
}

// Each calls f with each declaration of one kind, in the order of the manifests; an
// error names the plugin and the type. Each(all, (*pluginv1.Manifest).GetHypervisors, f).
func Each[D interface{ GetType() string }](manifests []*pluginv1.Manifest, of func(*pluginv1.Manifest) []D, f func(D) error) error {
	for _, manifest := range manifests {
		for _, d := range of(manifest) {
			if err := f(d); err != nil {
				return errs.Wrap(errs.Invalid, "plugin "+manifest.GetName(), err, "type %s", d.GetType())
			}
		}
	}
	return nil
}

// Types lists the types that the manifests declare of one kind, each once:
// Types(m, (*pluginv1.Manifest).GetHypervisors).
func Types[D interface{ GetType() string }](m *Manager, of func(*pluginv1.Manifest) []D) []string {
	types := []string{}
	for _, manifest := range m.Manifests() {
		for _, d := range of(manifest) {
			if !slices.Contains(types, d.GetType()) {
				types = append(types, d.GetType())
			}
		}
	}
	return types
}
