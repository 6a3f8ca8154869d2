package guests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

const (
	// Base holds all that a cloud keeps on a machine. It lies in a folder that
	// each sandbox, and each machine in it, has for itself.
	Base = "/var/lib/libvirt/kumo"
	// StateFolder is the host agent's.
	StateFolder = Base + "/hostd"
	// PrimaryFolder and ImageFolder are the storages'.
	PrimaryFolder = Base + "/primary"
	ImageFolder   = Base + "/images"
	// SourceFolder has files that the image store may add images from.
	SourceFolder = Base + "/sources"
	// Uplink is the device that the guests' network is built on.
	Uplink = "up0"
	// Gateway is the address on the uplink, from which tests reach guests.
	Gateway = "172.31.0.1"
	// Router is in the network, as far as anybody can tell, and Route what the
	// machine reaches by it.
	Router, Route = "172.31.0.254", "203.0.113.0/24"
	// Domain is the network's DNS domain.
	Domain = "guests.test"
	// Memory is what each guest has.
	Memory = 128 << 20
	// Provider is the type of the network service provider.
	Provider = "Flat"

	providerPlugins = "kvm,localstorage,imagestore,flat,vlan"
)

// Main is called by TestMain and nothing else is. The options are for what a
// package needs that others do not.
func Main(m *testing.M, options ...rig.Option) {
	if rig.Sandboxed() {
		// What is built goes with the sandbox.
		folder := "/var/lib/libvirt/tmp"
		if err := os.MkdirAll(folder, 0o755); err != nil {
			panic(err)
		}
		if err := os.Setenv("TMPDIR", folder); err != nil {
			panic(err)
		}
	}
	rig.Main(m, append(options, rig.WithPackages(rig.Hypervisor...), rig.WithPackages("openssh-server", "openssl", "iputils-ping"), rig.WithGuestImage())...)
}

// Cloud is a server with the UUIDs of what was made through it.
type Cloud struct {
	*server.Server
	Zone, Cluster, Host string
	Primary, Backup     string
	Image, Offering     string
	L2, L3              string
	guestImage          string
	before              Traces // of the sandbox
	t                   testing.TB
}

// Options say what is not the same for all clouds.
type Options struct {
	// ImageListen and ImageHostname are where image bytes are served and under
	// which name hosts find it; default this machine alone.
	ImageListen, ImageHostname string
	// Plugins are enabled beside those of every cloud.
	Plugins []string
}

// Serve starts a server without a cloud in it.
func Serve(t testing.TB, o Options) *Cloud {
	t.Helper()
	rig.Libvirtd(t)
	if o.ImageListen == "" {
		o.ImageListen, o.ImageHostname = "127.0.0.1:0", "127.0.0.1"
	}
	plugins := append(strings.Split(providerPlugins, ","), o.Plugins...)
	_, folder := server.Build(t, plugins...)
	buildAgent(t, folder)
	if err := os.MkdirAll(SourceFolder, 0o755); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(Base, "config.yaml")
	text := fmt.Sprintf("plugin-settings:\n  kvm:\n    stateFolder: %s\n  imagestore:\n    listen: %q\n    fileFolders: %s\n",
		StateFolder, o.ImageListen, SourceFolder)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(Base, "server")
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the server has ended
		if err := os.RemoveAll(data); err != nil {
			t.Error(err)
		}
	})
	image := filepath.Join(SourceFolder, "guest.qcow2")
	copyFile(t, rig.GuestImage(t).Disk, image)
	return &Cloud{Server: server.Start(t, server.Options{Plugins: plugins, Dir: data, Args: []string{"--config", config}}),
		guestImage: image, t: t}
}

// buildAgent puts the host agent beside the plugins, as `make build` does.
func buildAgent(t testing.TB, folder string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", filepath.Join(folder, "kumo-hostd"), "./plugins/kvm/cmd/kumo-hostd")
	cmd.Dir = rig.Root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build kumo-hostd: %v: %s", err, out)
	}
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Again starts the server anew on the same data.
func (c *Cloud) Again() {
	c.t.Helper()
	c.Server = c.Server.Again()
}

// Make creates something and returns its UUID; it fails the test on an error.
func (c *Cloud) Make(path string, p wire.Params) string {
	c.t.Helper()
	uuid, err := c.Client.Create(c.t.Context(), path, p)
	if err != nil {
		c.t.Fatal(err)
	}
	return uuid
}

// Do makes an action call that must succeed.
func (c *Cloud) Do(path, action string, p wire.Params) json.RawMessage {
	c.t.Helper()
	answer, err := c.Client.Act(c.t.Context(), path, action, p)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer
}

// Post is for calls that are neither actions nor create anything.
func (c *Cloud) Post(path string, p wire.Params) {
	c.t.Helper()
	if _, err := c.Client.Call(c.t.Context(), http.MethodPost, path, map[string]any{"params": p}); err != nil {
		c.t.Fatal(err)
	}
}

// Remove deletes something.
func (c *Cloud) Remove(path string) {
	c.t.Helper()
	if err := c.Client.Delete(c.t.Context(), path); err != nil {
		c.t.Fatal(err)
	}
}

// Get reads one resource into out; it reports whether there is one.
func (c *Cloud) Get(path, uuid string, out any) bool {
	c.t.Helper()
	page, err := c.Client.Query(c.t.Context(), path, "uuid="+uuid)
	if err != nil {
		c.t.Fatal(err)
	}
	if len(page.Inventories) == 0 {
		return false
	}
	if err := json.Unmarshal(page.Inventories[0], out); err != nil {
		c.t.Fatal(err)
	}
	return true
}

// AddHost adds a KVM host.
func (c *Cloud) AddHost(name, address, password string) (string, error) {
	return c.Client.Create(c.t.Context(), wire.Hosts+"/kvm", wire.Params{
		"name": name, "clusterUuid": c.Cluster, "managementIp": address, "username": "root", "password": password,
	})
}

// Place makes zone and cluster.
func (c *Cloud) Place() {
	c.t.Helper()
	c.Zone = c.Make(wire.Zones, wire.Params{"name": "zone"})
	c.Cluster = c.Make(wire.Clusters, wire.Params{"name": "cluster", "zoneUuid": c.Zone, "hypervisorType": "KVM"})
}

// Fill makes storages, image, offering and network for a host that is there.
func (c *Cloud) Fill(o Options) {
	c.t.Helper()
	must := func(err error) {
		c.t.Helper()
		if err != nil {
			c.t.Fatal(err)
		}
	}
	ctx := c.t.Context()
	c.Primary = c.Make(wire.PrimaryStorages+"/local-storage", wire.Params{"name": "local", "zoneUuid": c.Zone, "url": PrimaryFolder})
	must(c.Client.AttachPrimaryStorage(ctx, c.Primary, c.Cluster))
	if o.ImageHostname == "" {
		o.ImageHostname = "127.0.0.1"
	}
	c.Backup = c.Make(wire.BackupStorages+"/image-store", wire.Params{"name": "images", "url": ImageFolder, "hostname": o.ImageHostname, "username": "root", "password": "not-used"})
	must(c.Client.AttachBackupStorage(ctx, c.Backup, c.Zone))
	c.Image = c.Make(wire.Images, wire.Params{"name": "tiny", "url": "file://" + c.guestImage, "format": "qcow2",
		"mediaType": "RootVolumeTemplate", "platform": "Linux", "backupStorageUuids": []string{c.Backup}})
	c.Offering = c.Make(wire.InstanceOfferings, wire.Params{"name": "small", "cpuNum": 1, "memorySize": Memory})
	c.L2 = c.Make(wire.L2Networks+"/no-vlan", wire.Params{"name": "l2", "zoneUuid": c.Zone, "physicalInterface": Uplink})
	must(c.Client.AttachL2Network(ctx, c.L2, c.Cluster))
	c.L3 = c.Make(wire.L3Networks, wire.Params{"name": "l3", "l2NetworkUuid": c.L2, "category": "Private", "dnsDomain": Domain})
	l3 := wire.L3Networks + "/" + c.L3
	c.Make(l3+"/ip-ranges", wire.Params{"name": "range", "startIp": "172.31.0.10", "endIp": "172.31.0.99", "netmask": "255.255.255.0", "gateway": Gateway})
	must(c.Client.AttachServices(ctx, c.L3, Provider, "DHCP", "DNS", "Userdata", "HostRoute"))
	c.Post(l3+"/hostroute", wire.Params{"prefix": "198.51.100.0/24", "nexthop": Router})
}
