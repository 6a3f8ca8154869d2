package quickstart

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kumo-cloud/kumo/web/cli/client"
)

// removal is one kind of object on the way down.
type removal struct {
	name, path string
	// before is what an object needs before it can be deleted.
	before func(b *remover, uuid string) error
	// expunge is the action that removes a deleted object for good; "" is none.
	expunge string
	// only limits which are deleted.
	only string
}

type remover struct {
	ctx context.Context
	api *client.Client
}

// Remove deletes everything in the cloud, whoever made it, guests first and the
// zones last. It goes on past what fails and returns all errors; it can be
// repeated.
func Remove(ctx context.Context, api *client.Client, report func(Stage)) error {
	r := &remover{ctx: ctx, api: api}
	var failed []error
	for _, step := range []removal{
		{name: "VMs", path: "/vm-instances", expunge: "expungeVmInstance"},
		{name: "volumes", path: "/volumes", expunge: "expungeDataVolume", only: "type=Data"},
		{name: "images", path: "/images", expunge: "expungeImage"},
		{name: "layer-3 networks", path: "/l3-networks"},
		{name: "layer-2 networks", path: "/l2-networks"},
		{name: "primary storages", path: "/primary-storage", before: detachClusters},
		{name: "hosts", path: "/hosts"},
		{name: "clusters", path: "/clusters"},
		{name: "backup storages", path: "/backup-storage"},
		{name: "zones", path: "/zones"},
		{name: "offerings", path: "/instance-offerings"},
	} {
		began := time.Now()
		count, err := r.all(step)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", step.name, err))
		}
		if count > 0 {
			report(Stage{Name: step.name, Made: true, Took: time.Since(began)})
		}
	}
	return errors.Join(failed...)
}

func (r *remover) all(step removal) (int, error) {
	q := client.Query{}
	if step.only != "" {
		q.Conditions = []string{step.only}
	}
	page, err := r.api.Query(r.ctx, step.path, q)
	if err != nil {
		return 0, err
	}
	var failed []error
	for _, one := range page.Inventories {
		if err := r.one(step, client.Text(one, "uuid"), client.Text(one, "state"), client.Text(one, "status")); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", client.Text(one, "name"), err))
		}
	}
	return len(page.Inventories), errors.Join(failed...)
}

func (r *remover) one(step removal, uuid, state, status string) error {
	if step.before != nil {
		if err := step.before(r, uuid); err != nil {
			return err
		}
	}
	deleted := state == "Destroyed" || status == "Deleted"
	if !deleted {
		if err := r.delete(step.path + "/" + uuid); err != nil {
			return err
		}
	}
	if step.expunge == "" {
		return nil
	}
	_, err := r.api.Do(r.ctx, client.Call{Method: "PUT", Path: step.path + "/" + uuid + "/actions", Key: step.expunge})
	return err
}

func (r *remover) delete(path string) error {
	_, err := r.api.Do(r.ctx, client.Call{Method: "DELETE", Path: path, Params: map[string]any{"deleteMode": "Permissive"}})
	return err
}

// detachClusters: a primary storage that a cluster uses cannot be deleted.
func detachClusters(r *remover, uuid string) error {
	page, err := r.api.Query(r.ctx, "/primary-storage/"+uuid, client.Query{})
	if err != nil || len(page.Inventories) == 0 {
		return err
	}
	for _, cluster := range texts(page.Inventories[0], "attachedClusterUuids") {
		if err := r.delete("/clusters/" + cluster + "/primary-storage/" + uuid); err != nil {
			return err
		}
	}
	return nil
}
