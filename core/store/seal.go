package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

// Sealing keeps the secret columns of declarations unreadable for who has a copy
// of the database, but not the key: a backup, a replica, a disk. Every statement
// that writes passes Tx.exec, which knows the columns by the statement's text, so
// that no service has to remember it; what declarations decode is opened, and
// Secret opens what a service selected by itself. A sealed value is bound to its
// column: elsewhere it opens to nothing.

// SealKeySize is the length of a key in bytes, for AES-256.
const SealKeySize = 32

// What sealed values begin with: bytes follow on SQLite, which stores them as
// they are, and base64 on MySQL, whose columns are text.
const (
	sealedBytes = "kumo-sealed:1b:"
	sealedText  = "kumo-sealed:1t:"
)

// Seal seals and opens with one key. It is safe for concurrent use. nil seals
// nothing, and opens nothing that is sealed.
type Seal struct{ aead cipher.AEAD }

// NewSeal makes a seal of a key of SealKeySize bytes: AES-256-GCM with nonces
// drawn at random, which NIST SP 800-38D (8.3) allows for 2^32 values.
func NewSeal(key []byte) (*Seal, error) {
	if len(key) != SealKeySize {
		return nil, errs.New(errs.Invalid, "key of the database's secrets", "it has %d bytes instead of %d", len(key), SealKeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "key of the database's secrets", err, "")
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "key of the database's secrets", err, "")
	}
	return &Seal{aead}, nil
}

// place names a column; it is authenticated with what is sealed.
func place(table, column string) string { return table + "." + column }

// close returns a text as it is stored.
func (s *Seal) close(at, text string, d schemasql.Dialect) value {
	if s == nil || text == "" {
		return text
	}
	if d == schemasql.MySQL {
		return sealedText + base64.RawStdEncoding.EncodeToString(s.aead.Seal(nil, nil, []byte(text), []byte(at)))
	}
	out := make([]byte, len(sealedBytes), len(sealedBytes)+len(text)+s.aead.Overhead())
	copy(out, sealedBytes)
	return s.aead.Seal(out, nil, []byte(text), []byte(at))
}

func isSealed(stored string) bool {
	return strings.HasPrefix(stored, sealedBytes) || strings.HasPrefix(stored, sealedText)
}

// open returns the text of what is stored. What is not sealed is as it was.
func (s *Seal) open(at, stored string) (string, error) {
	if !isSealed(stored) {
		return stored, nil
	}
	sealed, plain := strings.CutPrefix(stored, sealedBytes)
	raw := []byte(sealed)
	var err error
	if !plain {
		raw, err = base64.RawStdEncoding.DecodeString(strings.TrimPrefix(stored, sealedText))
	}
	if err == nil && s == nil {
		err = errors.New("the database was opened without its key")
	}
	if err == nil {
		raw, err = s.aead.Open(raw[:0], nil, raw, []byte(at))
	}
	if err != nil {
		if s != nil {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return "", errs.Wrap(errs.Internal, "secret "+at, err, "it cannot be opened")
	}
	return string(raw), nil
}

// Secret opens a secret column that was selected by hand, as text; "" for NULL.
func Secret(q Querier, t *resource.Type, column, stored string) (string, error) {
	return q.seal().open(place(t.Name, column), stored)
}

// sealedOf lists which of a statement's columns are sealed, by their number.
func (s *Store) sealedOf(table string, columns []string) (list []int) {
	t, ok := s.reg.Get(table)
	if !ok {
		return nil
	}
	for i, c := range columns {
		if f, ok := t.Field(c); ok && f.Sealed() {
			list = append(list, i)
		}
	}
	return list
}

// sealArgs returns the arguments of a statement with its secrets sealed. The
// arguments given stay as they are: a transaction may run again.
func (tx *Tx) sealArgs(e *effect, args []value) ([]value, error) {
	if len(e.sealed) == 0 || tx.s.secrets == nil {
		return args, nil
	}
	args = append(make([]value, 0, len(args)), args...)
	shut := func(column, arg int) {
		if text, ok := args[arg].(string); ok {
			args[arg] = tx.s.secrets.close(place(e.table.name, e.columns[column]), text, tx.s.dialect)
		}
	}
	for _, c := range e.sealed {
		switch {
		case e.verb == Created && len(args)%len(e.columns) == 0:
			for row := 0; row < len(args); row += len(e.columns) {
				shut(c, row+c)
			}
		case e.verb == Updated && e.direct[c] >= 0:
			shut(c, e.direct[c])
		default:
			return nil, errs.New(errs.Internal, e.table.name, "its secret %s is not written by an argument of its own", e.columns[c])
		}
	}
	return args, nil
}

const sealTable = "CREATE TABLE IF NOT EXISTS `schema_seals` (`place` VARCHAR(255) NOT NULL PRIMARY KEY, `proof` VARCHAR(255) NOT NULL)"

// sealTypes sees to it that the secrets of types are sealed, with this key: each
// column that is has a proof of it. What was written before is sealed now.
func (s *Store) sealTypes(ctx context.Context, types []*resource.Type) error {
	proofs, err := s.proofs(ctx)
	if err != nil {
		return err
	}
	for _, t := range types {
		for i := range t.Fields {
			f := &t.Fields[i]
			at := place(t.Name, f.Name)
			if _, done := proofs[at]; done || !f.Sealed() || s.secrets == nil {
				continue
			}
			if err := s.sealColumn(ctx, t, f.Name); err != nil {
				return errs.Wrap(errs.ClassOf(err), "secret "+at, err, "it cannot be sealed")
			}
		}
	}
	return nil
}

// proofs returns what says that columns are sealed, and refuses another key.
func (s *Store) proofs(ctx context.Context) (map[string]string, error) {
	proofs := map[string]string{}
	err := s.Each(ctx, "SELECT `place`, `proof` FROM `schema_seals`", nil, func(r *Row) error {
		proofs[r.Text(0)] = r.Text(1)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for at, proof := range proofs {
		if text, err := s.secrets.open(at, proof); err != nil || text != at {
			return nil, errs.New(errs.Refused, "database "+s.name, "its secrets were sealed with another key").
				WithAdvice("put back the key that was in use, from a backup of the data folder; nothing was changed")
		}
	}
	return proofs, nil
}

// sealColumn seals what a column has, and notes it.
func (s *Store) sealColumn(ctx context.Context, t *resource.Type, column string) error {
	return s.backend.change(ctx, func(ctx context.Context, tx *Tx) error {
		plain := map[string]string{}
		err := tx.Each(ctx, "SELECT `uuid`, `"+column+"` FROM `"+t.Name+"` WHERE `"+column+"` IS NOT NULL", nil, func(r *Row) error {
			if text := r.Text(1); text != "" && !isSealed(text) {
				plain[r.Text(0)] = text
			}
			return nil
		})
		if err != nil {
			return err
		}
		for uuid, text := range plain {
			if _, err := tx.Exec(ctx, "UPDATE `"+t.Name+"` SET `"+column+"` = ? WHERE `uuid` = ?", text, uuid); err != nil {
				return err
			}
		}
		at := place(t.Name, column)
		proof := sealedText + base64.RawStdEncoding.EncodeToString(s.secrets.aead.Seal(nil, nil, []byte(at), []byte(at)))
		_, err = tx.exec(ctx, "INSERT INTO `schema_seals` (`place`, `proof`) VALUES (?, ?)", []value{at, proof})
		return err
	})
}
