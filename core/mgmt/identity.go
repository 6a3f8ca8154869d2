package mgmt

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Identity is who a node is: a UUID in its data folder, which one process holds
// at a time. Who holds it knows that no earlier process of the same node lives.
type Identity struct {
	UUID string

	file  *os.File
	close func()
}

// Identify takes the identity of the node whose data folder dir is; the first
// call makes it. It is held until the process ends, however that ends, or the
// node leaves. errs.Refused when another process has it.
func Identify(dir string) (*Identity, error) {
	path := filepath.Join(dir, "node")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, "data folder "+dir, err, "the node's identity cannot be read").
			WithAdvice("make sure that the folder is writable, or choose another one with --data-dir")
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		why := errors.Join(err, f.Close())
		return nil, errs.Wrap(errs.Refused, "data folder "+dir, why, "another server uses it").
			WithAdvice("end that server, or choose another folder with --data-dir")
	}
	uuid, err := readIdentity(f)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "identity of the node "+path, errors.Join(err, f.Close()), "cannot be read or made")
	}
	return &Identity{UUID: uuid, file: f, close: sync.OnceFunc(func() { f.Close() })}, nil // reading only; nothing can be lost
}

func readIdentity(f *os.File) (string, error) {
	b, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return "", err
	}
	if uuid := strings.TrimSpace(string(b)); action.IsUUID(uuid) {
		return uuid, nil
	}
	uuid := resource.NewUUID()
	if err := f.Truncate(0); err != nil {
		return "", err
	}
	if _, err := f.WriteAt([]byte(uuid+"\n"), 0); err != nil {
		return "", err
	}
	return uuid, f.Sync()
}
