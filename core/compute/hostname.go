package compute

import (
	"cmp"
	"context"
	"net/netip"
	"strings"

	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
)

// This file has the host names of guests. In its default network a guest has the
// name that its system tag wishes, or its own name when that is one; elsewhere, and
// when others have the name, it has one made of its address. Names in a network
// differ by more than the case of their letters (RFC 4343).

// nameNICs gives each address a host name; hostname is that in the default network,
// "" for one made of the address.
func (g *guest) nameNICs(hostname string) {
	for _, n := range g.NICs {
		switch {
		case n.L3UUID == g.Told.DefaultL3UUID && hostname != "":
			g.Told.Hostnames[n.L3UUID] = hostname
		case n.IP != "":
			g.Told.Hostnames[n.L3UUID] = strings.ReplaceAll(n.IP, ".", "-")
		}
	}
}

// ofAddress tells whether a host name is made of an address: others' are not to be
// taken for it.
func ofAddress(hostname string) bool {
	_, err := netip.ParseAddr(strings.ReplaceAll(hostname, "-", "."))
	return err == nil
}

// labelOf is the name of a machine without its domain.
func labelOf(hostname string) string {
	label, _, _ := strings.Cut(hostname, ".")
	return label
}

// domainFits refuses a host name with a domain that is not its network's. The
// domain is the network's alone: dnsmasq leaves one out that does not fit where a
// host is declared (its manual, dhcp-host), and a guest would be told by DHCP of
// another name than by its metadata, of which cloud-init takes what is before the
// first dot (util.get_hostname_fqdn). A network whose domain changes later takes its
// guests with it.
func (s *Service) domainFits(ctx context.Context, q store.Querier, l3UUID, hostname string) error {
	_, domain, full := strings.Cut(hostname, ".")
	if !full {
		return nil
	}
	object := "host name " + hostname
	if l3UUID == "" {
		return errs.New(errs.Invalid, object, "the VM is in no L3 network, whose domain it could have").WithAdvice("leave the domain out")
	}
	has, err := s.networks.Domain(ctx, q, l3UUID)
	switch {
	case err != nil:
		return err
	case has == "":
		return errs.New(errs.Invalid, object, "L3 network %s has no DNS domain", l3UUID).WithAdvice("leave the domain out, or give the network that domain")
	case !strings.EqualFold(has, domain):
		return errs.New(errs.Invalid, object, "the domain of L3 network %s is %s", l3UUID, has).WithAdvice("leave the domain out: the network adds its own")
	}
	return nil
}

// wishOf is the host name that a guest wishes, by its tag or by its own name.
func wishOf(vm *VMInstance, tags []string) (hostname string, byTag bool) {
	if hostname = labelOf(told(tags, tagHostname, "hostname")); hostname != "" {
		return hostname, true
	}
	label, _ := kinds.Of("label")
	hostname, err := label.Parse(vm.Name)
	if err != nil || ofAddress(hostname) {
		return "", false
	}
	return hostname, false
}

// claimOf is what a guest's row has when the guest has the host name.
func claimOf(vm *VMInstance, hostname string) string {
	if hostname == "" || vm.DefaultL3NetworkUUID == "" {
		return vm.UUID
	}
	return vm.DefaultL3NetworkUUID + ":" + strings.ToLower(hostname)
}

// hostnameOf is a guest's host name in its default network, "" for one made of its
// address. What its tag says counts in any case: before there were claims, two could
// have been given the same.
func hostnameOf(vm *VMInstance, tags []string) string {
	hostname, byTag := wishOf(vm, tags)
	if byTag || vm.NameClaim == "" || vm.NameClaim == claimOf(vm, hostname) {
		return hostname
	}
	return ""
}

// insertNamed inserts the row of a new guest with the host name that it wishes. One
// that others have is refused if the tag wishes it (Exists).
func insertNamed(ctx context.Context, tx *store.Tx, vm *VMInstance, tags []string) error {
	hostname, byTag := wishOf(vm, tags)
	vm.NameClaim = claimOf(vm, hostname)
	err := store.Insert(ctx, tx, VMType, vm)
	if errs.ClassOf(err) != errs.Exists {
		return err
	}
	taken, lookErr := nameTaken(ctx, tx, vm, hostname)
	switch {
	case lookErr != nil || taken == nil:
		return cmp.Or(lookErr, err)
	case byTag:
		return taken
	}
	vm.NameClaim = vm.UUID
	return store.Insert(ctx, tx, VMType, vm)
}

// nameTaken is the error that says which other guest has a host name; nil for none.
func nameTaken(ctx context.Context, tx *store.Tx, vm *VMInstance, hostname string) (taken, err error) {
	other, found, err := store.First(ctx, tx, VMType, "`nameClaim` = ? AND `uuid` <> ?", claimOf(vm, hostname), vm.UUID)
	if err != nil || !found {
		return nil, err
	}
	return errs.New(errs.Exists, "host name "+hostname, "VM %s has it in L3 network %s", other.UUID, vm.DefaultL3NetworkUUID).
		WithAdvice("choose another one by the system tag hostname::"), nil
}

// claim gives the guest's row the host name that the guest wishes. One that others
// have is refused if the tag wishes it (Exists). Destroyed guests have none.
func (s *Service) claim(ctx context.Context, tx *store.Tx, vm *VMInstance, tags []string) error {
	hostname, byTag := wishOf(vm, tags)
	claim := claimOf(vm, hostname)
	if claim == vm.NameClaim || vm.State == Destroyed {
		return nil
	}
	taken, err := nameTaken(ctx, tx, vm, hostname)
	switch {
	case err != nil:
		return err
	case taken != nil && byTag:
		return taken
	case taken != nil:
		claim = vm.UUID
	}
	if claim == vm.NameClaim {
		return nil
	}
	err = store.Set(ctx, tx, VMType.Type, vm.UUID, map[string]any{"nameClaim": claim})
	if err == nil {
		vm.NameClaim = claim
	}
	return err
}

// hostnameGiven claims a name that a guest's tag begins to wish.
func (s *Service) hostnameGiven(ctx context.Context, tx *store.Tx, uuid string, tokens map[string]string) error {
	vm, err := store.Get(ctx, tx, VMType, uuid)
	if err == nil {
		err = s.domainFits(ctx, tx, vm.DefaultL3NetworkUUID, tokens["hostname"])
	}
	if err != nil {
		return err
	}
	return s.claim(ctx, tx, vm, []string{"hostname::" + tokens["hostname"]})
}

// renamed claims the host name of a guest whose name or default network changes.
func (s *Service) renamed(ctx context.Context, tx *store.Tx, vm *VMInstance, values map[string]any) error {
	name, hasName := values["name"].(string)
	l3, hasL3 := values["defaultL3NetworkUuid"].(string)
	if !hasName && !hasL3 {
		return nil
	}
	tags, err := s.Tags.Of(ctx, tx, vm.UUID)
	if err != nil {
		return err
	}
	next := *vm
	if hasName {
		next.Name = name
	}
	if hasL3 {
		next.DefaultL3NetworkUUID = l3
	}
	return s.claim(ctx, tx, &next, tags)
}

// claimAgain claims the host name of a guest that starts, if there is something new:
// there were no claims yet, or its tag is gone. When others have what it wishes by a
// tag of old, it goes on with that.
func (s *Service) claimAgain(ctx context.Context, vm *VMInstance, tags []string, st *starting) error {
	hostname, _ := wishOf(vm, tags)
	if vm.NameClaim == claimOf(vm, hostname) {
		return nil
	}
	err := s.Store.Update(ctx, func(tx *store.Tx) error { return s.claim(ctx, tx, vm, tags) })
	if err != nil && errs.ClassOf(err) != errs.Exists {
		return err
	}
	st.nameNICs(hostnameOf(vm, tags))
	return nil
}
