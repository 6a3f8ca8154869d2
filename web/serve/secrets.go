package serve

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// secretsKey is the file in the data folder with the key of the database's
// secrets, as hexadecimal digits. It is not in the database, so that a copy of
// that tells no secret.
const secretsKey = "secrets.key"

// openStore opens the database with the folder's key, which the first start
// makes. A database whose secrets have another key is refused, and no key is
// made then.
func openStore(ctx context.Context, o Options, types *resource.Registry, log hclog.Logger) (*store.Store, error) {
	path := filepath.Join(o.DataDir, secretsKey)
	key, made, err := readKey(path)
	if err != nil {
		return nil, err
	}
	secrets, err := store.NewSeal(key)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, "file "+path, err, "it is no key").WithAdvice("put it back from a backup")
	}
	st, err := store.Open(ctx, o.DB, secrets, types, log)
	if err == nil || !made {
		return st, err
	}
	if e, ok := errors.AsType[*errs.Error](err); ok && e.Class == errs.Refused {
		err = e.WithAdvice("put %s back from a backup if the database's secrets were sealed; %s", path, e.Advice)
	}
	return nil, errors.Join(err, os.Remove(path))
}

// readKey returns the key in a file, which is made when there is none.
func readKey(path string) (key []byte, made bool, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		key = make([]byte, store.SealKeySize)
		_, _ = rand.Read(key) // never fails: crypto/rand ends the process instead
		return key, true, writeKey(path, key)
	}
	if err != nil {
		return nil, false, errs.Wrap(errs.Refused, "file "+path, err, "it cannot be read").WithAdvice("let the server's user read it")
	}
	key, err = hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, false, errs.Wrap(errs.Invalid, "file "+path, err, "it is no key").WithAdvice("put it back from a backup")
	}
	return key, false, nil
}

// writeKey has the whole key on the disk before anything is sealed with it.
func writeKey(path string, key []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.WriteString(hex.EncodeToString(key) + "\n")
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return errs.Wrap(errs.Internal, "file "+path, err, "it cannot be written")
	}
	return nil
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
