package serve

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/store/storetest"
)

// One address has its share of the connections and no more; a place that is
// given back can be taken again.
func TestConnectionsAreBounded(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := limited(inner, 3, 2, storetest.Logger(t))
	defer l.Close()
	accepted := make(chan net.Conn, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func(from string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
		c, err := d.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	refused := func(c net.Conn) bool {
		t.Helper()
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, err := c.Read(make([]byte, 1))
		var timeout net.Error
		return err != nil && !(errors.As(err, &timeout) && timeout.Timeout()) || errors.Is(err, io.EOF)
	}
	dial("127.0.0.1")
	first := <-accepted
	dial("127.0.0.1")
	<-accepted
	if !refused(dial("127.0.0.1")) {
		t.Error("an address has more than its share")
	}
	dial("127.0.0.2")
	<-accepted
	if !refused(dial("127.0.0.3")) {
		t.Error("there are more connections than the bound")
	}
	for range 2 {
		first.Close()
	}
	dial("127.0.0.3")
	select {
	case <-accepted:
	case <-time.After(10 * time.Second):
		t.Error("the place of a closed connection is not free")
	}
	if l.mu.Lock(); l.open != 3 || len(l.by) != 3 {
		t.Errorf("%d open, of %v", l.open, l.by)
	}
	l.mu.Unlock()
}
