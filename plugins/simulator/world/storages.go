package world

import (
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Capacity is what a storage has and what is left, in bytes.
type Capacity struct{ Total, Available int64 }

// ConnectStorage takes over a primary storage's sizes. Errors: Invalid.
func (l *Live) ConnectStorage(s Storage) (Capacity, error) {
	if err := checkSizes("primary storage", s.UUID, s.Total, s.Free); err != nil {
		return Capacity{}, err
	}
	var c Capacity
	err := l.do(func() ([]entry, error) {
		c = Capacity{s.Total, s.Free - l.x.bytes[s.UUID]}
		if old := l.w.Storages[s.UUID]; old != nil && *old == s {
			return nil, nil
		}
		return []entry{{Storage: &s}}, nil
	})
	return c, err
}

func checkSizes(what, uuid string, total, free int64) error {
	if !IsUUID(uuid) {
		return badUUID(what, uuid)
	}
	if total < 0 || free < 0 || free > total {
		return errs.New(errs.Invalid, what+" "+uuid, "%d bytes in all and %d available do not go together", total, free).
			WithAdvice("give sizes of at least 0 and not more available than there are in all")
	}
	return nil
}

// AttachHost makes a storage usable on a host. Errors: Unavailable for a host
// that is not connected, NotFound for an unknown storage.
func (l *Live) AttachHost(storage, host string) (Capacity, error) {
	var c Capacity
	err := l.do(func() ([]entry, error) {
		if err := l.connected(host); err != nil {
			return nil, err
		}
		var err error
		if c, err = l.capacity(storage); err != nil {
			return nil, err
		}
		if l.w.Links[pair(storage, host)] != nil {
			return nil, nil
		}
		return []entry{{Link: &Link{Storage: storage, Host: host}}}, nil
	})
	return c, err
}

// DetachHost undoes AttachHost. Errors: Refused while an active guest on the
// host has a disk on the storage.
func (l *Live) DetachHost(storage, host string) error {
	return l.do(func() ([]entry, error) {
		key := pair(storage, host)
		if n := l.x.diskUse[key]; n > 0 {
			return nil, errs.New(errs.Refused, "primary storage "+storage, "%d disks on it are in use on host %s", n, host).
				WithAdvice("stop the VMs first")
		}
		if l.w.Links[key] == nil {
			return nil, nil
		}
		return []entry{without(kindLink, key)}, nil
	})
}

// StorageCapacity tells a primary storage's capacity. Errors: NotFound.
func (l *Live) StorageCapacity(storage string) (Capacity, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.capacity(storage)
}

func (l *Live) capacity(storage string) (Capacity, error) {
	s := l.w.Storages[storage]
	if s == nil {
		return Capacity{}, errs.New(errs.NotFound, "primary storage "+storage, "never connected").WithAdvice("reconnect it")
	}
	return Capacity{s.Total, s.Free - l.x.bytes[storage]}, nil
}

// room checks that a storage can be used, on host when one is given, and has n
// bytes left.
func (l *Live) room(storage, host string, n int64) error {
	c, err := l.capacity(storage)
	if err != nil {
		return err
	}
	if host != "" && l.w.Links[pair(storage, host)] == nil {
		return errs.New(errs.Refused, "primary storage "+storage, "not attached to host %s", host)
	}
	if n > c.Available {
		return errs.New(errs.Exhausted, "primary storage "+storage, "%d bytes are needed, %d are available", n, c.Available)
	}
	return nil
}

// EnsureImage puts an image in a storage's cache, from the host if one is
// given. An image there with the same size stays. Errors: Exhausted, Refused.
func (l *Live) EnsureImage(host string, c CachedImage) (*CachedImage, error) {
	if !IsUUID(c.Image) {
		return nil, badUUID("image", c.Image)
	}
	have := &c
	err := l.do(func() ([]entry, error) {
		if err := l.room(c.Storage, host, 0); err != nil {
			return nil, err
		}
		if old := l.w.Cache[CachePath(c.Storage, c.Image)]; old != nil {
			have = old
			return nil, nil
		}
		return []entry{{Cache: &c}}, l.room(c.Storage, host, c.Actual)
	})
	return have, err
}

// DeleteCachedImage removes an image from a cache; gone is a success. Errors:
// Refused while volumes are based on it or a guest has it as CD-ROM.
func (l *Live) DeleteCachedImage(storage, image string) error {
	return l.do(func() ([]entry, error) {
		path := CachePath(storage, image)
		if n := l.x.clones[path] + len(l.x.holders[path]); n > 0 {
			return nil, errs.New(errs.Refused, "image "+image, "%d volumes or VMs use it on primary storage %s", n, storage)
		}
		if l.w.Cache[path] == nil {
			return nil, nil
		}
		return []entry{without(kindCache, path)}, nil
	})
}

// CreateVolume makes a volume; one with the same properties stays. Errors:
// Invalid for a bad size or an unknown backing image, Exists for a volume with
// other properties, Exhausted, Refused.
func (l *Live) CreateVolume(host string, v Volume) (*Volume, error) {
	if !IsUUID(v.UUID) {
		return nil, badUUID("volume", v.UUID)
	}
	err := l.do(func() ([]entry, error) {
		if old := l.w.Volumes[VolumePath(v.Storage, v.UUID)]; old != nil {
			if v.Size = max(v.Size, l.backingSize(&v)); *old == v {
				return nil, nil
			}
			return nil, errs.New(errs.Exists, "volume "+v.UUID, "a volume of %d bytes on %q is there", old.Size, old.Backing)
		}
		if v.Backing != "" && (l.w.Cache[v.Backing] == nil || storageOf(v.Backing) != v.Storage) {
			return nil, errs.New(errs.Invalid, "volume "+v.UUID, "no image is cached at %q on primary storage %s", v.Backing, v.Storage)
		}
		v.Size = max(v.Size, l.backingSize(&v))
		if v.Size <= 0 {
			return nil, errs.New(errs.Invalid, "volume "+v.UUID, "its size is %d bytes", v.Size)
		}
		return []entry{{Volume: &v}}, l.room(v.Storage, host, v.Size)
	})
	return &v, err
}

// backingSize is the smallest size that a volume on its image can have.
func (l *Live) backingSize(v *Volume) int64 {
	if c := l.w.Cache[v.Backing]; c != nil {
		return c.Virtual
	}
	return 0
}

// DeleteVolume removes a volume; gone is a success. Errors: Refused while an
// active guest uses it.
func (l *Live) DeleteVolume(storage, volume string) error {
	return l.do(func() ([]entry, error) {
		path := VolumePath(storage, volume)
		if holders := l.x.holders[path]; len(holders) > 0 {
			return nil, errs.New(errs.Refused, "volume "+volume, "in use by VM %s", strings.Join(holders, ", "))
		}
		if l.w.Volumes[path] == nil {
			return nil, nil
		}
		return []entry{without(kindVolume, path)}, nil
	})
}

// ResizeVolume grows a volume to size and returns its size. Errors: NotFound,
// Invalid for a smaller size, Exhausted.
func (l *Live) ResizeVolume(storage, host, volume string, size int64) (int64, error) {
	err := l.do(func() ([]entry, error) {
		old := l.w.Volumes[VolumePath(storage, volume)]
		if old == nil {
			return nil, errs.New(errs.NotFound, "volume "+volume, "not on primary storage %s", storage)
		}
		if size < old.Size {
			return nil, errs.New(errs.Invalid, "volume "+volume, "it has %d bytes and cannot shrink to %d", old.Size, size)
		}
		if size == old.Size {
			return nil, nil
		}
		grown := *old
		grown.Size = size
		return []entry{{Volume: &grown}}, l.room(storage, host, size-old.Size)
	})
	return size, err
}

// Volumes returns the UUIDs of a storage's volumes, ordered.
func (l *Live) Volumes(storage string) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.capacity(storage); err != nil {
		return nil, err
	}
	var uuids []string
	for _, v := range l.w.Volumes {
		if v.Storage == storage {
			uuids = append(uuids, v.UUID)
		}
	}
	slices.Sort(uuids)
	return uuids, nil
}

// ConnectStore takes over a backup storage's sizes. Errors: Invalid.
func (l *Live) ConnectStore(s Store) (Capacity, error) {
	if err := checkSizes("backup storage", s.UUID, s.Total, s.Free); err != nil {
		return Capacity{}, err
	}
	var c Capacity
	err := l.do(func() ([]entry, error) {
		c = Capacity{s.Total, s.Free - l.x.bytes[s.UUID]}
		if old := l.w.Stores[s.UUID]; old != nil && *old == s {
			return nil, nil
		}
		return []entry{{Store: &s}}, nil
	})
	return c, err
}

// StoreCapacity tells a backup storage's capacity. Errors: NotFound.
func (l *Live) StoreCapacity(store string) (Capacity, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.w.Stores[store]
	if s == nil {
		return Capacity{}, errs.New(errs.NotFound, "backup storage "+store, "never connected").WithAdvice("reconnect it")
	}
	return Capacity{s.Total, s.Free - l.x.bytes[store]}, nil
}

// AddImage puts an image on a backup storage; one with the same URL stays.
// Errors: Exists for an image with other content, Exhausted, NotFound for an
// unknown storage.
func (l *Live) AddImage(i Image) (*Image, error) {
	if !IsUUID(i.UUID) {
		return nil, badUUID("image", i.UUID)
	}
	err := l.do(func() ([]entry, error) {
		s := l.w.Stores[i.Store]
		if s == nil {
			return nil, errs.New(errs.NotFound, "backup storage "+i.Store, "never connected").WithAdvice("reconnect it")
		}
		if old := l.w.Images[ImagePath(i.Store, i.UUID)]; old != nil {
			if *old == i {
				return nil, nil
			}
			return nil, errs.New(errs.Exists, "image "+i.UUID, "another image, from %s, is there", old.URL)
		}
		if left := s.Free - l.x.bytes[i.Store]; i.Actual > left {
			return nil, errs.New(errs.Exhausted, "backup storage "+i.Store, "%d bytes are needed, %d are available", i.Actual, left)
		}
		return []entry{{Image: &i}}, nil
	})
	return &i, err
}

// Image returns an image of a backup storage. Errors: NotFound.
func (l *Live) Image(store, image string) (*Image, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := l.w.Images[ImagePath(store, image)]; i != nil {
		return i, nil
	}
	return nil, errs.New(errs.NotFound, "image "+image, "not on backup storage %s", store)
}

// DeleteImage removes an image; gone is a success.
func (l *Live) DeleteImage(store, image string) error {
	return l.do(func() ([]entry, error) {
		path := ImagePath(store, image)
		if l.w.Images[path] == nil {
			return nil, nil
		}
		return []entry{without(kindImage, path)}, nil
	})
}
