package world

import "fmt"

// World is the state of everything simulated. The values behind the pointers
// never change: a change replaces them.
type World struct {
	Hosts map[string]*Host // by UUID
	VMs   map[string]*VM   // by UUID

	Storages map[string]*Storage     // by UUID
	Links    map[string]*Link        // by "storage/host"
	Volumes  map[string]*Volume      // by VolumePath
	Cache    map[string]*CachedImage // by CachePath
	Stores   map[string]*Store       // by UUID
	Images   map[string]*Image       // by ImagePath

	Bridges  map[string]*Bridge  // by "host/L2 network"
	Networks map[string]*Network // by "host/L3 network"
	Bindings map[string]*Binding // by "host/NIC"
}

func newWorld() World {
	return World{
		Hosts: map[string]*Host{}, VMs: map[string]*VM{},
		Storages: map[string]*Storage{}, Links: map[string]*Link{},
		Volumes: map[string]*Volume{}, Cache: map[string]*CachedImage{},
		Stores: map[string]*Store{}, Images: map[string]*Image{},
		Bridges: map[string]*Bridge{}, Networks: map[string]*Network{}, Bindings: map[string]*Binding{},
	}
}

// entry is one change: exactly one member is set. Entries say what is, not
// what to add, so that reading one twice does no harm.
type entry struct {
	Host    *Host        `json:"host,omitempty"`
	VM      *VM          `json:"vm,omitempty"`
	Storage *Storage     `json:"storage,omitempty"`
	Link    *Link        `json:"link,omitempty"`
	Volume  *Volume      `json:"volume,omitempty"`
	Cache   *CachedImage `json:"cache,omitempty"`
	Store   *Store       `json:"store,omitempty"`
	Image   *Image       `json:"image,omitempty"`
	Bridge  *Bridge      `json:"bridge,omitempty"`
	Network *Network     `json:"network,omitempty"`
	Binding *Binding     `json:"binding,omitempty"`
	Gone    *gone        `json:"gone,omitempty"`
}

// gone says that the object of a kind with a key is no more.
type gone struct {
	Kind kind   `json:"kind"`
	Key  string `json:"key"`
}

type kind string

const (
	kindHost    kind = "host"
	kindVM      kind = "vm"
	kindLink    kind = "link"
	kindVolume  kind = "volume"
	kindCache   kind = "cache"
	kindImage   kind = "image"
	kindBridge  kind = "bridge"
	kindNetwork kind = "network"
	kindBinding kind = "binding"
)

func without(k kind, key string) entry { return entry{Gone: &gone{k, key}} }

// pair is the key of an object that two others have together.
func pair(a, b string) string { return a + "/" + b }

// apply makes one change. Errors: an entry that says nothing known, which only
// a damaged or newer log has.
func (w *World) apply(e entry) error {
	switch {
	case e.Host != nil:
		w.Hosts[e.Host.UUID] = e.Host
	case e.VM != nil:
		w.VMs[e.VM.UUID] = e.VM
	case e.Storage != nil:
		w.Storages[e.Storage.UUID] = e.Storage
	case e.Link != nil:
		w.Links[pair(e.Link.Storage, e.Link.Host)] = e.Link
	case e.Volume != nil:
		w.Volumes[VolumePath(e.Volume.Storage, e.Volume.UUID)] = e.Volume
	case e.Cache != nil:
		w.Cache[CachePath(e.Cache.Storage, e.Cache.Image)] = e.Cache
	case e.Store != nil:
		w.Stores[e.Store.UUID] = e.Store
	case e.Image != nil:
		w.Images[ImagePath(e.Image.Store, e.Image.UUID)] = e.Image
	case e.Bridge != nil:
		w.Bridges[pair(e.Bridge.Host, e.Bridge.Network)] = e.Bridge
	case e.Network != nil:
		w.Networks[pair(e.Network.Host, e.Network.L3)] = e.Network
	case e.Binding != nil:
		w.Bindings[pair(e.Binding.Host, e.Binding.NIC)] = e.Binding
	case e.Gone != nil:
		return w.remove(*e.Gone)
	default:
		return fmt.Errorf("an entry of the log says nothing")
	}
	return nil
}

func (w *World) remove(g gone) error {
	switch g.Kind {
	case kindHost:
		delete(w.Hosts, g.Key)
	case kindVM:
		delete(w.VMs, g.Key)
	case kindLink:
		delete(w.Links, g.Key)
	case kindVolume:
		delete(w.Volumes, g.Key)
	case kindCache:
		delete(w.Cache, g.Key)
	case kindImage:
		delete(w.Images, g.Key)
	case kindBridge:
		delete(w.Bridges, g.Key)
	case kindNetwork:
		delete(w.Networks, g.Key)
	case kindBinding:
		delete(w.Bindings, g.Key)
	default:
		return fmt.Errorf("the log removes an object of unknown kind %q", g.Kind)
	}
	return nil
}

// entries returns what makes this world out of an empty one.
func (w *World) entries() []entry {
	var out []entry
	for _, v := range w.Hosts {
		out = append(out, entry{Host: v})
	}
	for _, v := range w.Storages {
		out = append(out, entry{Storage: v})
	}
	for _, v := range w.Links {
		out = append(out, entry{Link: v})
	}
	for _, v := range w.Cache {
		out = append(out, entry{Cache: v})
	}
	for _, v := range w.Volumes {
		out = append(out, entry{Volume: v})
	}
	for _, v := range w.Stores {
		out = append(out, entry{Store: v})
	}
	for _, v := range w.Images {
		out = append(out, entry{Image: v})
	}
	for _, v := range w.Bridges {
		out = append(out, entry{Bridge: v})
	}
	for _, v := range w.Networks {
		out = append(out, entry{Network: v})
	}
	for _, v := range w.Bindings {
		out = append(out, entry{Binding: v})
	}
	for _, v := range w.VMs {
		out = append(out, entry{VM: v})
	}
	return out
}
