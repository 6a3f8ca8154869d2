package suite

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/kumo-cloud/kumo/integration/wire"
)

// The store of images has a query and an update message of its own, beside those
// of all backup storages.
func TestImageStore(t *testing.T) {
	each(t, false, func(l *lab) {
		const path = wire.BackupStorages + "/image-store"
		made := l.create(path, wire.Params{"name": "images", "url": filepath.Join(l.s.Dir, "images"), "hostname": "127.0.0.1",
			"username": "root", "password": "hidden-word", "sshPort": 2222})
		uuid := made.text("uuid")
		l.want("backup storages", len(l.query(wire.BackupStorages)), 2)
		stores := l.query(path)
		if len(stores) != 1 || stores[0].text("uuid") != uuid {
			l.Fatalf("the image stores are %v", stores)
		}
		s := stores[0]
		l.want("hostname", s.text("hostname"), "127.0.0.1")
		l.want("port", s.number("sshPort"), int64(2222))
		l.want("status", s.text("status"), "Connected")
		if _, shown := s["password"]; shown {
			l.Error("the password is shown")
		}
		l.want("by a field of its own", len(l.query(path, "hostname=127.0.0.1", "username~=ro%")), 1)
		l.want("by another host name", len(l.query(path, "hostname=elsewhere")), 0)
		l.want("another kind of store", len(l.query(path, "uuid="+l.cloud.BackupStorage)), 0)
		l.want("by its path", len(l.query(path+"/"+uuid)), 1)

		now := l.act(path+"/"+uuid, "updateImageStoreBackupStorage", wire.Params{"name": "renamed", "hostname": "localhost"})
		l.want("new name", now.text("name"), "renamed")
		l.want("new host name", now.text("hostname"), "localhost")
		l.want("port that was not given", now.number("sshPort"), int64(2222))
		now = l.act(path+"/"+uuid, "updateImageStoreBackupStorage", wire.Params{"name": "", "description": "of all images"})
		l.want("name that was not given", now.text("name"), "renamed")
		l.want("new description", now.text("description"), "of all images")
		update := func(p wire.Params) map[string]any { return map[string]any{"updateImageStoreBackupStorage": p} }
		l.refused("SYS.1007", http.MethodPut, path+"/"+uuid+"/actions", update(wire.Params{"name": "no", "hostname": "no name"}))
		l.refused("SYS.1007", http.MethodPut, path+"/"+uuid+"/actions", update(wire.Params{"name": "no", "sshPort": 0}))
		l.refused("SYS.1006", http.MethodPut, path+"/"+l.cloud.BackupStorage+"/actions", update(wire.Params{"name": "no"}))
		l.want("name after refusals", l.get(path, uuid).text("name"), "renamed")
		l.want("host name after refusals", l.get(path, uuid).text("hostname"), "localhost")
		l.want("name of the other store", l.get(wire.BackupStorages, l.cloud.BackupStorage).text("name"), "lab")
		l.remove(wire.BackupStorages + "/" + uuid)
		l.want("image stores", len(l.query(path)), 0)
	}, "imagestore")
}
