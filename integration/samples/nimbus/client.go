package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// thing is a region, a zone or an instance.
type thing struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	In    string `json:"in,omitempty"`
	Size  int64  `json:"size,omitempty"`
	Token string `json:"token,omitempty"`
}

// classes are what the cloud's answers mean.
var classes = map[int]errs.Class{http.StatusForbidden: errs.Denied, http.StatusTooManyRequests: errs.Unavailable, http.StatusBadRequest: errs.Invalid,
	http.StatusNotFound: errs.NotFound}

const (
	// slower is how long it waits when it is asked to slow down, times how often.
	slower = 50 * time.Millisecond
	times  = 5
	limit  = 1 << 20 // of an answer
)

// call makes a signed request to the cloud of an account, and reads the answer into out.
func call(ctx context.Context, account *pluginv1.Resource, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return errs.Wrap(errs.Internal, path, err, "write the request")
		}
	}
	for try := 1; ; try++ {
		status, text, err := send(ctx, account, method, path, body)
		if err != nil {
			return err
		}
		if status == http.StatusTooManyRequests && try < times {
			select {
			case <-time.After(time.Duration(try) * slower):
				continue
			case <-ctx.Done():
				return errs.Wrap(errs.ClassOf(ctx.Err()), "account "+account.GetUuid(), ctx.Err(), "the cloud asks to slow down")
			}
		}
		if class, known := classes[status]; known {
			return errs.New(class, "account "+account.GetUuid(), "the cloud says: %s", strings.TrimSpace(string(text)))
		}
		if status != http.StatusOK {
			return errs.New(errs.Unavailable, "account "+account.GetUuid(), "the cloud answers with status %d", status)
		}
		if out == nil {
			return nil
		}
		if err := json.Unmarshal(text, out); err != nil {
			return errs.Wrap(errs.Internal, "account "+account.GetUuid(), err, "the cloud's answer cannot be read")
		}
		return nil
	}
}

func send(ctx context.Context, account *pluginv1.Resource, method, path string, body []byte) (status int, text []byte, err error) {
	value := func(name string) string { return account.GetValues()[name].GetText() }
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(value("url"), "/")+"/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, errs.Wrap(errs.Invalid, "account "+account.GetUuid(), err, "its URL is none")
	}
	date := time.Now().UTC().Format(http.TimeFormat)
	mac := hmac.New(sha256.New, []byte(value("secret")))
	fmt.Fprintf(mac, "%s\n%s\n%s\n%s", method, r.URL.RequestURI(), date, body) // a hash never fails
	r.Header.Set("Date", date)
	r.Header.Set("X-Nimbus-Key", value("key"))
	r.Header.Set("X-Nimbus-Signature", hex.EncodeToString(mac.Sum(nil)))
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		class := errs.Unavailable
		if ctx.Err() != nil {
			class = errs.ClassOf(ctx.Err())
		}
		return 0, nil, errs.Wrap(class, "account "+account.GetUuid(), err, "the cloud does not answer")
	}
	defer resp.Body.Close()
	if text, err = io.ReadAll(io.LimitReader(resp.Body, limit)); err != nil {
		return 0, nil, errs.Wrap(errs.Unavailable, "account "+account.GetUuid(), err, "the cloud's answer is cut off")
	}
	return resp.StatusCode, text, nil
}
