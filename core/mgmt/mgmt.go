// Package mgmt tells about the management nodes: version, clock, platform and
// the heartbeat rows by which nodes know each other. It must not import any
// service, core/flow or core/query.
package mgmt

import (
	"bufio"
	"context"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// ManagementNode is the row of a running management node.
type ManagementNode struct {
	UUID      string        `db:"uuid" kumo:"size=32,immutable"`
	HostName  string        `db:"hostName" kumo:"size=255" caption:"Host name|主机名"`
	JoinDate  resource.Time `db:"joinDate" caption:"Joined|加入时间"`
	HeartBeat resource.Time `db:"heartBeat" caption:"Last heartbeat|最近心跳"`
	// Lease is for how many milliseconds after HeartBeat the node counts as alive.
	Lease int64 `db:"lease" kumo:"hidden,default=60000"`
}

// ManagementNodeType is the resource type of management nodes.
var ManagementNodeType = resource.Define[ManagementNode](resource.Type{
	Name: "ManagementNode", Readable: resource.Admin, Path: "/management-nodes", FQN: "org.zstack.header.managementnode.ManagementNodeInventory",
	View: resource.View{
		Caption: resource.Say("Management node", "管理节点"), Noun: "node", Aliases: []string{"management-node"},
		Group: "infrastructure", Order: 70, Icon: "node", Label: "hostName",
		Doc:     resource.Say("A server of this cloud.", "本云的管理服务器。"),
		Columns: []string{"hostName", "joinDate", "heartBeat"},
	},
})

// Types are the resource types of this package.
func Types() []*resource.Type { return []*resource.Type{ManagementNodeType.Type, epochs.Type} }

// Service is this management node.
type Service struct {
	node    *Node
	config  *config.Service
	log     hclog.Logger
	version string

	stop context.CancelFunc
	done sync.WaitGroup
}

// staleAfter is how many heartbeats a node may miss before it counts as dead.
const staleAfter = 12

// New makes the service of a node that has joined; nil for one that only
// registers its messages. version is what clients are told.
func New(node *Node, cfg *config.Service, log hclog.Logger, version string) *Service {
	return &Service{node: node, config: cfg, log: log, version: version}
}

type versionReply struct {
	Success bool   `json:"success"`
	Version string `json:"version"`
}

type timeReply struct {
	Success     bool             `json:"success"`
	CurrentTime map[string]int64 `json:"currentTime"`
}

type archReply struct {
	Success      bool   `json:"success"`
	Architecture string `json:"architecture"`
}

type osReply struct {
	Success bool   `json:"success"`
	Name    string `json:"name"`
	Version string `json:"version"`
}

type openReply struct {
	Success    bool `json:"success"`
	OpenSource bool `json:"opensource"`
}

type nothing struct{}

// Register defines the settings and adds the API messages.
func (s *Service) Register(r *action.Registry) error {
	const path = "/management-nodes/actions"
	action.Register(r, action.Action{Message: "APIGetVersionMsg", Method: "PUT", Path: path, Access: action.Anonymous, Doc: "Tells the version."},
		func(context.Context, *action.Call, *nothing) (versionReply, error) {
			return versionReply{true, s.version}, nil
		})
	action.Register(r, action.Action{Message: "APIGetCurrentTimeMsg", Method: "PUT", Path: path, Access: action.Anonymous, Doc: "Tells the server's clock."},
		func(context.Context, *action.Call, *nothing) (timeReply, error) {
			now := time.Now()
			return timeReply{true, map[string]int64{"MillionSeconds": now.UnixMilli(), "Seconds": now.Unix()}}, nil
		})
	action.Register(r, action.Action{Message: "APIGetManagementNodeArchMsg", Method: "PUT", Path: path, Access: action.Anonymous, Doc: "Tells the node's processor architecture."},
		func(context.Context, *action.Call, *nothing) (archReply, error) {
			return archReply{true, architecture()}, nil
		})
	action.Register(r, action.Action{Message: "APIGetManagementNodeOSMsg", Method: "PUT", Path: "/management/actions", Access: action.Anonymous, Doc: "Tells the node's operating system."},
		func(context.Context, *action.Call, *nothing) (osReply, error) { return release("/etc/os-release") })
	action.Register(r, action.Action{Message: "APIIsOpensourceVersionMsg", Method: "GET", Path: "/meta-data/opensource", Access: action.Anonymous, Doc: "Tells that this is an open version."},
		func(context.Context, *action.Call, *nothing) (openReply, error) { return openReply{true, true}, nil })
	return s.config.Define(config.Setting{Category: "managementServer", Name: "node.heartbeatInterval", Type: "int", Default: "5", Min: 1, Max: 300,
		Doc: "Seconds between two heartbeats of a management node."})
}

// architecture is the name that images and hosts use for GOARCH.
func architecture() string {
	switch runtime.GOARCH {
	case "amd64":
		return "x86_64"
	case "arm64":
		return "aarch64"
	case "loong64":
		return "loongarch64"
	}
	return runtime.GOARCH
}

// release reads os-release(5).
func release(path string) (osReply, error) {
	out := osReply{Success: true, Name: runtime.GOOS}
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return out, nil
	}
	if err != nil {
		return out, errs.Wrap(errs.Internal, "operating system", err, "read its release file")
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		k, v, _ := strings.Cut(sc.Text(), "=")
		v = strings.Trim(v, `"'`)
		switch k {
		case "ID":
			out.Name = v
		case "VERSION_ID":
			out.Version = v
		}
	}
	if err := sc.Err(); err != nil {
		return out, errs.Wrap(errs.Internal, "operating system", err, "read its release file")
	}
	return out, nil
}

// Start tells other nodes that this one lives, until Stop, ctx ends or the
// node's stay is over.
func (s *Service) Start(ctx context.Context) {
	ctx, s.stop = context.WithCancel(ctx)
	s.done.Add(1)
	go func() {
		defer s.done.Done()
		s.beat(ctx)
	}()
}

func (s *Service) beat(ctx context.Context) {
	for every := range s.config.Every(ctx, "managementServer", "node.heartbeatInterval") {
		err := s.node.beat(ctx, every)
		if err != nil && ctx.Err() == nil {
			s.log.Error("heartbeat was not written", "error", err)
		}
		if !s.node.Owns("") {
			return
		}
	}
}

// Stop ends Start, and the node leaves. ctx bounds it.
func (s *Service) Stop(ctx context.Context) error {
	if s.stop != nil {
		s.stop()
		s.done.Wait()
	}
	return s.node.Leave(ctx)
}
