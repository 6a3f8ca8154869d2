package world

import "strings"

// State is a guest's state.
type State string

// The states of guests.
const (
	Running State = "running"
	Paused  State = "paused"
	Stopped State = "stopped"
)

// Host is a simulated machine. One that was disconnected stays in the world as
// long as guests are on it.
type Host struct {
	UUID      string `json:"uuid"`
	Name      string `json:"name,omitempty"`
	CPUs      int64  `json:"cpus"`
	Memory    int64  `json:"memory"`
	Connected bool   `json:"connected"`
	// Revision is that of what the network services have there.
	Revision string `json:"revision,omitempty"`
}

// Disk is a guest's disk: Path is a volume's path, for a CD-ROM a cached
// image's, or "" for an empty drive.
type Disk struct {
	UUID      string `json:"uuid"`
	Path      string `json:"path,omitempty"`
	CDROM     bool   `json:"cdrom,omitempty"`
	Shareable bool   `json:"shareable,omitempty"`
	Bus       string `json:"bus,omitempty"`
}

// NIC is a guest's network card.
type NIC struct {
	UUID   string `json:"uuid"`
	MAC    string `json:"mac"`
	Bridge string `json:"bridge"`
	Driver string `json:"driver,omitempty"`
}

// VM is a guest on a host. It holds CPUs, memory, disks and bridges while it
// is running or paused.
type VM struct {
	UUID   string `json:"uuid"`
	Name   string `json:"name,omitempty"`
	Host   string `json:"host"`
	State  State  `json:"state"`
	CPUs   int64  `json:"cpus"`
	Memory int64  `json:"memory"`
	Disks  []Disk `json:"disks,omitempty"`
	NICs   []NIC  `json:"nics,omitempty"`
	// Firmware is what it was started with: bios (also when empty) or uefi.
	Firmware string `json:"firmware,omitempty"`
}

// Active reports whether the guest holds resources of its host.
func (v *VM) Active() bool { return v != nil && (v.State == Running || v.State == Paused) }

// Storage is a primary storage. Free is what was available before anything of
// ours was on it.
type Storage struct {
	UUID  string `json:"uuid"`
	Total int64  `json:"total"`
	Free  int64  `json:"free"`
}

// Link says that a storage can be used on a host.
type Link struct {
	Storage string `json:"storage"`
	Host    string `json:"host"`
}

// Volume is a volume on a primary storage; it uses Size bytes of it. Backing
// is the path of a cached image, or "".
type Volume struct {
	UUID    string `json:"uuid"`
	Storage string `json:"storage"`
	Size    int64  `json:"size"`
	Format  string `json:"format"`
	Backing string `json:"backing,omitempty"`
}

// CachedImage is an image in a primary storage's cache; it uses Actual bytes.
type CachedImage struct {
	Image   string `json:"image"`
	Storage string `json:"storage"`
	Format  string `json:"format,omitempty"`
	Actual  int64  `json:"actual"`
	Virtual int64  `json:"virtual"`
}

// Store is a backup storage; Free as in Storage.
type Store struct {
	UUID  string `json:"uuid"`
	Total int64  `json:"total"`
	Free  int64  `json:"free"`
}

// Image is an image on a backup storage; it uses Actual bytes.
type Image struct {
	UUID    string `json:"uuid"`
	Store   string `json:"store"`
	URL     string `json:"url"`
	Format  string `json:"format,omitempty"`
	Actual  int64  `json:"actual"`
	Virtual int64  `json:"virtual"`
	MD5     string `json:"md5"`
}

// Bridge is a layer 2 network on a host.
type Bridge struct {
	Host    string `json:"host"`
	Network string `json:"network"`
	Name    string `json:"name"`
}

// Network is a layer 3 network with services on a host.
type Network struct {
	Host     string   `json:"host"`
	L3       string   `json:"l3"`
	Bridge   string   `json:"bridge,omitempty"`
	Services []string `json:"services,omitempty"`
	DNS      []string `json:"dns,omitempty"`
}

// Binding is what the network services keep for one NIC on a host.
type Binding struct {
	Host string `json:"host"`
	NIC  string `json:"nic"`
	VM   string `json:"vm"`
	L3   string `json:"l3"`
	MAC  string `json:"mac"`
	IP   string `json:"ip,omitempty"`
}

// Paths are of one length up to the UUID, so that a path tells its storage.
const (
	pathScheme = "simulator://"
	volumePart = "/volumes/"
	cachePart  = "/cache/"
)

// VolumePath is the install path of a volume.
func VolumePath(storage, volume string) string { return pathScheme + storage + volumePart + volume }

// CachePath is the install path of a cached image.
func CachePath(storage, image string) string { return pathScheme + storage + cachePart + image }

// ImagePath is the install path of an image on a backup storage.
func ImagePath(store, image string) string { return pathScheme + store + "/images/" + image }

// ParseImagePath takes an ImagePath apart; ok is false for another text.
func ParseImagePath(path string) (store, image string, ok bool) {
	rest, ok := strings.CutPrefix(path, pathScheme)
	if !ok {
		return "", "", false
	}
	store, image, ok = strings.Cut(rest, "/images/")
	return store, image, ok && IsUUID(store) && IsUUID(image)
}

// storageOf returns the storage of a volume's or a cached image's path, "" for
// another text.
func storageOf(path string) string {
	rest, ok := strings.CutPrefix(path, pathScheme)
	if !ok {
		return ""
	}
	storage, _, _ := strings.Cut(rest, "/")
	return storage
}

// IsUUID reports whether s is 32 lower-case hex digits.
func IsUUID(s string) bool {
	if len(s) != 32 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
