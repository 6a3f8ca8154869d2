//go:build storm

package losses

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/integration/guests"
	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

const (
	rounds  = 15 // calls of each message
	maxVMs  = 2  // guests of the account, which take memory and time
	mateNet = "172.30.7."
)

// TestStorm writes random rows as an account: whatever it writes that is legal
// costs no other network and no other guest anything, and the host is connected
// with it.
func TestStorm(t *testing.T) {
	h := &host{Cloud: guests.Here(t), t: t}
	h.guest = h.Create(nil, h.Spec("one"), guests.Tags("web-1", "")...)
	h.guest.WaitBoot(1)
	mate := h.mate()
	account, w := h.stranger()
	made, refused := map[string]int{}, map[string]error{}
	for range rounds {
		w.refresh()
		for _, name := range w.messages() {
			if name == "APICreateVmInstanceMsg" && made[name] >= maxVMs {
				continue
			}
			said, err := w.write(name)
			if err != nil {
				refused[name] = err
				continue
			}
			made[name]++
			h.t.Log(said)
		}
	}
	for _, name := range w.messages() {
		if err := refused[name]; made[name] == 0 && !strings.Contains(err.Error(), "does not belong to your account") && !strings.Contains(err.Error(), "the system made it") {
			h.t.Errorf("%s was never taken, the last time as: %v", name, refused[name])
		}
	}
	whole := func(after string) {
		h.t.Helper()
		h.WaitConnected()
		h.guest.WaitState("Running", healed)
		h.until(healed, "all networks served after "+after, func() bool { return h.guest.Pings() && mate.Pings() })
		h.served()
		h.another()
	}
	if lost := h.pings(func() { h.Do(wire.Hosts+"/"+h.Host, "reconnectHost", nil); whole("a reconnect") }); lost > 0 {
		h.t.Errorf("%d packets were lost", lost)
	}
	if lost := h.pings(func() { h.Stop(); h.Again(); whole("a restart") }); lost > 0 {
		h.t.Errorf("%d packets were lost over a restart", lost)
	}
	h.forget(w)
	h.Remove("/accounts/" + account)
	if lost := h.pings(func() { h.Do(wire.Hosts+"/"+h.Host, "reconnectHost", nil); whole("the account's end") }); lost > 0 {
		h.t.Errorf("%d packets were lost after the account's end", lost)
	}
}

// forget deletes what the account has.
func (h *host) forget(w *writer) {
	w.refresh()
	shared := []string{h.Image}
	for _, typ := range []string{"VmInstance", "Volume", "Image", "L3Network", "SshKeyPair", "DiskOffering"} {
		for _, uuid := range w.has[typ] {
			path := w.schema.Types[typ].Path + "/" + uuid
			if slices.Contains(shared, uuid) || h.Client.Delete(h.t.Context(), path) != nil {
				continue // it went with another
			}
			expunge, p := "expunge"+typ, wire.Params{}
			if typ == "Image" {
				p["backupStorageUuids"] = []string{h.Backup}
			}
			// By what the account has set it may be gone already.
			_, _ = h.Client.Act(h.t.Context(), path, expunge, p)
		}
	}
}

// mate is a guest of another network on the same bridge.
func (h *host) mate() *guests.Guest {
	l3 := h.Make(wire.L3Networks, wire.Params{"name": "mates", "l2NetworkUuid": h.L2, "category": "Private"})
	h.Make(wire.L3Networks+"/"+l3+"/ip-ranges", wire.Params{"name": "range", "startIp": mateNet + "10", "endIp": mateNet + "20", "netmask": "255.255.255.0", "gateway": mateNet + "1"})
	if err := h.Client.AttachServices(h.t.Context(), l3, guests.Provider, "DHCP", "DNS", "Userdata"); err != nil {
		h.t.Fatal(err)
	}
	guests.IP(h.t, "addr", "replace", mateNet+"1/24", "dev", bridge)
	spec := h.Spec("mate")
	spec["l3NetworkUuids"] = []string{l3}
	g := h.Create(nil, spec)
	g.WaitBoot(1)
	return g
}

// stranger is an account that may use what the administrator shares, with images
// to take from a server that it may reach.
func (h *host) stranger() (account string, w *writer) {
	files := httptest.NewServer(http.FileServer(http.Dir(guests.SourceFolder)))
	h.t.Cleanup(files.Close)
	if err := os.WriteFile(filepath.Join(guests.SourceFolder, "page.html"), []byte("<html>not found</html>"), 0o644); err != nil {
		h.t.Fatal(err)
	}
	h.Do("/global-configurations/outbound/allowedNetworks", "updateGlobalConfig", wire.Params{"value": "127.0.0.0/8"})
	account = h.Make("/accounts", wire.Params{"name": "stranger", "password": wire.HashPassword("pw")})
	_, err := h.Client.Call(h.t.Context(), http.MethodPut, "/accounts/resources/actions", map[string]any{"shareResource": wire.Params{
		"resourceUuids": []string{h.L2, h.Image}, "accountUuids": []string{account}}})
	if err != nil {
		h.t.Fatal(err)
	}
	c := wire.New(h.URL)
	if err := c.Login(h.t.Context(), "stranger", "pw"); err != nil {
		h.t.Fatal(err)
	}
	_, seed := server.Storm(h.t, 0)
	w = newWriter(h.t, c, seed)
	w.sources = []string{files.URL + "/guest.qcow2", files.URL + "/guest.qcow2", files.URL + "/page.html", files.URL + "/none"}
	must := func(err error) {
		h.t.Helper()
		if err != nil {
			h.t.Fatal(err)
		}
	}
	ctx := h.t.Context()
	w.home, err = c.Create(ctx, wire.L3Networks, wire.Params{"name": "home", "l2NetworkUuid": h.L2, "category": "Private"})
	must(err)
	_, err = c.Create(ctx, wire.L3Networks+"/"+w.home+"/ip-ranges", wire.Params{"name": "range", "startIp": "172.30.9.10", "endIp": "172.30.9.20", "netmask": "255.255.255.0", "gateway": "172.30.9.1"})
	must(err)
	return account, w
}
