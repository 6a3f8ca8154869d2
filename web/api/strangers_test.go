package api

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Who has not proved who it is may send little, whatever it calls.
func TestStrangersSendLittle(t *testing.T) {
	_, s := newCloud(t)
	s.opt.MaxBody = 1 << 20
	large := `{"params":{"name":"z","description":"` + strings.Repeat("x", strangerBody) + `"}}`
	for who, want := range map[string]int{"OAuth admin": http.StatusAccepted, "OAuth nobody": http.StatusRequestEntityTooLarge, "-": http.StatusRequestEntityTooLarge} {
		if a := do(t, s, "POST", basePath+"/zones", large, "Authorization", who); a.status != want {
			t.Errorf("zones as %q: %d %s", who, a.status, a.body)
		}
	}
	if a := do(t, s, "POST", basePath+"/eips/a/nics/b", large, "Authorization", "OAuth admin"); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("an API without log-in took %d bytes: %d", len(large), a.status)
	}
}

// Clients that send slowly hold no place of a call.
func TestSlowBodiesHoldNoPlace(t *testing.T) {
	_, s := newCloud(t)
	s.calls = make(chan struct{}, 2)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := s.HTTPServer()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	defer func() {
		_ = srv.Close()
		<-served
	}()
	for range 10 {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		// The answer to Expect tells that the server reads the body now.
		text := "POST /zstack/v1/zones HTTP/1.1\r\nHost: x\r\nAuthorization: OAuth admin\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n"
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+ln.Addr().String()+basePath+"/zones", strings.NewReader(`{"params":{"name":"z"}}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "OAuth admin")
	client := &http.Client{Timeout: 20 * time.Second}
	res, err := client.Do(req)
	if err != nil {
		t.Fatalf("slow clients stop the others: %v", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusAccepted {
		t.Errorf("answered %s", res.Status)
	}
}
