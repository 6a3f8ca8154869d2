package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// Params are the parameters of a call.
type Params map[string]any

// Paths of what is created and queried, below Root.
const (
	Zones             = "/zones"
	Clusters          = "/clusters"
	Hosts             = "/hosts"
	PrimaryStorages   = "/primary-storage"
	BackupStorages    = "/backup-storage"
	Images            = "/images"
	InstanceOfferings = "/instance-offerings"
	L2Networks        = "/l2-networks"
	L3Networks        = "/l3-networks"
	ServiceProviders  = "/network-services/providers"
	VMs               = "/vm-instances"
	VMNics            = "/vm-instances/nics"
	Volumes           = "/volumes"

	simulatorHosts    = "/hosts/simulators"
	simulatorPrimary  = "/primary-storage/simulators"
	simulatorBackup   = "/backup-storage/simulators"
	noVlanNetworks    = "/l2-networks/no-vlan"
	simulatorType     = "Simulator"
	simulatorProvider = "Simulator"
)

// Create posts the parameters to a path and returns the new resource's UUID.
func (c *Client) Create(ctx context.Context, path string, p Params) (string, error) {
	body, err := c.Call(ctx, http.MethodPost, path, map[string]any{"params": p})
	if err != nil {
		return "", err
	}
	var answer struct{ Inventory struct{ UUID string } }
	if err = json.Unmarshal(body, &answer); err == nil && answer.Inventory.UUID == "" {
		err = errors.New("no uuid in the inventory")
	}
	if err != nil {
		return "", fmt.Errorf("POST %s: %w", path, err)
	}
	return answer.Inventory.UUID, nil
}

// Act makes an action call on a resource: PUT PATH/actions with the
// parameters under the action's name.
func (c *Client) Act(ctx context.Context, path, action string, p Params) (json.RawMessage, error) {
	if p == nil {
		p = Params{}
	}
	return c.Call(ctx, http.MethodPut, path+"/actions", map[string]any{action: p})
}

// Delete deletes a resource in permissive mode.
func (c *Client) Delete(ctx context.Context, path string) error {
	_, err := c.Call(ctx, http.MethodDelete, path, nil)
	return err
}

// attach posts to a path without parameters.
func (c *Client) attach(ctx context.Context, path string) error {
	_, err := c.Call(ctx, http.MethodPost, path, nil)
	return err
}

// AttachPrimaryStorage attaches a primary storage to a cluster.
func (c *Client) AttachPrimaryStorage(ctx context.Context, storage, cluster string) error {
	return c.attach(ctx, Clusters+"/"+cluster+PrimaryStorages+"/"+storage)
}

// AttachBackupStorage attaches a backup storage to a zone.
func (c *Client) AttachBackupStorage(ctx context.Context, storage, zone string) error {
	return c.attach(ctx, Zones+"/"+zone+BackupStorages+"/"+storage)
}

// AttachL2Network attaches a layer 2 network to a cluster.
func (c *Client) AttachL2Network(ctx context.Context, network, cluster string) error {
	return c.attach(ctx, L2Networks+"/"+network+Clusters+"/"+cluster)
}

// AttachServices attaches services of the provider of a type to a layer 3
// network.
func (c *Client) AttachServices(ctx context.Context, l3, providerType string, services ...string) error {
	page, err := c.Query(ctx, ServiceProviders, "type="+providerType)
	if err != nil {
		return err
	}
	if len(page.Inventories) != 1 {
		return fmt.Errorf("%d network service providers have the type %s; want one", len(page.Inventories), providerType)
	}
	var provider struct{ UUID string }
	if err = json.Unmarshal(page.Inventories[0], &provider); err != nil {
		return fmt.Errorf("network service provider %s: %w", providerType, err)
	}
	_, err = c.Call(ctx, http.MethodPost, L3Networks+"/"+l3+"/network-services", map[string]any{
		"params": Params{"networkServices": map[string][]string{provider.UUID: services}}})
	return err
}

// VMQuery is the path and query of a list of a host's VMs, at most 20.
func VMQuery(host string) string {
	return Root + VMs + "?" + url.Values{"q": {"hostUuid=" + host}, "limit": {"20"}}.Encode()
}
