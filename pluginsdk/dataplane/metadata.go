package dataplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/vishvananda/netns"
	"golang.org/x/net/netutil"

	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// metadataConns bounds what guests of one network can hold open.
const metadataConns = 128

// metadataVersions are the date versions of the EC2 protocol that have all
// that we serve; cloud-init asks for 2009-04-04.
var metadataVersions = []string{"1.0", "2007-01-19", "2009-04-04", "latest"}

// guests maps the address of a guest to what it may read.
type guests map[netip.Addr]*hostv1.Metadata

// metadataHandler answers as the EC2 instance metadata service, with tokens
// (version 2) and without. A guest is known by its source address alone: the service
// listens in the network's own namespace, where nobody else can be.
type metadataHandler struct {
	guests atomic.Pointer[guests]
	tokens tokens
}

// ServeHTTP answers GET and HEAD of one guest's pages, and PUT for a token. A token
// that is shown must be good: 401 otherwise.
func (h *metadataHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	put := r.Method == http.MethodPut && isTokenPath(r.URL.Path)
	if !put && r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET is served, and PUT of latest/api/token", http.StatusMethodNotAllowed)
		return
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		http.Error(w, "no address", http.StatusBadRequest)
		return
	}
	guest := from.Addr().Unmap()
	var m *hostv1.Metadata
	if all := h.guests.Load(); all != nil {
		m = (*all)[guest]
	}
	shown, has := r.Header[tokenHeader]
	switch {
	case m == nil:
		http.Error(w, "no metadata for this address", http.StatusNotFound)
		return
	case put:
		h.tokens.put(w, r, guest)
		return
	case has && !h.tokens.valid(guest, shown[0], time.Now()):
		http.Error(w, "the token is wrong or has ended; ask for another one", http.StatusUnauthorized)
		return
	}
	body, ok := metadataPage(m, r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	// A guest that went away while it read is not our failure.
	_, _ = w.Write(body)
}

// pathParts leaves out empty parts, so a slash at the end or twice changes nothing.
func pathParts(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

func isVersion(part string) bool { return slices.Contains(metadataVersions, part) }

func metadataPage(m *hostv1.Metadata, path string) ([]byte, bool) {
	parts := pathParts(path)
	if len(parts) == 0 {
		return []byte(strings.Join(metadataVersions, "\n")), true
	}
	if !isVersion(parts[0]) {
		return nil, false
	}
	switch rest := parts[1:]; {
	case len(rest) == 0 && len(m.GetUserData()) == 0:
		return []byte("meta-data/"), true
	case len(rest) == 0:
		return []byte("meta-data/\nuser-data"), true
	case len(rest) == 1 && rest[0] == "user-data" && len(m.GetUserData()) > 0:
		return m.GetUserData(), true
	case rest[0] == "meta-data":
		text, ok := metaDataPage(m, rest[1:])
		return []byte(text), ok
	}
	return nil, false
}

func metaDataPage(m *hostv1.Metadata, parts []string) (string, bool) {
	values := map[string]string{
		"instance-id": m.GetInstanceId(), "local-hostname": m.GetHostname(),
		"hostname": m.GetHostname(), "local-ipv4": m.GetIp(),
	}
	if len(parts) > 0 && parts[0] == "public-keys" && len(m.GetSshKeys()) > 0 {
		return keyPage(m.GetSshKeys(), parts[1:])
	}
	if len(parts) == 1 {
		v := values[parts[0]]
		return v, v != ""
	}
	if len(parts) > 1 {
		return "", false
	}
	var names []string
	for name, v := range values {
		if v != "" {
			names = append(names, name)
		}
	}
	if len(m.GetSshKeys()) > 0 {
		names = append(names, "public-keys/")
	}
	slices.Sort(names)
	return strings.Join(names, "\n"), true
}

func keyPage(keys []string, parts []string) (string, bool) {
	if len(parts) == 0 {
		lines := make([]string, len(keys))
		for i := range keys {
			lines[i] = fmt.Sprintf("%d=key-%d", i, i)
		}
		return strings.Join(lines, "\n"), true
	}
	i, err := strconv.Atoi(parts[0])
	if err != nil || i < 0 || i >= len(keys) {
		return "", false
	}
	switch {
	case len(parts) == 1:
		return "openssh-key", true
	case len(parts) == 2 && parts[1] == "openssh-key":
		return keys[i], true
	}
	return "", false
}

// metadataServer listens in a namespace. Its socket belongs to the agent and
// goes with it; an agent that starts again opens a new one.
type metadataServer struct {
	handler *metadataHandler
	server  *http.Server
}

func startMetadata(ns netns.NsHandle, log hclog.Logger) (*metadataServer, error) {
	var l net.Listener
	err := inNamespace(ns, func() (err error) {
		l, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp4", netip.AddrPortFrom(metadataAddress, 80).String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen for metadata requests: %w", err)
	}
	s := &metadataServer{handler: &metadataHandler{tokens: newTokens()}}
	s.server = &http.Server{
		Handler: s.handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 30 * time.Second, MaxHeaderBytes: 8 << 10,
		ErrorLog: log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	go func() {
		if err := s.server.Serve(netutil.LimitListener(l, metadataConns)); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the metadata service ended", "error", err)
		}
	}()
	return s, nil
}

func (s *metadataServer) close() error { return s.server.Close() }
