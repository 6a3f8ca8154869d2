package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/kumo-cloud/kumo/integration/wire"
)

// exchangeTimeout bounds one request and its answer.
const exchangeTimeout = time.Minute

// conn is one kept-alive connection that sends ready-made requests. It costs a
// fraction of net/http's client, which matters because the load generator
// shares its processors with the server.
type conn struct {
	addr string
	net  net.Conn
	in   *bufio.Reader
	head []byte // request line's and headers' constant part
	out  []byte
	body []byte
}

func newConn(addr, session string) *conn {
	return &conn{addr: addr, head: []byte(" HTTP/1.1\r\nHost: " + addr + "\r\nAuthorization: OAuth " + session + "\r\n")}
}

func (c *conn) close() error {
	if c.net == nil {
		return nil
	}
	err := c.net.Close()
	c.net = nil
	return err
}

// get requests a path and returns status and body; the body is valid until the
// next request.
func (c *conn) get(path string) (int, []byte, error) {
	c.out = append(append(append(c.out[:0], "GET "...), path...), c.head...)
	c.out = append(c.out, "\r\n"...)
	return c.exchange()
}

// post sends a JSON body.
func (c *conn) post(path string, body []byte) (int, []byte, error) {
	c.out = append(append(append(c.out[:0], "POST "...), path...), c.head...)
	c.out = append(c.out, "Content-Type: application/json\r\nContent-Length: "...)
	c.out = strconv.AppendInt(c.out, int64(len(body)), 10)
	c.out = append(append(c.out, "\r\n\r\n"...), body...)
	return c.exchange()
}

func (c *conn) exchange() (int, []byte, error) {
	status, err := c.roundTrip()
	if err != nil {
		// The connection's state is unknown: the next request has a new one.
		return 0, nil, errors.Join(err, c.close())
	}
	return status, c.body, nil
}

func (c *conn) roundTrip() (int, error) {
	if c.net == nil {
		n, err := net.DialTimeout("tcp", c.addr, exchangeTimeout)
		if err != nil {
			return 0, err
		}
		c.net, c.in = n, bufio.NewReaderSize(n, 16<<10)
	}
	if err := c.net.SetDeadline(time.Now().Add(exchangeTimeout)); err != nil {
		return 0, err
	}
	if _, err := c.net.Write(c.out); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return 0, err
	}
	if c.body, err = readAll(resp.Body, c.body[:0]); err != nil {
		return 0, err
	}
	if err = resp.Body.Close(); err != nil {
		return 0, err
	}
	if resp.Close {
		err = c.close()
	}
	return resp.StatusCode, err
}

// readAll is io.ReadAll into a buffer that is used again.
func readAll(r io.Reader, buf []byte) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

const jobsPath = wire.Root + "/api-jobs/"

// jobPath appends the path of the job in a 202 answer to buf. It looks for the
// text instead of decoding JSON.
func jobPath(buf, answer []byte) ([]byte, error) {
	i := bytes.Index(answer, []byte(jobsPath))
	if i < 0 {
		return buf, fmt.Errorf("no job in the answer %s", shorten(answer))
	}
	rest := answer[i:]
	if j := bytes.IndexByte(rest, '"'); j > len(jobsPath) {
		return append(buf, rest[:j]...), nil
	}
	return buf, fmt.Errorf("no job in the answer %s", shorten(answer))
}

func shorten(b []byte) string {
	if len(b) > 600 {
		return string(b[:600]) + "…"
	}
	return string(b)
}
