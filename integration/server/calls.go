package server

import (
	"database/sql"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/kumo-cloud/kumo/integration/wire"
)

// Login waits until a launched server serves and logs in.
func (s *Server) Login() {
	s.t.Helper()
	s.ready()
	s.Client = wire.New(s.URL)
	if err := s.Client.Login(s.t.Context(), Account, Password); err != nil {
		s.t.Fatal(err)
	}
}

// Ready waits until no host is Connecting: right after a start hosts are
// connected anew, and take no guests until that is done.
func (s *Server) Ready() {
	s.t.Helper()
	calm := 0 // looks in a row without such a host: the first may come too early
	for begin := time.Now(); time.Since(begin) < startTimeout; time.Sleep(10 * time.Millisecond) {
		n, err := s.Client.Count(s.t.Context(), wire.Hosts, "status=Connecting")
		if err != nil {
			s.t.Fatal(err)
		}
		if calm++; n > 0 {
			calm = 0
		}
		if calm == 4 {
			return
		}
	}
	s.t.Errorf("hosts are still Connecting after %s", startTimeout)
}

// Recover connects the hosts anew, when a fault is over that has cut them off or
// kept networks from them, and waits like Settle.
func (s *Server) Recover(db *sql.DB) {
	s.t.Helper()
	s.Ready()
	page, err := s.Client.Query(s.t.Context(), wire.Hosts)
	for _, raw := range page.Inventories {
		var host struct{ UUID string }
		err = errors.Join(err, json.Unmarshal(raw, &host))
		if err == nil {
			_, err = s.Client.Act(s.t.Context(), wire.Hosts+"/"+host.UUID, "reconnectHost", nil)
		}
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.Settle(db)
}

// Begin makes an asynchronous call under a job UUID of the caller's, and
// reports whether the server has accepted it. One that dies meanwhile has not.
func (s *Server) Begin(job, method, path string, body map[string]any) (accepted bool) {
	s.t.Helper()
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			s.t.Fatal(err)
		}
	}
	status, answer, err := s.Client.Raw(s.t.Context(), method, path, http.Header{"X-Job-Uuid": {job}}, text)
	if err != nil {
		return false
	}
	if status != http.StatusAccepted {
		s.t.Fatalf("%s %s: status %d: %s", method, path, status, answer)
	}
	return true
}

// Outcome waits for a job and returns how it ended.
func (s *Server) Outcome(job string) error {
	_, err := s.Client.Wait(s.t.Context(), job)
	return err
}

// Status polls a job once and returns the HTTP status.
func (s *Server) Status(job string) int {
	s.t.Helper()
	status, _, err := s.Client.Raw(s.t.Context(), http.MethodGet, "/api-jobs/"+job, nil, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return status
}

// States returns the state of every guest by its name.
func (s *Server) States() map[string]string {
	s.t.Helper()
	page, err := s.Client.Query(s.t.Context(), wire.VMs)
	states := map[string]string{}
	for _, raw := range page.Inventories {
		var vm struct{ Name, State string }
		err = errors.Join(err, json.Unmarshal(raw, &vm))
		states[vm.Name] = vm.State
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return states
}
