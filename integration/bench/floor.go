package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// bareServer is the first argument by which the program is its own floor: a
// server of net/http that answers every request with the same body. It ends when
// its standard input does, with the program that started it.
const bareServer = "bare-server"

// bareBody is about as long as the inventory of a VM.
var bareBody = []byte(`{"inventories":[{"uuid":"` + strings.Repeat("0", 32) + `","description":"` + strings.Repeat("x", 1400) + `"}]}`)

func serveBare(addr string, ended func()) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	go ended()
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		_, _ = w.Write(bareBody) // the client counts what it gets
	}))
}

// runBare is the program as its own floor.
func runBare(addr string) int {
	err := serveBare(addr, func() {
		_, _ = os.Stdin.Read(make([]byte, 1)) // nothing is ever written to it
		os.Exit(0)
	})
	fmt.Fprintln(os.Stderr, "bench:", err)
	return 1
}

// measureFloor measures what a bare server answers to the same clients, once in
// a run: machines differ, so that a rate is quoted with this one.
func (b *bench) measureFloor(ctx context.Context) error {
	if b.floor > 0 {
		return nil
	}
	b.say("measuring a bare server")
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, bareServer, addr)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = in.Close()
		_ = cmd.Wait() // it served until now, or what it said is an error already
	}()
	for begin := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
			break
		}
		if time.Since(begin) > startTimeout {
			return fmt.Errorf("the bare server does not answer: %w", err)
		}
	}
	o := load{addr: addr, clients: b.clients}.read(b.duration, func(*rand.Rand) (string, string) { return "/", "inventories" })
	if o.Count == o.Errors {
		return errors.New("the bare server answered nothing")
	}
	b.floor = o.perSecond()
	b.report.load(row{Name: "floor: a bare net/http server"}, o)
	return nil
}

// ofFloor says what part of the floor a rate is, and compares it with the goal.
func (b *bench) ofFloor(x *row, o outcome, goal float64) {
	part := o.perSecond() / b.floor
	x.Notes = fmt.Sprintf("%.2f of the floor", part)
	x.Goal, x.Met = fmt.Sprintf("%.2f of the floor at 100,000", goal), yes(part >= goal && o.Errors == 0)
}

// cpu is the processor time that the server and its plugins have used.
func (s *server) cpu() (time.Duration, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	var ticks int64
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // the process has ended meanwhile
		}
		// The second field is the name in brackets and may hold blanks.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		pid := strconv.Itoa(s.cmd.Process.Pid)
		if len(fields) < 13 || fields[1] != pid && filepath.Base(filepath.Dir(path)) != pid {
			continue
		}
		for _, f := range fields[11:13] { // in user mode and in the kernel
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", path, err)
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * (time.Second / ticksPerSecond), nil
}

// ticksPerSecond is Linux's USER_HZ, the same on all its platforms of ours.
const ticksPerSecond = 100
