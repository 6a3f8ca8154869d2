package dataplane

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A dnsmasq that ends is there again with the files that it should have,
// whatever became of them.
func TestDamagedFilesAreWrittenAgain(t *testing.T) {
	folder := stateFolder(t)
	e := openEngine(t, folder)
	purge(t, e)
	apply(t, e, bridge("l2", "br_g", ""))
	mac, _, ask := guest(t, "g_g", "br_g")
	apply(t, e, dhcpNetwork("l3", "br_g"), bindingOf("nic1", "l3", mac, "10.40.0.11", "a"))
	files := networkFolder(filepath.Join(folder, "dhcp", "br_g_l3"))
	binding := filepath.Join(files.bindings(), strings.ReplaceAll(mac.String(), ":", ""))
	for name, harm := range map[string]func() error{
		"nothing":                func() error { return nil },
		"no sense":               func() error { return os.WriteFile(files.config(), []byte("\x00no=sense\n"), 0o644) },
		"empty":                  func() error { return os.WriteFile(files.config(), nil, 0o644) },
		"no configuration":       func() error { return os.Remove(files.config()) },
		"no bindings":            func() error { return os.RemoveAll(files.bindings()) },
		"another's binding":      func() error { return os.WriteFile(binding, []byte("02:00:00:00:00:01,10.40.0.11\n"), 0o644) },
		"bindings that are shut": func() error { return os.Chmod(files.bindings(), 0) },
		"damaged leases":         func() error { return os.WriteFile(files.leases(), []byte("\xff\x00 no lease\n"), 0o644) },
		"no folder":              func() error { return os.RemoveAll(string(files)) },
	} {
		must(t, e.take(t.Context()))
		old := e.networks["br_g_l3"].dnsmasq
		err := harm()
		e.release()
		must(t, err)
		must(t, old.signal(syscall.SIGKILL))
		within(t, name+": served again", func() bool {
			must(t, e.take(t.Context()))
			defer e.release()
			now := e.networks["br_g_l3"].dnsmasq
			return now != old && now.alive()
		})
		if l := ask(); !strings.Contains(l, "ip=10.40.0.11") {
			t.Errorf("%s: lease %q", name, l)
		}
	}
}
