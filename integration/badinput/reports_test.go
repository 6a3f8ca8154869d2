package badinput

import (
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// TestReportedSecrets makes calls in which people found their secrets again in
// logs and errors: none is in an answer, in the log, or in the database, but for
// user data, which guests read there.
func TestReportedSecrets(t *testing.T) {
	t.Parallel()
	s := server.Start(t, server.Options{Plugins: []string{"simulator", "imagestore"}, Args: []string{"--log-level", "trace"}})
	cloud, err := wire.NewCloud(t.Context(), s.Client, wire.Spec{Name: "lab", Hosts: 1})
	if err != nil {
		t.Fatal(err)
	}
	vm := cloud.VM("bosh")
	userData := base64.StdEncoding.EncodeToString([]byte("#cloud-config\nnats-password: 7-Us3rD4ta\n"))
	store := func(url string) map[string]any {
		return params(wire.Params{"name": "b", "url": url, "hostname": "127.0.0.1", "username": "root", "password": "n0t-1-Store"})
	}
	image := func(url string) map[string]any {
		return params(wire.Params{"name": "i", "url": url, "format": "raw", "mediaType": "RootVolumeTemplate", "backupStorageUuids": []string{cloud.BackupStorage}})
	}
	session := "0123456789ab4cdef123456789abcdef"
	l := &lab{s: s}
	for _, c := range []struct {
		report, secret string
		call           call
		good           bool
	}{
		// Secrets in the query of a URL, and sessions in its path.
		{"https://github.com/apache/cloudstack/issues/9512", "1-TopSecret", call{method: http.MethodGet, path: wire.Zones + "?q=name=1-TopSecret&password=1-TopSecret"}, true},
		{"https://github.com/apache/cloudstack/issues/9512", session, call{method: http.MethodDelete, path: "/accounts/sessions/" + session}, true},
		{"https://github.com/apache/cloudstack/issues/8526", "2-Ipm1", call{method: http.MethodPost, path: "/no-such-thing?username=Admin&password=2-Ipm1"}, false},
		// Addresses of storages with what opens them.
		{"https://github.com/apache/cloudstack/issues/13300", "3-C1fs", call{method: http.MethodPost, path: wire.BackupStorages + "/image-store", body: store("cifs://host/share?user=foo&password=3-C1fs")}, false},
		{"https://github.com/apache/cloudstack/issues/13300", "4-C1fs", call{method: http.MethodPost, path: wire.BackupStorages + "/image-store", body: store("//foo:4-C1fs@host/share")}, false},
		{"https://github.com/apache/cloudstack/issues/13300", "n0t-1-Store", call{method: http.MethodPost, path: wire.BackupStorages + "/image-store", body: store("relative")}, false},
		{"https://github.com/Azure/azure-quickstart-templates/issues/1986", "5-S1gn", call{method: http.MethodPost, path: wire.Images, body: image("ftp://u:5-S1gn@192.0.2.1/x?sig=5-S1gn")}, true},
		// What is of the wrong form is quoted in an error.
		{"https://github.com/apache/cloudstack/issues/13296", "6-L1st", call{method: http.MethodPut, path: "/accounts/login", body: map[string]any{"logInByAccount": wire.Params{"accountName": "x", "password": []string{"6-L1st"}}}}, false},
		{"https://github.com/apache/cloudstack/issues/13296", "8-Sh0rt", call{method: http.MethodPost, path: "/accounts", body: params(wire.Params{"name": "x", "password": "8-Sh0rt"})}, true},
		{"https://github.com/cloudfoundry/bosh-aws-cpi-release/issues/56", userData, call{method: http.MethodPost, path: wire.VMs, body: tags(vm, "userdata::"+userData)}, true},
		{"https://github.com/cloudfoundry/bosh-aws-cpi-release/issues/56", "9-C0ns0le", call{method: http.MethodPost, path: wire.VMs, body: tags(cloud.VM("console"), "consolePassword::9-C0ns0le-is-too-long-for-a-screen")}, false},
	} {
		said := ""
		if c.good {
			status, answer, err := s.Client.Raw(t.Context(), c.call.method, c.call.path, nil, marshal(t, c.call.body))
			if err != nil {
				t.Fatal(err)
			}
			if said = string(answer); status == http.StatusAccepted {
				if job, err := wire.JobID(answer); err == nil {
					_ = s.Outcome(job) // it may be refused
				}
			}
		} else {
			said = l.errorOf(t, c.call).Details
		}
		if strings.Contains(said, c.secret) && c.secret != userData {
			t.Errorf("%s: the answer shows it: %.300s", c.report, said)
		}
		written, err := filepath.Glob(filepath.Join(s.Dir, "kumo.*")) // its log, its database
		if err != nil || len(written) < 2 {
			t.Fatal(written, err)
		}
		for _, path := range written {
			name := filepath.Base(path)
			if strings.HasPrefix(name, "kumo.db") && c.secret == userData {
				continue
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text := string(data)
			if i := strings.Index(text, c.secret); i >= 0 {
				t.Errorf("%s: %s has it: %q", c.report, name, text[max(0, i-200):min(len(text), i+100)])
			}
		}
	}
}
