package compute

import (
	"context"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// This file is about NICs that come and go with a guest that is there already (spec:
// compute and storage, section 2.5): while it runs, by its hypervisor; while it is
// stopped, in the rows alone.

// attachNIC holds the parameters of APIAttachL3NetworkToVmMsg.
type attachNIC struct {
	VM     string `api:"vmInstanceUuid,required,path,resource=VmInstance"`
	L3     string `api:"l3NetworkUuid,required,path,resource=L3Network,use" where:"state=Enabled"`
	IP     string `api:"staticIp,holds=addr4" caption:"IP address|IP地址"`
	Driver string `api:"driverType,advanced" caption:"NIC model|网卡型号"`
	MAC    string `api:"customMac,holds=mac,advanced" caption:"MAC address|MAC地址"`
	Params string `api:"vmNicParams,advanced"`
}

// detachNIC holds the parameter of APIDetachL3NetworkFromVmMsg.
type detachNIC struct {
	NIC string `api:"vmNicUuid,required,path,resource=VmNic,missingok"`
}

// attachableNetworks holds the parameter of APIGetVmAttachableL3NetworkMsg.
type attachableNetworks struct {
	VM string `api:"vmInstanceUuid,required,path,resource=VmInstance,use"`
}

func (s *Service) registerNICs() {
	view := inStates("attach-nic")
	view.Caption = resource.Say("Attach network", "加载网络")
	action.Register(s.Actions, action.Action{
		Message: "APIAttachL3NetworkToVmMsg", Method: "POST", Path: "/vm-instances/{vmInstanceUuid}/l3-networks/{l3NetworkUuid}", Async: true,
		Access: action.Normal, Queue: "vmInstanceUuid", Returns: "VmInstance", Kind: "vm", On: s.whichHost, View: view,
		Doc: "Gives a guest a NIC in an L3 network, while it runs or is stopped.",
	}, func(ctx context.Context, c *action.Call, p *attachNIC) (action.Ref, error) {
		st, err := s.planNIC(ctx, c, p)
		if err == nil {
			err = flow.Run(ctx, s.Flows, s.attachNIC, st, flowOf(c, p.VM))
		}
		return refOf(p.VM), err
	})
	action.Register(s.Actions, action.Action{
		Message: "APIDetachL3NetworkFromVmMsg", Method: "DELETE", Path: "/vm-instances/nics/{vmNicUuid}", Async: true,
		Access: action.Normal, Queue: "vmNicUuid", Under: func(ctx context.Context, nic string) (string, error) { return s.networks.GuestOf(ctx, s.Store, nic) },
		Returns: "VmInstance", SuccessIfMissing: true, Kind: "vm", On: s.whichHost, View: action.View{Caption: resource.Say("Detach from VM", "从云主机卸载")},
		Doc: "Takes a NIC from its guest, while that runs or is stopped; one that is gone is a success.",
	}, s.apiDetachNIC)
	action.Register(s.Actions, action.Action{
		Message: "APIGetVmAttachableL3NetworkMsg", Method: "GET", Path: "/vm-instances/{vmInstanceUuid}/l3-networks-candidates", Access: action.Normal,
		Returns: "L3Network", View: action.View{Caption: resource.Say("Networks to attach", "可加载的网络")}, Doc: "Lists the L3 networks in which a guest can get a NIC.",
	}, s.apiAttachable)
}

// planNIC checks the request. Nothing is changed.
func (s *Service) planNIC(ctx context.Context, c *action.Call, p *attachNIC) (*plugging, error) {
	if p.Params != "" {
		return nil, errs.New(errs.Invalid, "vmNicParams", "is not offered").WithAdvice("use staticIp and customMac")
	}
	vm, g, err := s.ready(ctx, p.VM, "attach-nic")
	if err != nil {
		return nil, err
	}
	if err := s.reaches(ctx, vm, g, p.L3); err != nil {
		return nil, err
	}
	st := &plugging{guest: *g, Wish: contract.NICWish{L3UUID: p.L3}, HypervisorType: vm.HypervisorType, home: home{Was: vm.DefaultL3NetworkUUID}}
	for _, n := range g.NICs {
		st.Devices = append(st.Devices, n.DeviceID)
	}
	st.NICs = nil
	if st.Driver, err = s.pluggable(vm, g, p.Driver); err != nil {
		return nil, err
	}
	return st, s.planNICTags(ctx, c, p, st)
}

// reaches refuses a network that the guest has a NIC in, or cannot have one.
func (s *Service) reaches(ctx context.Context, vm *VMInstance, g *guest, l3UUID string) error {
	l3s := l3sOf(g)
	if slices.Contains(l3s, l3UUID) {
		return refuse(vm, "it has a NIC in L3Network %s already", l3UUID)
	}
	zone, err := s.networks.Check(ctx, s.Store, []string{l3UUID})
	if err != nil {
		return err
	}
	if zone != vm.ZoneUUID {
		return refuse(vm, "L3Network %s is in another zone", l3UUID)
	}
	clusters, err := s.networks.Clusters(ctx, s.Store, append(l3s, l3UUID))
	if err != nil {
		return err
	}
	if vm.HostUUID != "" && !slices.Contains(clusters, vm.ClusterUUID) {
		return refuse(vm, "its cluster does not have the L2 network of L3Network %s", l3UUID).WithAdvice("attach the L2 network to the cluster first")
	}
	return nil
}

func l3sOf(g *guest) []string {
	var l3s []string
	for _, n := range g.NICs {
		l3s = append(l3s, n.L3UUID)
	}
	return l3s
}

// pluggable refuses a NIC that the guest's hypervisor cannot give it, and returns the
// model: the one wanted, or that of the guest's devices.
func (s *Service) pluggable(vm *VMInstance, g *guest, wanted string) (string, error) {
	hv, err := s.Plugins.Hypervisor(vm.HypervisorType)
	if err != nil {
		return "", err
	}
	if most := int(hv.Decl.GetMaxNics()); most > 0 && len(g.NICs) >= most {
		return "", refuse(vm, "it has %d NICs, the most that its hypervisor gives a guest", len(g.NICs)).WithAdvice("detach one first")
	}
	if vm.HostUUID != "" {
		if _, err := hv.NICAttacher(); err != nil {
			return "", errs.Wrap(errs.Unsupported, "VM "+vm.Name, err, "its NICs cannot change while it runs").WithAdvice("stop it first")
		}
	}
	var models []string
	for _, d := range hv.Decl.GetDevices() {
		models = append(models, d.GetNicModel())
	}
	if wanted != "" && !slices.Contains(models, wanted) {
		return "", errs.New(errs.Invalid, "driverType", "%q is none of the models of hypervisor %s: %s", wanted, vm.HypervisorType, strings.Join(models, ", "))
	}
	if wanted == "" {
		wanted = hv.Devices(g.Devices).GetNicModel()
	}
	return wanted, nil
}

// planNICTags takes the wishes from the parameters and from those system tags of the
// call that are about the network, as at the creation of a guest, and makes tags of all
// of them.
func (s *Service) planNICTags(ctx context.Context, c *action.Call, p *attachNIC, st *plugging) error {
	if len(c.UserTags) > 0 {
		return errs.New(errs.Invalid, "userTags", "are for resources that a call makes, and this one makes no resource of its own")
	}
	st.Tags = slices.Clone(c.SystemTags)
	for _, t := range st.Tags {
		if !isAbout(t, p.L3) {
			return errs.New(errs.Invalid, "system tag "+t, "it is not about L3Network %s", p.L3).WithAdvice("give the guest other tags by themselves")
		}
	}
	if p.IP != "" {
		st.Tags = append(st.Tags, "staticIp::"+p.L3+"::"+p.IP)
	}
	if p.MAC != "" {
		st.Tags = append(st.Tags, "customMac::"+p.L3+"::"+p.MAC)
	}
	if err := s.Tags.CheckCreate(ctx, VMType.Name, st.Tags, nil); err != nil {
		return err
	}
	st.Wish.IP, st.Wish.MAC = told(st.Tags, tagStaticIP, "staticIp"), told(st.Tags, tagCustomMAC, "mac")
	return nil
}

// isAbout tells whether a guest's system tag is about its NIC in a network: such tags
// name the network after their first word.
func isAbout(text, l3UUID string) bool {
	parts := strings.Split(text, "::")
	return len(parts) > 2 && parts[1] == l3UUID
}

// untag removes a guest's system tags about a network.
func (s *Service) untag(ctx context.Context, tx *store.Tx, vmUUID, l3UUID string) error {
	return s.Tags.DeleteIf(ctx, tx, vmUUID, func(t string) bool { return isAbout(t, l3UUID) })
}

// home is the default network of a guest before its NICs change, and after.
type home struct {
	Was, Is string `json:",omitempty"`
}

// moveHome gives a guest another default network, "" for none, and the host name that
// it wishes there. One that others have is refused if its tag wishes it (Exists); when
// what was is put back, it is left to them.
func (s *Service) moveHome(ctx context.Context, tx *store.Tx, uuid, l3UUID string, back bool) error {
	vm, err := store.Get(ctx, tx, VMType, uuid)
	if err != nil || vm.DefaultL3NetworkUUID == l3UUID {
		return err
	}
	tags, err := s.Tags.Of(ctx, tx, uuid)
	if err != nil {
		return err
	}
	vm.DefaultL3NetworkUUID = l3UUID
	values := map[string]any{"defaultL3NetworkUuid": orNull(l3UUID)}
	err = s.claim(ctx, tx, vm, tags)
	if back && errs.ClassOf(err) == errs.Exists {
		values["nameClaim"], err = uuid, nil
	}
	if err != nil {
		return err
	}
	return store.Set(ctx, tx, VMType.Type, uuid, values)
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// plugOnHost has the guest's NIC plugged in on its host.
func (s *Service) plugOnHost(ctx context.Context, g *guest) error {
	return s.onHost(ctx, g, "given a NIC on", func(hv *plugin.Hypervisor, h *pluginv1.Host) error {
		a, err := hv.NICAttacher()
		if err == nil {
			_, err = a.AttachNIC(ctx, &pluginv1.AttachNICRequest{Host: h, VmUuid: g.UUID, Nic: nicSpec(g.NICs[0])})
		}
		return err
	})
}

// unplugOnHost has it pulled out.
func (s *Service) unplugOnHost(ctx context.Context, g *guest) error {
	return s.onHost(ctx, g, "relieved of a NIC on", func(hv *plugin.Hypervisor, h *pluginv1.Host) error {
		a, err := hv.NICAttacher()
		if err == nil {
			_, err = a.DetachNIC(ctx, &pluginv1.DetachNICRequest{Host: h, VmUuid: g.UUID, Nic: nicSpec(g.NICs[0])})
		}
		return err
	})
}

func (s *Service) apiAttachable(ctx context.Context, c *action.Call, p *attachableNetworks) (action.Refs, error) {
	vm, g, err := s.load(ctx, s.Store, p.VM)
	if err != nil {
		return nil, err
	}
	r := contract.AttachableRequest{VMUUID: p.VM, ZoneUUID: vm.ZoneUUID}
	if !c.Caller.Admin {
		r.Reader = c.Caller.AccountUUID
	}
	if vm.HostUUID != "" {
		r.Clusters = []string{vm.ClusterUUID}
	} else if r.Clusters, err = s.reachable(ctx, s.Store, l3sOf(g)); err != nil {
		return nil, err
	}
	uuids, err := s.networks.Attachable(ctx, s.Store, r)
	refs := action.Refs{}
	for _, uuid := range uuids {
		refs = append(refs, action.Ref{Type: "L3Network", UUID: uuid})
	}
	return refs, err
}
