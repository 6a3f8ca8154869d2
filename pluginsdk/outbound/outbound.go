// Package outbound calls addresses that accounts of the cloud name: whom a web
// hook tells, where an image comes from. Whoever may name an address may have
// the server, or a plugin beside it, reach what trusts these: services on
// loopback, the machine's other services, the metadata of a cloud around it
// (server-side request forgery). One policy for all such calls is checked when a
// connection is made, after names have been resolved, and so for each redirect
// too.
package outbound

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Policy says which addresses may be called. Nobody calls multicast, unspecified
// and link-local addresses (RFC 3927; RFC 4291, section 2.5.6).
type Policy struct {
	// Trusted: an administrator named the address, who may name loopback and the
	// machine's own addresses too.
	Trusted bool
	// Listed returns the networks that the operator allows to everybody, whatever
	// they are; nil is none. It is asked at each connection.
	Listed func() []netip.Prefix
}

// Check refuses an address (errs.Denied) that the policy does not allow.
func (p Policy) Check(ip netip.Addr) error {
	ip = ip.Unmap().WithZone("")
	if p.Listed != nil && slices.ContainsFunc(p.Listed(), func(n netip.Prefix) bool { return n.Contains(ip) }) {
		return nil
	}
	kind := ""
	switch {
	case ip.IsUnspecified(), ip.IsMulticast(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		kind = "of no single machine"
	case ip.IsLinkLocalUnicast():
		kind = "link-local"
	case p.Trusted:
	case ip.IsLoopback():
		kind = "the server itself"
	case slices.Contains(own.get(), ip):
		kind = "the server's own"
	}
	if kind == "" {
		return nil
	}
	return errs.New(errs.Denied, "address "+ip.String(), "is %s, which is not to be called for accounts", kind).
		WithAdvice("name another address, or have the administrator list its network in the setting outbound/allowedNetworks")
}

// Shown is what of a URL may be kept and shown: user, password, query and fragment
// may open something.
func Shown(u *url.URL) string {
	c := *u
	c.User, c.RawQuery, c.ForceQuery, c.Fragment, c.RawFragment = nil, "", false, "", ""
	return c.String()
}

// Transport returns a new transport that connects to what the policy allows. A
// proxy of the environment (HTTPS_PROXY) may be anywhere: the operator chose it,
// and it is its task then to say what may be called. Callers of different
// policies must not share a transport, as they would share its connections.
func (p Policy) Transport() *http.Transport { return p.transport(http.ProxyFromEnvironment) }

func (p Policy) transport(proxy func(*http.Request) (*url.URL, error)) *http.Transport {
	plain := &net.Dialer{Timeout: 10 * time.Second}
	checked := &net.Dialer{Timeout: 10 * time.Second, Control: p.control}
	var proxies sync.Map
	return &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) {
			u, err := proxy(r)
			if u != nil {
				proxies.Store(hostPort(u), true)
			}
			return u, err
		},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if _, ok := proxies.Load(address); ok {
				return plain.DialContext(ctx, network, address)
			}
			return checked.DialContext(ctx, network, address)
		},
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     30 * time.Second,
	}
}

// control is called with the address that a connection is about to be made to.
func (p Policy) control(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	return p.Check(a.Addr())
}

// hostPort is the address of a proxy as a transport dials it.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// own are the addresses of this machine, read now and then.
var own ownAddresses

type ownAddresses struct {
	mu   sync.Mutex
	list []netip.Addr
	read time.Time
}

// ownAge is how long the list of addresses is good for.
const ownAge = 5 * time.Second

func (o *ownAddresses) get() []netip.Addr {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.read) < ownAge {
		return o.list
	}
	// Without an answer those that were known before count.
	if found, err := net.InterfaceAddrs(); err == nil {
		o.list = nil
		for _, a := range found {
			if n, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(n.IP); ok {
					o.list = append(o.list, ip.Unmap())
				}
			}
		}
		o.read = time.Now()
	}
	return o.list
}
