package contract

import (
	"context"

	"github.com/kumo-cloud/kumo/core/store"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// HostCandidate is a host that can take a guest.
type HostCandidate struct {
	UUID, ClusterUUID, ZoneUUID, HypervisorType, Architecture string
	CPUMHz                                                    int64
}

// Cluster is what may be attached to a cluster asks of it.
type Cluster struct{ UUID, Name, ZoneUUID, HypervisorType string }

// HostCheck is what a service found of something on a host.
type HostCheck struct {
	// Name is what people call it, such as "primary storage"; ResourceUUID is the
	// resource that it is about, "" where it is about the host alone. Together they
	// name one check of a host.
	Name, ResourceUUID string
	// Reason says why it is not as it should be; "" when it is.
	Reason string
}

// Hosts is the service of hosts and their clusters.
type Hosts interface {
	// Cluster returns a cluster. Errors: NotFound.
	Cluster(ctx context.Context, q store.Querier, uuid string) (*Cluster, error)
	// Candidates returns a few hosts that can take a guest now, the best first
	// by the request's strategy. Errors: Exhausted, which says of each host why
	// it cannot (errs.Considered).
	Candidates(ctx context.Context, q store.Querier, r HostRequest) ([]HostCandidate, error)
	// Reserve takes the room of one guest. Errors: Exhausted when the host has
	// it no longer.
	Reserve(ctx context.Context, tx *store.Tx, hostUUID string, r Room) error
	// Return gives it back; a host that is gone is a success. The caller makes
	// sure to return only once what it reserved.
	Return(ctx context.Context, tx *store.Tx, hostUUID string, r Room) error
	// PluginHost returns the host with all that its plugin needs.
	PluginHost(ctx context.Context, q store.Querier, hostUUID string) (*pluginv1.Host, error)
	// Again returns the UUID of a host that may have been deleted and added again: its
	// own while it is there, else that of the host with this management address.
	// Errors: NotFound.
	Again(ctx context.Context, q store.Querier, hostUUID, managementIP string) (string, error)
	// OnConnected calls fn for a host in its queue and returns its error. A host
	// that is not connected, or gone, is passed over: it is told what it missed
	// when it connects. What runs in the queue of the host must not call it.
	OnConnected(ctx context.Context, hostUUID string, fn func(*pluginv1.Host) error) error
	// EachConnected does that for the hosts of a cluster, up to 100 of them at once,
	// so that one that hangs delays no other. When fn returns an error, it is called
	// for no more hosts, and that error is returned when all calls have ended. A host
	// whose row cannot be read is passed over, too.
	EachConnected(ctx context.Context, clusterUUID string, fn func(*pluginv1.Host) error) error
	// Checked shows what was found on a host just now, beside what else is known of
	// it: it costs the host nothing. It writes only what differs from before, so it
	// may be called as often as something is looked at. A host that is gone is passed
	// over.
	Checked(ctx context.Context, hostUUID string, found ...HostCheck)
	// Unchecked forgets a check that the host has no longer, in tx; none is a success.
	Unchecked(ctx context.Context, tx *store.Tx, hostUUID, name, resourceUUID string) error
}

// Image is what the making of a volume needs to know of an image.
type Image struct {
	UUID, Name, MediaType, Format, Platform, Architecture, GuestOSType string
	Size                                                               int64 // bytes that the guest sees
	ActualSize                                                         int64 // bytes in the store
	UsualDrivers                                                       bool  // it has drivers for hypervisors' usual devices
	// Stores are the backup storages with a ready copy, by zone rules.
	Stores []ImageStore
}

// ImageStore is one ready copy of an image.
type ImageStore struct{ UUID, Type string }

// Images is the service of images.
type Images interface {
	// Usable returns an image that a guest in the zone can be made from; an
	// empty zone means any. Errors: NotFound, Refused with the reason.
	Usable(ctx context.Context, q store.Querier, imageUUID, zoneUUID string) (*Image, error)
	// Existing returns those of the images that there are, deleted ones that are
	// not expunged yet among them.
	Existing(ctx context.Context, q store.Querier, imageUUIDs []string) ([]string, error)
	// Source gives a host a short-lived source of an image's bytes.
	Source(ctx context.Context, imageUUID, storeUUID, readerIP string) (*pluginv1.ImageSource, error)
}

// Place is where a guest's volumes can be: one storage for one host.
type Place struct {
	Host        HostCandidate
	PrimaryUUID string
	// HostLocal says that the storage keeps what it has on the host.
	HostLocal   bool
	PrimaryType string
	// ImageStoreUUID is the backup storage from which the request's image comes
	// there.
	ImageStoreUUID string
}

// PlaceRequest asks for a storage that can serve one of the hosts.
type PlaceRequest struct {
	Hosts       []HostCandidate
	Size        int64 // bytes, of all volumes together
	Image       *Image
	PrimaryUUID string
}

// VolumePlan is a volume that a flow makes; it is kept in the journal.
type VolumePlan struct {
	UUID, Name, Type, AccountUUID, VMUUID string
	DiskOfferingUUID, ImageUUID, Format   string
	Size                                  int64
	DeviceID                              int64
	Tags                                  []string // system tags for its row

	// Filled when its place is taken (Storage.Plan). HostUUID is "" on a storage
	// that does not keep its volumes on hosts.
	PrimaryUUID, HostUUID, ImageStoreUUID string
	Bus                                   string // "" is the usual one of its guest's devices

	// Filled when the volume has been made.
	InstallPath string
	ActualSize  int64
}

// MaxVolumeSize bounds a volume, in bytes (1 PiB), and MaxVolumes those of one
// plan, so that no sum of sizes overflows.
const (
	MaxVolumeSize = 1 << 50
	MaxVolumes    = 1 << 10
)

// Storage is the service of primary storages and volumes.
type Storage interface {
	// Places returns where the volumes can be, best first. Errors: Exhausted
	// with the reason for each storage.
	Places(ctx context.Context, q store.Querier, r PlaceRequest) ([]Place, error)
	// Plan inserts the volumes' rows (Creating) at a place, which their plans name
	// from then on, and reserves their sizes there; the caller guards the
	// storage, afterwards. Errors: Exhausted, which has changed nothing.
	Plan(ctx context.Context, tx *store.Tx, at Place, volumes []*VolumePlan) error
	// Unplan removes rows and reservations; what is gone is a success.
	Unplan(ctx context.Context, tx *store.Tx, volumes []*VolumePlan) error
	// Make puts the image in the cache and makes the volume; repeatable.
	Make(ctx context.Context, host *pluginv1.Host, v *VolumePlan) error
	// Medium puts an image in the cache of a place, for a CD-ROM drive of a guest
	// there to read, and returns its path; repeatable. It stays while a drive has
	// it (ImageUser).
	Medium(ctx context.Context, host *pluginv1.Host, at Place, imageUUID string) (path string, err error)
	// Unmake deletes the volume's bits; what never was is a success.
	Unmake(ctx context.Context, host *pluginv1.Host, v *VolumePlan) error
	// Ready marks made volumes as usable.
	Ready(ctx context.Context, tx *store.Tx, volumes []*VolumePlan) error
	// Reserve takes the sizes of volumes that are copied to where their plans are; the
	// rows stay as they are. Errors: Exhausted, which has changed nothing.
	Reserve(ctx context.Context, tx *store.Tx, volumes []*VolumePlan) error
	// Return gives back what Reserve took. The caller makes sure that it did.
	Return(ctx context.Context, tx *store.Tx, volumes []*VolumePlan) error
	// Moved has the rows of volumes say that they are where their plans are, and gives
	// back what they took before. A volume that is there already is passed over.
	Moved(ctx context.Context, tx *store.Tx, volumes []*VolumePlan) error
	// LookAt has the storages of volumes looked at now, as what became of their guest
	// speaks of them, and shows what is found. It returns at once.
	LookAt(ctx context.Context, volumes []*VolumePlan)
	// OfVM returns the volumes of a guest, by device ID.
	OfVM(ctx context.Context, q store.Querier, vmUUID string) ([]*VolumePlan, error)
	// Detach frees a data volume from a guest and keeps it.
	Detach(ctx context.Context, tx *store.Tx, volumeUUID string) error
	// SetStatus sets the status of a volume (Ready, Deleted).
	SetStatus(ctx context.Context, tx *store.Tx, volumeUUID, status string) error
}

// ImageUser is a service whose resources use images other than by volumes.
type ImageUser interface {
	// UsesImage reports whether one of them uses the image.
	UsesImage(ctx context.Context, q store.Querier, imageUUID string) (bool, error)
}

// NICPlan is a NIC that a flow makes; it is kept in the journal.
type NICPlan struct {
	UUID, L3UUID, MAC, IP, Netmask, Gateway, InternalName, Bridge string
	DeviceID                                                      int64
	MTU                                                           int32
	Driver                                                        string
}

// NICRequest asks for NICs of a guest.
type NICRequest struct {
	VMUUID, AccountUUID, HypervisorType string
	Driver                              string  // model of the NICs
	Devices                             []int64 // numbers that the guest's other NICs have
	NICs                                []NICWish
}

// NICWish is one NIC: its network, and optionally its address and MAC.
type NICWish struct{ L3UUID, IP, MAC string }

// Guest is what network services tell a guest about itself.
type Guest struct {
	VMUUID, Name, DefaultL3UUID string
	Hostnames                   map[string]string // by L3 UUID
	UserData                    []byte
	SSHKeys                     []string
}

// GuestNICs is a guest with its NICs.
type GuestNICs struct {
	Guest Guest
	NICs  []*NICPlan
}

// Networks is the service of networks.
type Networks interface {
	// Check says whether a guest may be plugged in these networks, and returns
	// their zone.
	Check(ctx context.Context, q store.Querier, l3UUIDs []string) (zoneUUID string, err error)
	// Domain returns the DNS domain of a network, "" for none.
	Domain(ctx context.Context, q store.Querier, l3UUID string) (string, error)
	// Clusters returns the clusters in which all the networks can be used.
	Clusters(ctx context.Context, q store.Querier, l3UUIDs []string) ([]string, error)
	// Allocate takes MACs and addresses and inserts the NICs' rows.
	Allocate(ctx context.Context, tx *store.Tx, r NICRequest) ([]*NICPlan, error)
	// Free returns all that Allocate took for a guest; nothing is a success.
	Free(ctx context.Context, tx *store.Tx, vmUUID string) error
	// OfVM returns the NICs of a guest, by device ID, but for those that leave it.
	OfVM(ctx context.Context, q store.Querier, vmUUID string) ([]*NICPlan, error)
	PluggedNetworks
	// Prepare makes the networks' services work for a guest on a host, and
	// fills in each NIC's bridge and MTU.
	Prepare(ctx context.Context, host *pluginv1.Host, g Guest, nics []*NICPlan) error
	// Sync replaces what the providers have on a host by these guests.
	Sync(ctx context.Context, host *pluginv1.Host, guests []GuestNICs) error
	// Release undoes Prepare; what never was is a success.
	Release(ctx context.Context, host *pluginv1.Host, vmUUID string, nics []*NICPlan) error
}
