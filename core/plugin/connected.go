package plugin

import (
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Connection is a plugin that runs already, described and configured by whoever
// started it.
type Connection struct {
	Manifest *pluginv1.Manifest
	Conn     grpc.ClientConnInterface
}

// Connected returns a manager of plugins that somebody else has started and
// ends, for tests that run theirs inside the process. It starts, watches and
// stops nothing: Start, Stop, Upgrade and Status are not for it. Errors: those
// of two plugins that declare the same type.
func Connected(log hclog.Logger, connections ...Connection) (*Manager, error) {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	m := &Manager{cfg: Config{Log: log}}
	for _, c := range connections {
		name := c.Manifest.GetName()
		m.cfg.Enabled = append(m.cfg.Enabled, name)
		s := newSupervised(m, name, binary{})
		s.stopped = false
		p := &process{name: name, log: s.log, conn: c.Conn, words: &lastWords{}, idle: make(chan struct{}, 1)}
		p.manifest.Store(c.Manifest)
		s.use(p)
		m.add(s)
	}
	return m, conflicts(m.Manifests())
}
