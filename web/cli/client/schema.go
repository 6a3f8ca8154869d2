package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Schema is a server's description of itself as it was read at a time.
type Schema struct {
	// ETag is the server's mark of this text.
	ETag string
	Text []byte
	// Checked is when the server last said that it is current.
	Checked time.Time
}

// Schema reads the description, unless the server says that known is still
// current: then known itself is the answer, checked now.
func (c *Client) Schema(ctx context.Context, known *Schema) (*Schema, error) {
	req, err := c.request(ctx, Call{Method: http.MethodGet, Path: "/schema"})
	if err != nil {
		return nil, err
	}
	if known != nil && known.ETag != "" {
		req.Header.Set("If-None-Match", known.ETag)
	}
	resp, err := c.do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified && known != nil {
		return &Schema{ETag: known.ETag, Text: known.Text, Checked: time.Now()}, nil
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return nil, errs.Wrap(errs.Unavailable, "server "+c.Server, err, "its answer broke off")
	}
	if text, err = answerOf(resp.StatusCode, text); err != nil {
		return nil, err
	}
	return &Schema{ETag: resp.Header.Get("ETag"), Text: text, Checked: time.Now()}, nil
}

// SchemaCache keeps the descriptions of servers in a folder, one file each, of
// which the first line is the ETag and the time of the file that of the check.
// A zero cache keeps nothing.
type SchemaCache struct{ Dir string }

func (s SchemaCache) file(server string) string {
	sum := sha256.Sum256([]byte(server))
	return filepath.Join(s.Dir, "schema-"+hex.EncodeToString(sum[:8])+".json")
}

// Load returns what is kept of a server, nil when that is nothing. A file that
// cannot be read is nothing: the server has the truth.
func (s SchemaCache) Load(server string) *Schema {
	if s.Dir == "" {
		return nil
	}
	info, err := os.Stat(s.file(server))
	if err != nil {
		return nil
	}
	text, err := os.ReadFile(s.file(server))
	if err != nil {
		return nil
	}
	etag, body, ok := strings.Cut(string(text), "\n")
	if !ok {
		return nil
	}
	return &Schema{ETag: etag, Text: []byte(body), Checked: info.ModTime()}
}

// Save keeps a description. A reader of the same moment finds the old one or the
// new one, whole.
func (s SchemaCache) Save(server string, schema *Schema) error {
	if s.Dir == "" {
		return nil
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.Dir, "new-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(schema.ETag + "\n" + string(schema.Text))
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.file(server))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// Touch notes that what is kept was found current at a time.
func (s SchemaCache) Touch(server string, at time.Time) error {
	if s.Dir == "" {
		return nil
	}
	return os.Chtimes(s.file(server), at, at)
}
