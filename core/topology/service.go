package topology

import (
	"cmp"
	"context"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/hook"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/mgmt"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Service keeps zones, clusters and hosts.
type Service struct {
	needs
	adding *flow.Def[addHost]

	mu       sync.Mutex
	watches  map[string]context.CancelFunc
	trying   map[string]bool // hosts that reconnectSoon is at
	ages     ages
	root     context.Context
	watching sync.WaitGroup
}

// needs are the parts of the kernel that this service uses.
type needs struct {
	Store   *store.Store
	Actions *action.Registry
	Flows   *flow.Engine
	Cascade *cascade.Engine
	Tags    *tag.Service
	Config  *config.Service
	Hooks   *hook.Service
	Plugins *plugin.Manager
	Node    *mgmt.Node
	Log     hclog.Logger
	generic kernel.Generic
}

func needsOf(k *kernel.Kernel) needs {
	return needs{Store: k.Store, Actions: k.Actions, Flows: k.Flows, Cascade: k.Cascade, Tags: k.Tags, Config: k.Config,
		Hooks: k.Hooks, Plugins: k.Plugins, Node: k.Node, Log: k.Log, generic: k}
}

// New makes the service; Register and Start bring it to life.
func New(k *kernel.Kernel) *Service {
	s := &Service{needs: needsOf(k), watches: map[string]context.CancelFunc{}, trying: map[string]bool{}, root: context.Background()}
	s.adding = s.addHostFlow()
	hook.Open(s.Hooks, contract.HostConnected, contract.HostLeaving)
	hook.Open(s.Hooks, contract.HostLost)
	return s
}

// Register registers actions, flows and delete rules. The hypervisor plugins
// must have been started, because they declare the add messages.
func (s *Service) Register() error {
	flow.Register(s.Flows, s.adding)
	s.Cascade.Register(HostType.Name, cascade.Deleter{Delete: s.deleteHost, Parts: hostParts,
		Users: []string{"VmInstance", "PrimaryStorageClusterRef", "L2NetworkClusterRef"}})
	s.registerInner()
	s.generic.Brought(kernel.Bringer{Register: s.registerHypervisors})
	steps := []func() error{
		s.registerZones, s.registerClusters, s.registerHosts, s.registerSettings,
	}
	for _, f := range steps {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// newZone holds the parameters of APICreateZoneMsg.
type newZone struct {
	kernel.Named
	IsDefault *bool `api:"isDefault"`
}

func (s *Service) registerZones() error {
	kernel.RegisterCreate(s.generic, kernel.Creation[Zone, newZone]{
		Type: ZoneType, Key: "params", Access: action.Admin, Doc: "Makes a zone.",
		Row: func(_ *action.Call, p *newZone) (*Zone, error) {
			return &Zone{State: Enabled, Type: "zstack", IsDefault: p.IsDefault != nil && *p.IsDefault}, nil
		},
		Insert: func(ctx context.Context, tx *store.Tx, z *Zone) error {
			return s.oneDefaultZone(ctx, tx, z.UUID, z.IsDefault)
		},
	})
	check := func(ctx context.Context, tx *store.Tx, uuid string, values map[string]any) error {
		isDefault, _ := values["isDefault"].(bool)
		return s.oneDefaultZone(ctx, tx, uuid, isDefault)
	}
	return cmp.Or(
		s.generic.RegisterUpdate(ZoneType.Type, action.Admin, check, action.Param{Name: "isDefault", Type: "bool?"}),
		s.generic.RegisterState(ZoneType.Type, action.Admin, nil),
		s.generic.RegisterDelete(ZoneType.Type, action.Admin),
	)
}

// oneDefaultZone takes the mark from the other zones when this one gets it.
func (s *Service) oneDefaultZone(ctx context.Context, tx *store.Tx, uuid string, isDefault bool) error {
	if !isDefault {
		return nil
	}
	_, err := tx.Exec(ctx, "UPDATE `Zone` SET `isDefault` = ? WHERE `uuid` <> ?", false, uuid)
	return err
}

// ordinary is the type of clusters whose hosts run guests; machines that are
// given to people as a whole would be in others.
const ordinary = "zstack"

// newCluster holds the parameters of APICreateClusterMsg. The hypervisor type
// is checked against what the plugins offer, not against a list. All hosts of
// the cluster must have the architecture.
type newCluster struct {
	kernel.Named
	ZoneUUID       string `api:"zoneUuid,required,resource=Zone"`
	HypervisorType string `api:"hypervisorType,required" candidates:"APIGetHypervisorTypesMsg"`
	Type           string `api:"type,values=zstack|baremetal|baremetal2"`
	Architecture   string `api:"architecture,values=x86_64|aarch64|mips64el|loongarch64"`
}

func (s *Service) registerClusters() error {
	kernel.RegisterCreate(s.generic, kernel.Creation[Cluster, newCluster]{
		Type: ClusterType, Key: "params", Access: action.Admin, Doc: "Makes a cluster of hosts with one hypervisor type.",
		Row: func(_ *action.Call, p *newCluster) (*Cluster, error) {
			if _, err := s.Plugins.Hypervisor(p.HypervisorType); err != nil {
				return nil, errs.Wrap(errs.Invalid, "hypervisorType", err, "no hypervisor %q", p.HypervisorType)
			}
			kind := cmp.Or(p.Type, ordinary)
			if kind != ordinary {
				return nil, errs.New(errs.Unsupported, "type", "clusters of type %s are not offered", kind).WithAdvice("use %s, or leave it out", ordinary)
			}
			return &Cluster{ZoneUUID: p.ZoneUUID, State: Enabled, HypervisorType: p.HypervisorType,
				Type: kind, Architecture: cmp.Or(p.Architecture, "x86_64")}, nil
		},
	})
	return cmp.Or(
		s.generic.RegisterUpdate(ClusterType.Type, action.Admin, nil),
		s.generic.RegisterState(ClusterType.Type, action.Admin, nil),
		s.generic.RegisterDelete(ClusterType.Type, action.Admin),
	)
}
