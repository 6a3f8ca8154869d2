package driver

import (
	"context"
	"sync"

	"github.com/digitalocean/go-libvirt"

	"github.com/kumo-cloud/kumo/plugins/kvm/domain"
)

// processors remembers what a host's emulator has, as long as the connection lives:
// another emulator comes with a package, and libvirtd starts anew.
type processors struct {
	mu    sync.Mutex // held for the fields
	known bool
	model string
}

// nearest is domain.NearestProcessor of the host. Guests that start at once may ask
// libvirt more than once, which answers from its memory.
func (p *processors) nearest(ctx context.Context, s *slot) (string, error) {
	p.mu.Lock()
	known, model := p.known, p.model
	p.mu.Unlock()
	if known {
		return model, nil
	}
	text, err := ask(ctx, s, "host "+s.link.Address.String(), func(l *libvirt.Libvirt) (string, error) {
		return l.ConnectGetDomainCapabilities(nil, libvirt.OptString{"x86_64"}, nil, libvirt.OptString{"qemu"}, 0)
	})
	if err != nil {
		return "", err
	}
	if model, err = domain.NearestProcessor(text); err != nil {
		return "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known, p.model = true, model
	return model, nil
}
