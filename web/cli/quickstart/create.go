package quickstart

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/web/cli/client"
)

// Stage is one part of the work, as told to Report when it is done.
type Stage struct {
	Name string
	// Made is false when everything was there already.
	Made bool
	Took time.Duration
}

// VM is what the cloud ends with.
type VM struct {
	UUID, Name, IP string
}

// builder makes the cloud, one stage after the other.
type builder struct {
	ctx  context.Context
	api  *client.Client
	o    Options
	addr addresses
	made bool // in this stage

	zone, cluster, host, primary, backup, image, offering, l2, l3 string
}

// Create makes the cloud that the options describe and returns its VM, running.
// It looks for each part by name and makes only what is missing, so it can be
// repeated, also after it failed half way.
func Create(ctx context.Context, api *client.Client, o Options, report func(Stage)) (VM, error) {
	addr, err := divide(o.Network)
	if err != nil {
		return VM{}, err
	}
	b := &builder{ctx: ctx, api: api, o: o, addr: addr}
	var vm VM
	for _, stage := range []struct {
		name string
		run  func() error
	}{
		{"zone and cluster", b.placement},
		{"host", b.addHost},
		{"primary storage", b.addPrimary},
		{"image store and image", b.addImage},
		{"network", b.addNetwork},
		{"VM " + vmName, func() (err error) { vm, err = b.addVM(); return err }},
	} {
		b.made = false
		began := time.Now()
		if err := stage.run(); err != nil {
			return VM{}, fmt.Errorf("%s: %w", stage.name, err)
		}
		report(Stage{Name: stage.name, Made: b.made, Took: time.Since(began)})
	}
	return vm, nil
}

// lookup returns the one object of that name in a collection, nil if none.
func (b *builder) lookup(path, name string, conditions ...string) (json.RawMessage, error) {
	page, err := b.api.Query(b.ctx, path, client.Query{Conditions: append(conditions, "name="+name), Limit: 2})
	if err != nil || len(page.Inventories) == 0 {
		return nil, err
	}
	if len(page.Inventories) > 1 {
		return nil, errs.New(errs.Exists, path+" "+name, "there are several of this name").WithAdvice("delete or rename all but one")
	}
	return page.Inventories[0], nil
}

// ensure finds an object by name or creates it by the call.
func (b *builder) ensure(path, name, createPath string, params map[string]any) (json.RawMessage, error) {
	found, err := b.lookup(path, name)
	if err != nil || found != nil {
		return found, err
	}
	params["name"] = name
	return b.post(createPath, params)
}

func (b *builder) post(path string, params map[string]any, systemTags ...string) (json.RawMessage, error) {
	b.made = true
	answer, err := b.api.Do(b.ctx, client.Call{Method: "POST", Path: path, Key: "params", Params: params, SystemTags: systemTags})
	if err != nil {
		return nil, err
	}
	return client.Inventory(answer), nil
}

// attach links two objects unless the first one's list says it is done.
func (b *builder) attach(inventory json.RawMessage, list, other, path string) error {
	if slices.Contains(texts(inventory, list), other) {
		return nil
	}
	_, err := b.post(path, nil)
	return err
}

// texts reads a list of texts in an inventory.
func texts(inventory json.RawMessage, member string) []string {
	var m map[string]json.RawMessage
	var out []string
	if json.Unmarshal(inventory, &m) != nil || json.Unmarshal(m[member], &out) != nil {
		return nil // no such member: an empty list
	}
	return out
}

func (b *builder) placement() error {
	zone, err := b.ensure("/zones", zoneName, "/zones", map[string]any{})
	if err != nil {
		return err
	}
	b.zone = client.Text(zone, "uuid")
	cluster, err := b.ensure("/clusters", clusterName, "/clusters", map[string]any{"zoneUuid": b.zone, "hypervisorType": "KVM"})
	b.cluster = client.Text(cluster, "uuid")
	return err
}

func (b *builder) addHost() error {
	host, err := b.ensure("/hosts", hostName, "/hosts/kvm", map[string]any{
		"clusterUuid": b.cluster, "managementIp": localAddress, "username": localUser, "password": localPassword,
	})
	b.host = client.Text(host, "uuid")
	return err
}

func (b *builder) addPrimary() error {
	primary, err := b.ensure("/primary-storage", primaryName, "/primary-storage/local-storage", map[string]any{"zoneUuid": b.zone, "url": b.o.PrimaryStorage})
	if err != nil {
		return err
	}
	b.primary = client.Text(primary, "uuid")
	return b.attach(primary, "attachedClusterUuids", b.cluster, "/clusters/"+b.cluster+"/primary-storage/"+b.primary)
}

func (b *builder) addImage() error {
	backup, err := b.ensure("/backup-storage", backupName, "/backup-storage/image-store", map[string]any{
		"url": b.o.ImageStore, "hostname": localAddress, "username": localUser, "password": localPassword,
	})
	if err != nil {
		return err
	}
	b.backup = client.Text(backup, "uuid")
	if err := b.attach(backup, "attachedZoneUuids", b.zone, "/zones/"+b.zone+"/backup-storage/"+b.backup); err != nil {
		return err
	}
	image, err := b.ensure("/images", imageName, "/images", map[string]any{
		"url": b.o.ImageURL, "format": "qcow2", "mediaType": "RootVolumeTemplate", "platform": "Linux", "guestOsType": "busybox",
		"backupStorageUuids": []string{b.backup},
	})
	b.image = client.Text(image, "uuid")
	return err
}

func (b *builder) addNetwork() error {
	l2, err := b.ensure("/l2-networks", l2Name, "/l2-networks/no-vlan", map[string]any{"zoneUuid": b.zone, "physicalInterface": b.o.Interface})
	if err != nil {
		return err
	}
	b.l2 = client.Text(l2, "uuid")
	if err := b.attach(l2, "attachedClusterUuids", b.cluster, "/l2-networks/"+b.l2+"/clusters/"+b.cluster); err != nil {
		return err
	}
	l3, err := b.ensure("/l3-networks", l3Name, "/l3-networks", map[string]any{"l2NetworkUuid": b.l2, "category": "Private", "system": false})
	if err != nil {
		return err
	}
	b.l3 = client.Text(l3, "uuid")
	path := "/l3-networks/" + b.l3
	page, err := b.api.Query(b.ctx, "/l3-networks/ip-ranges", client.Query{Conditions: []string{"l3NetworkUuid=" + b.l3}, Limit: 1})
	if err != nil {
		return err
	}
	if len(page.Inventories) == 0 {
		if _, err := b.post(path+"/ip-ranges", map[string]any{
			"name": rangeName, "startIp": b.addr.first, "endIp": b.addr.last, "netmask": b.addr.netmask, "gateway": b.addr.gateway,
		}); err != nil {
			return err
		}
	}
	if !slices.Contains(texts(l3, "dns"), b.addr.gateway) {
		if _, err := b.post(path+"/dns", map[string]any{"dns": b.addr.gateway}); err != nil {
			return err
		}
	}
	return b.addServices(l3, path)
}

// addServices lets the provider of type Flat serve the network.
func (b *builder) addServices(l3 json.RawMessage, path string) error {
	page, err := b.api.Query(b.ctx, "/network-services/providers", client.Query{Conditions: []string{"type=Flat"}, Limit: 1})
	if err != nil {
		return err
	}
	if len(page.Inventories) == 0 {
		return errs.New(errs.NotFound, "network service provider Flat", "the server has none").WithAdvice("start it with the plugin flat")
	}
	provider := client.Text(page.Inventories[0], "uuid")
	var have struct {
		NetworkServices []struct {
			NetworkServiceType string `json:"networkServiceType"`
		} `json:"networkServices"`
	}
	if err := json.Unmarshal(l3, &have); err != nil {
		return errs.Wrap(errs.Internal, "L3 network "+l3Name, err, "inventory cannot be read")
	}
	wanted := []string{"DHCP", "DNS", "Userdata"}
	for _, s := range have.NetworkServices {
		wanted = slices.DeleteFunc(wanted, func(w string) bool { return w == s.NetworkServiceType })
	}
	if len(wanted) == 0 {
		return nil
	}
	_, err = b.post(path+"/network-services", map[string]any{"networkServices": map[string]any{provider: wanted}})
	return err
}

func (b *builder) addVM() (VM, error) {
	offering, err := b.ensure("/instance-offerings", offeringName, "/instance-offerings", map[string]any{"cpuNum": 1, "memorySize": b.o.Memory})
	if err != nil {
		return VM{}, err
	}
	b.offering = client.Text(offering, "uuid")
	vm, err := b.lookup("/vm-instances", vmName, "state!=Destroyed")
	if err != nil {
		return VM{}, err
	}
	switch {
	case vm == nil:
		vm, err = b.post("/vm-instances", map[string]any{
			"name": vmName, "instanceOfferingUuid": b.offering, "imageUuid": b.image, "l3NetworkUuids": []string{b.l3},
		}, "userdata::"+base64.StdEncoding.EncodeToString(b.o.UserData), "hostname::"+vmName)
	case client.Text(vm, "state") != "Running":
		b.made = true
		var answer json.RawMessage
		answer, err = b.api.Do(b.ctx, client.Call{Method: "PUT", Path: "/vm-instances/" + client.Text(vm, "uuid") + "/actions", Key: "startVmInstance"})
		vm = client.Inventory(answer)
	}
	if err != nil {
		return VM{}, err
	}
	var inventory struct {
		UUID   string `json:"uuid"`
		VMNics []struct {
			IP string `json:"ip"`
		} `json:"vmNics"`
	}
	if err := json.Unmarshal(vm, &inventory); err != nil || len(inventory.VMNics) == 0 {
		return VM{}, errs.Wrap(errs.Internal, "VM "+vmName, err, "the server's answer has no network card")
	}
	return VM{UUID: inventory.UUID, Name: vmName, IP: inventory.VMNics[0].IP}, nil
}
