package storage_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const cachedBytes = 1 << 20 // what the fake says of every image

// basedOn is a plan of a root volume on the site's image.
func basedOn(c *cloud) *contract.VolumePlan {
	v := plan(1, giB)[0]
	v.ImageUUID, v.ImageStoreUUID, v.PrimaryUUID, v.HostUUID = c.s.Image, c.s.Backup, c.s.Primary, c.s.Host
	return v
}

func (c *cloud) make(ctx context.Context, v *contract.VolumePlan) error {
	return c.Storage.Make(ctx, &pluginv1.Host{Uuid: v.HostUUID, ManagementIp: "10.255.0.1"}, v)
}

func (c *cloud) caches() []kerneltest.Row { return c.List("ImageCache") }

// However many guests of one image come at once, it is fetched once, and counted
// once; each host of a storage without sharing fetches it for itself.
func TestImageIsFetchedOnce(t *testing.T) {
	c, second := localSite(t)
	free := c.primary().Int("availableCapacity")
	began, goOn := make(chan bool, 64), make(chan bool)
	c.Calls.On("EnsureImage", func(any) error { began <- true; <-goOn; return nil })
	var wg sync.WaitGroup
	for i := range 20 {
		v := basedOn(c)
		if i%2 == 1 {
			v.HostUUID = second
		}
		wg.Go(func() {
			if err := c.make(t.Context(), v); err != nil {
				t.Error(err)
			}
		})
	}
	<-began
	<-began
	close(goOn)
	wg.Wait()
	c.Want("fetches", len(c.Calls.Of("EnsureImage")), 2)
	c.Want("cached", len(c.caches()), 2)
	c.Want("left", c.primary().Int("availableCapacity"), free-2*cachedBytes)
	c.Want("volumes", c.World.Volumes(), 20)
	for _, r := range c.Calls.Of("CreateVolume") {
		c.Want("base", r.(*pluginv1.CreateVolumeRequest).GetBackingPath(), "/cache/"+c.s.Image)
	}
}

// Who waits for a fetch that fails, fails with it; when its caller is cancelled,
// the next one fetches.
func TestFetchThatEnds(t *testing.T) {
	for name, cancelled := range map[string]bool{"fails": false, "is cancelled": true} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			first, cancel := context.WithCancel(t.Context())
			defer cancel()
			began, goOn := make(chan bool, 2), make(chan bool)
			c.Calls.On("EnsureImage", func(any) error {
				began <- true
				select {
				case <-goOn:
					if cancelled {
						return nil
					}
					return gone("the store")
				case <-first.Done():
					return first.Err()
				}
			})
			results := make(chan error, 2)
			go func() { results <- c.make(first, basedOn(c)) }()
			<-began
			waits := basedOn(c)
			go func() { results <- c.make(t.Context(), waits) }()
			if cancelled {
				cancel()
				if err := <-results; !errors.Is(err, context.Canceled) && errs.ClassOf(err) != errs.Cancelled {
					t.Errorf("the first ended with %v", err)
				}
				c.Calls.On("EnsureImage", nil)
				c.Ok(<-results)
				c.Want("cached", len(c.caches()), 1)
				return
			}
			close(goOn)
			for range 2 {
				if err := <-results; errs.ClassOf(err) != errs.Unavailable {
					t.Errorf("it ended with %v", err)
				}
			}
			c.Want("cached", len(c.caches()), 0)
			c.Calls.On("EnsureImage", nil)
			c.Ok(c.make(t.Context(), basedOn(c)))
		})
	}
}

// A cached image goes when it was expunged and nothing is based on it, and not
// before; what it took is free again.
func TestCacheIsCleaned(t *testing.T) {
	for name, local := range map[string]bool{"shared": false, "local": true} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			if local {
				c, _ = localSite(t)
			}
			free := c.primary().Int("availableCapacity")
			vm := c.VM(c.s, P{"hostUuid": c.s.Host}).Text("uuid")
			clean := func() { c.t.Helper(); c.Ok(c.Storage.CleanCaches(t.Context())) }
			want := func(when string, n int) { c.t.Helper(); c.Want("cached "+when, len(c.caches()), n) }
			clean()
			want("while its image is there", 1)
			c.Do("APIDeleteImageMsg", P{"uuid": c.s.Image})
			clean()
			want("while its image can come back", 1)
			c.Do("APIExpungeImageMsg", P{"imageUuid": c.s.Image})
			clean()
			want("while a guest is based on it", 1)
			c.Do("APIDestroyVmInstanceMsg", P{"uuid": vm})
			c.Do("APIExpungeVmInstanceMsg", P{"uuid": vm})
			c.Calls.Fail("DeleteCachedImage", gone("it"))
			if err := c.Storage.CleanCaches(t.Context()); errs.ClassOf(err) != errs.Unavailable {
				t.Errorf("it was cleaned: %v", err)
			}
			want("whose bits cannot be deleted", 1)
			c.Want("state", c.caches()[0].Text("state"), "deleting")
			c.Want("left", c.primary().Int("availableCapacity"), free-cachedBytes)
			c.Calls.Fail("DeleteCachedImage", nil)
			for range 2 {
				clean()
				want("when nothing uses it", 0)
				c.Want("left", c.primary().Int("availableCapacity"), free)
			}
			if local {
				c.Want("left on the host", c.link(c.s.Host).AvailableCapacity, int64(kerneltest.DefaultSpace))
			}
		})
	}
}

// With force, an image that is there goes from a cache that nothing uses, on the
// storage that is named; the next guest fetches it again.
func TestCacheIsCleanedByForce(t *testing.T) {
	c := newCloud(t)
	other := c.Site()
	c.VM(other, nil)
	c.Ok(c.make(t.Context(), basedOn(c)))
	p := P{"uuid": c.s.Primary}
	const message = "APICleanUpImageCacheOnPrimaryStorageMsg"
	c.Do(message, p)
	c.Want("cached", len(c.caches()), 2)
	p["force"] = true
	c.As(c.Account()).Refused(errs.Denied, message, p)
	c.Do(message, p)
	c.Want("cached", len(c.caches()), 1)
	c.Want("storage that has it", c.caches()[0].Text("primaryStorageUuid"), other.Primary)
	c.Ok(c.make(t.Context(), basedOn(c)))
	c.Want("fetches", len(c.Calls.Of("EnsureImage")), 3)
	// A marked one, whose deletion was cut off, is filled again and counted once.
	c.Ok(c.Tx(func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE `ImageCache` SET `state` = 'deleting' WHERE `primaryStorageUuid` = ?", c.s.Primary)
		return err
	}))
	free := c.primary().Int("availableCapacity")
	c.Ok(c.make(t.Context(), basedOn(c)))
	c.Want("left", c.primary().Int("availableCapacity"), free)
	c.Want("cached", len(c.caches()), 2)
}

// What a guest has in its drive is used, although no volume is based on it.
func TestCachedISOIsUsed(t *testing.T) {
	c := newCloud(t)
	iso := c.Create("APIAddImageMsg", P{"name": "iso", "url": "http://127.0.0.1/iso", "format": "iso", "backupStorageUuids": []string{c.s.Backup}})
	vm := c.Do("APICreateVmInstanceMsg", c.s.Guest(P{"imageUuid": iso, "rootDiskSize": giB})).Text("uuid")
	p := P{"uuid": c.s.Primary, "force": true}
	c.Do("APICleanUpImageCacheOnPrimaryStorageMsg", p)
	c.Want("cached while it is in a drive", len(c.caches()), 1)
	c.Do("APIDestroyVmInstanceMsg", P{"uuid": vm})
	c.Do("APIExpungeVmInstanceMsg", P{"uuid": vm})
	c.Do("APICleanUpImageCacheOnPrimaryStorageMsg", p)
	c.Want("cached", len(c.caches()), 0)
}

// An image for a drive is put in the cache of the guest's place, once, and no
// volume is made of it.
func TestMedium(t *testing.T) {
	for name, local := range map[string]bool{"shared": false, "local": true} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			if local {
				c, _ = localSite(t)
			}
			host := &pluginv1.Host{Uuid: c.s.Host, ManagementIp: "10.255.0.1"}
			for range 2 {
				path, err := c.Storage.Medium(t.Context(), host, c.at(c.s.Host), c.s.Image)
				c.Ok(err)
				c.Want("path", path, "/cache/"+c.s.Image)
			}
			c.Want("fetches", len(c.Calls.Of("EnsureImage")), 1)
			c.Want("cached", len(c.caches()), 1)
			c.Want("volumes", len(c.Calls.Of("CreateVolume")), 0)
			elsewhere := c.at(c.s.Host)
			elsewhere.PrimaryUUID = "gone"
			if _, err := c.Storage.Medium(t.Context(), host, elsewhere, c.s.Image); errs.ClassOf(err) != errs.NotFound {
				t.Errorf("on a storage that is gone: %v", err)
			}
			c.Calls.Fail("EnsureImage", gone("it"))
			other := c.Create("APIAddImageMsg", P{"name": "iso", "url": "http://127.0.0.1/iso", "format": "iso", "backupStorageUuids": []string{c.s.Backup}})
			if path, err := c.Storage.Medium(t.Context(), host, c.at(c.s.Host), other); errs.ClassOf(err) != errs.Unavailable || path != "" {
				t.Errorf("an image that cannot be read: %q %v", path, err)
			}
		})
	}
}
