// Command kumo-plugin-witness is the sample of an observer that does steps of the
// core's flows: at points of guests' lives, of images and of deletes it writes what it does and undoes to a
// file of its folder. It must not import core or web.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// points are those at which it has something to do.
var points = []string{"vm.start.nics-ready", "vm.start.done", "vm.stop.begin", "vm.stop.done", "vm.destroy.begin", "vm.destroy.done", "vm.expunge.begin",
	"vm.migrate.nics-ready", "vm.migrate.done", "nic.attach.begin", "nic.attach.done", "nic.detach.begin", "nic.detach.done",
	"image.add.downloaded", "Zone.delete.begin", "VmInstance.delete.begin", "L3Network.create.begin", "IpRange.create.begin"}

func main() { pluginsdk.Serve(plugin()) }

func plugin() pluginsdk.Plugin {
	w := &witness{}
	manifest := &pluginv1.Manifest{Name: "witness", Version: "1", Caption: pluginsdk.Say("Witness", "见证")}
	for _, p := range points {
		manifest.Subscriptions = append(manifest.Subscriptions, &pluginv1.Subscription{Phase: pluginsdk.PhasePoint, Point: p})
	}
	return pluginsdk.Plugin{Manifest: manifest, Observer: w, Configure: func(_ context.Context, env pluginsdk.Env) error {
		w.file = filepath.Join(env.DataDir, "points")
		return nil
	}}
}

type witness struct {
	pluginsdk.NoObserver
	mu   sync.Mutex
	file string
}

// write adds a line: what was done, the point, the resource.
func (w *witness) write(what, point string, about *pluginv1.PointSubject) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	f, err := os.OpenFile(w.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return errs.Wrap(errs.Internal, "file "+w.file, err, "open it")
	}
	_, err = fmt.Fprintln(f, what, point, about.GetUuid())
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

func (w *witness) DoPoint(_ context.Context, r *pluginv1.DoPointRequest) (*pluginv1.DoPointResponse, error) {
	return &pluginv1.DoPointResponse{State: []byte("done")}, w.write("do", r.GetPoint(), r.GetSubject())
}

func (w *witness) UndoPoint(_ context.Context, r *pluginv1.UndoPointRequest) (*pluginv1.UndoPointResponse, error) {
	return &pluginv1.UndoPointResponse{}, w.write("undo", r.GetPoint(), r.GetSubject())
}
