package identity

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"sync"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// keys keeps access keys in use in memory; whoever changes one drops it.
type keys struct {
	store *store.Store

	mu    sync.RWMutex
	known map[string]*accessKey
	gone  uint64 // as sessions.gone
}

type accessKey struct {
	caller  action.Caller
	secret  []byte
	enabled bool
}

const maxKeys = 4096

func newKeys(st *store.Store) *keys { return &keys{store: st, known: map[string]*accessKey{}} }

// signature is what a client must send: the base64 HMAC-SHA1 of method, Date
// and URI (catalogue README, section 2).
func signature(secret []byte, c *action.Credentials) string {
	m := hmac.New(sha1.New, secret)
	m.Write([]byte(c.Method + "\n" + c.Date + "\n" + c.URI))
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// authenticate checks a signature. The texts hold the phrases by which clients
// recognise a wrong key.
func (k *keys) authenticate(ctx context.Context, c *action.Credentials) (action.Caller, error) {
	key, err := k.find(ctx, c.AccessKeyID)
	if err != nil {
		return action.Caller{}, err
	}
	if !hmac.Equal([]byte(signature(key.secret, c)), []byte(c.Signature)) {
		return action.Caller{}, errs.New(errs.Unauthenticated, "access key", "wrong accessKey signature")
	}
	// The state is told only to who knows the secret.
	if !key.enabled {
		return action.Caller{}, errs.New(errs.Unauthenticated, "access key", "the access key id %s is disabled", c.AccessKeyID)
	}
	return key.caller, nil
}

func (k *keys) find(ctx context.Context, id string) (*accessKey, error) {
	k.mu.RLock()
	key, before := k.known[id], k.gone
	k.mu.RUnlock()
	if key != nil {
		return key, nil
	}
	unknown := errs.New(errs.Unauthenticated, "access key", "the access key id does not exist")
	if len(id) > 20 {
		return nil, unknown
	}
	row, found, err := store.First(ctx, k.store, AccessKeyType, "`AccessKeyID` = ?", id)
	if err != nil {
		return nil, err
	}
	if !found || row.KeyID != id { // the database compares without case
		return nil, unknown
	}
	account, err := store.Get(ctx, k.store, AccountType, row.AccountUUID)
	if errs.ClassOf(err) == errs.NotFound {
		return nil, unknown
	}
	if err != nil {
		return nil, err
	}
	key = &accessKey{secret: []byte(row.Secret), enabled: row.State == "Enabled",
		caller: action.Caller{AccountUUID: account.UUID, UserUUID: row.UserUUID, Admin: account.Type == SystemAdmin}}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone == before {
		if len(k.known) >= maxKeys {
			clear(k.known)
		}
		k.known[id] = key
	}
	return key, nil
}

// drop forgets all keys; they are read again when used.
func (k *keys) drop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gone++
	clear(k.known)
}

// randomText returns n random letters and digits.
func randomText(n int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	out := make([]byte, 0, n)
	var b [1]byte
	for len(out) < n {
		_, _ = rand.Read(b[:])                 // never fails
		if int(b[0]) < 256-256%len(alphabet) { // no letter is likelier than another
			out = append(out, alphabet[int(b[0])%len(alphabet)])
		}
	}
	return string(out)
}
