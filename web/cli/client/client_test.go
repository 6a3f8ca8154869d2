package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// A job outlives a restart of the server, and so does the wait for it.
func TestFollowWaitsForARestartedServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := New(address)
	if err != nil {
		t.Fatal(err)
	}
	polls := 0
	var server *http.Server
	c.wait = func(context.Context, time.Duration) error {
		if polls++; polls == 3 { // two polls met a closed port
			listener, err := net.Listen("tcp", address)
			if err != nil {
				return err
			}
			server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprintf(w, `{"inventory":{"uuid":%q}}`, r.URL.Path)
			})}
			go func() { _ = server.Serve(listener) }() // ends with Close below
		}
		return nil
	}
	answer, err := c.Follow(t.Context(), Job{UUID: "j1", Limit: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if got := Text(Inventory(answer), "uuid"); got != "/zstack/v1/api-jobs/j1" || polls != 3 {
		t.Errorf("got %q after %d polls", got, polls)
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	c, err := New(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := c.Follow(ctx, Job{UUID: "j1", Limit: time.Hour}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		class  errs.Class
		text   string
	}{
		{200, `{"inventory":{}}`, "", ""},
		{200, ``, "", ""},
		{200, `<html>`, errs.Internal, "no JSON"},
		{503, `{"error":{"code":"SYS.1003","details":"no zone"}}`, errs.NotFound, "no zone [SYS.1003]"},
		{503, `{"error":{"code":"ID.1001","description":"bad session"}}`, errs.Unauthenticated, "bad session"},
		{503, `overloaded`, errs.Unavailable, "answered 503: overloaded"},
		{400, `no operator in condition`, errs.Invalid, "no operator"},
		{404, `no such path`, errs.NotFound, "no such path"},
		{500, ``, errs.Internal, "answered 500"},
	} {
		_, err := answerOf(c.status, []byte(c.body))
		if errs.ClassOf(err) != c.class && !(c.class != "" && errors.Is(err, c.class)) {
			t.Errorf("%d %s: class %q of %v, want %q", c.status, c.body, errs.ClassOf(err), err, c.class)
		}
		if err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%d %s: %v does not say %q", c.status, c.body, err, c.text)
		}
	}
}

func TestServerAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:8080": "http://127.0.0.1:8080", "https://cloud/": "https://cloud", "http://[::1]:8080": "http://[::1]:8080",
		"": "", "ftp://x": "", "http://": "",
	} {
		c, err := New(text)
		if want == "" && !errors.Is(err, errs.Invalid) || want != "" && (err != nil || c.Server != want) {
			t.Errorf("New(%q) = %v, %v", text, c, err)
		}
	}
}

func TestURLParameters(t *testing.T) {
	got := urlParams(Call{Params: map[string]any{"deleteMode": "Enforcing", "uuids": []string{"a", "b"}, "map": map[string]any{"k": "v"}}}).Encode()
	if want := "deleteMode=Enforcing&map.k=v&uuids=a&uuids=b"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDamagedSessionFile(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	if err := s.Save("http://a", Session{UUID: "1"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Save("http://b", Session{UUID: "2"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Forget("http://a"); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.Load("http://a"); ok || err != nil {
		t.Errorf("forgotten session is there: %v", err)
	}
	if got, ok, err := s.Load("http://b"); !ok || err != nil || got.UUID != "2" {
		t.Errorf("got %v %v %v", got, ok, err)
	}
}
