package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// A client that never ends its body does not keep a server from stopping.
func TestSlowBodiesDoNotHoldAStop(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	reading, read := make(chan struct{}), make(chan error, 1)
	h := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		close(reading)
		_, err := io.Copy(io.Discard, req.Body)
		read <- err
	})}
	served := make(chan error, 1)
	go func() { served <- h.Serve(l) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: kumo\r\nContent-Length: 1000\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	<-reading
	over, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := endConnections(over, h); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the end of a server with a slow client gives %v", err)
	}
	if err := <-read; err == nil {
		t.Error("the body ended as if it had come whole")
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	if err := endConnections(over, h); err != nil {
		t.Errorf("the end of a server that has ended: %v", err)
	}
}
