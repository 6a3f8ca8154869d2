package world

import "slices"

// usage is what the active guests of a host hold.
type usage struct{ cpus, memory int64 }

// index is what follows from a World and is too dear to count in each call.
type index struct {
	vmsOf    map[string]map[string]*VM // guests by host
	used     map[string]usage          // by host
	holders  map[string][]string       // active guests by path of a disk
	diskUse  map[string]int            // active guests' volumes by "storage/host"
	plugged  map[string]int            // active guests' NICs by "host/bridge"
	macs     map[string]string         // active guest by "bridge/MAC"
	bytes    map[string]int64          // bytes in use by storage or store
	clones   map[string]int            // volumes by path of their cached image
	bridges  map[string]int            // bridges by "host/name"
	served   map[string]int            // networks with services by bridge name
	bindings map[string]map[string]bool
	claims   map[string]claim // NIC by "L3/address", for IPs and MACs
}

// claim is the NIC that has an address, and on how many hosts: a guest that is
// migrated is on two.
type claim struct {
	nic   string
	hosts int
}

func newIndex() index {
	return index{
		vmsOf: map[string]map[string]*VM{}, used: map[string]usage{}, holders: map[string][]string{},
		diskUse: map[string]int{}, plugged: map[string]int{}, macs: map[string]string{},
		bytes: map[string]int64{}, clones: map[string]int{}, bridges: map[string]int{}, served: map[string]int{},
		bindings: map[string]map[string]bool{}, claims: map[string]claim{},
	}
}

// change takes the old object of e off the index and puts the new one on; it
// is called before w changes.
func (x *index) change(w *World, e entry) {
	switch {
	case e.VM != nil:
		x.vm(w.VMs[e.VM.UUID], -1)
		x.vm(e.VM, 1)
	case e.Volume != nil:
		x.volume(w.Volumes[VolumePath(e.Volume.Storage, e.Volume.UUID)], -1)
		x.volume(e.Volume, 1)
	case e.Cache != nil:
		x.cache(w.Cache[CachePath(e.Cache.Storage, e.Cache.Image)], -1)
		x.cache(e.Cache, 1)
	case e.Image != nil:
		x.image(w.Images[ImagePath(e.Image.Store, e.Image.UUID)], -1)
		x.image(e.Image, 1)
	case e.Bridge != nil:
		x.bridge(w.Bridges[pair(e.Bridge.Host, e.Bridge.Network)], -1)
		x.bridge(e.Bridge, 1)
	case e.Network != nil:
		x.network(w.Networks[pair(e.Network.Host, e.Network.L3)], -1)
		x.network(e.Network, 1)
	case e.Binding != nil:
		x.binding(w.Bindings[pair(e.Binding.Host, e.Binding.NIC)], -1)
		x.binding(e.Binding, 1)
	case e.Gone != nil:
		key := e.Gone.Key
		switch e.Gone.Kind {
		case kindVM:
			x.vm(w.VMs[key], -1)
		case kindVolume:
			x.volume(w.Volumes[key], -1)
		case kindCache:
			x.cache(w.Cache[key], -1)
		case kindImage:
			x.image(w.Images[key], -1)
		case kindBridge:
			x.bridge(w.Bridges[key], -1)
		case kindNetwork:
			x.network(w.Networks[key], -1)
		case kindBinding:
			x.binding(w.Bindings[key], -1)
		}
	}
}

// add changes a counter and forgets it at zero.
func add[N int | int64](m map[string]N, key string, n N) {
	if m[key] += n; m[key] == 0 {
		delete(m, key)
	}
}

func (x *index) vm(v *VM, sign int) {
	if v == nil {
		return
	}
	if sign > 0 {
		if x.vmsOf[v.Host] == nil {
			x.vmsOf[v.Host] = map[string]*VM{}
		}
		x.vmsOf[v.Host][v.UUID] = v
	} else if delete(x.vmsOf[v.Host], v.UUID); len(x.vmsOf[v.Host]) == 0 {
		delete(x.vmsOf, v.Host)
	}
	if !v.Active() {
		return
	}
	u := x.used[v.Host]
	u.cpus += int64(sign) * v.CPUs
	u.memory += int64(sign) * v.Memory
	if x.used[v.Host] = u; u == (usage{}) {
		delete(x.used, v.Host)
	}
	for i := range v.Disks {
		x.hold(v, &v.Disks[i], sign)
	}
	for i := range v.NICs {
		n := &v.NICs[i]
		add(x.plugged, pair(v.Host, n.Bridge), sign)
		if sign > 0 {
			x.macs[pair(n.Bridge, n.MAC)] = v.UUID
		} else {
			delete(x.macs, pair(n.Bridge, n.MAC))
		}
	}
}

func (x *index) hold(v *VM, d *Disk, sign int) {
	if d.Path == "" {
		return
	}
	add(x.diskUse, pair(storageOf(d.Path), v.Host), sign)
	if sign > 0 {
		x.holders[d.Path] = append(x.holders[d.Path], v.UUID)
		return
	}
	left := x.holders[d.Path]
	if i := slices.Index(left, v.UUID); i >= 0 {
		left = slices.Delete(left, i, i+1)
	}
	if x.holders[d.Path] = left; len(left) == 0 {
		delete(x.holders, d.Path)
	}
}

func (x *index) volume(v *Volume, sign int) {
	if v == nil {
		return
	}
	add(x.bytes, v.Storage, int64(sign)*v.Size)
	if v.Backing != "" {
		add(x.clones, v.Backing, sign)
	}
}

func (x *index) cache(c *CachedImage, sign int) {
	if c != nil {
		add(x.bytes, c.Storage, int64(sign)*c.Actual)
	}
}

func (x *index) image(i *Image, sign int) {
	if i != nil {
		add(x.bytes, i.Store, int64(sign)*i.Actual)
	}
}

func (x *index) bridge(b *Bridge, sign int) {
	if b != nil {
		add(x.bridges, pair(b.Host, b.Name), sign)
	}
}

func (x *index) network(n *Network, sign int) {
	if n != nil && n.Bridge != "" && len(n.Services) > 0 {
		add(x.served, n.Bridge, sign)
	}
}

func (x *index) binding(b *Binding, sign int) {
	if b == nil {
		return
	}
	if sign > 0 {
		if x.bindings[b.Host] == nil {
			x.bindings[b.Host] = map[string]bool{}
		}
		x.bindings[b.Host][b.NIC] = true
	} else if delete(x.bindings[b.Host], b.NIC); len(x.bindings[b.Host]) == 0 {
		delete(x.bindings, b.Host)
	}
	for _, address := range []string{b.IP, b.MAC} {
		if address == "" {
			continue
		}
		key := pair(b.L3, address)
		c := x.claims[key]
		c.nic, c.hosts = b.NIC, c.hosts+sign
		if x.claims[key] = c; c.hosts == 0 {
			delete(x.claims, key)
		}
	}
}
