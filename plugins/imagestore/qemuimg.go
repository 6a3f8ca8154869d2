package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

const (
	// inspectTimeout and qemuMemory bound qemu-img on an image that was made to
	// make it work for ever; an honest one takes some milliseconds.
	inspectTimeout = 30 * time.Second
	qemuMemory     = 1 << 30
	// complaintBytes is what is kept of what qemu-img says: a line for each
	// damaged cluster of a large image would fill the memory.
	complaintBytes = 4 << 10
)

// runQemuImg runs qemu-img on an image of a stranger's, with bounds on its time and
// memory. problem is what it says when it does not like the image, or the
// bounds; out is what it wrote, then too. Errors: Unavailable when there is
// none, Cancelled.
func runQemuImg(ctx context.Context, object string, limit time.Duration, args ...string) (out []byte, problem string, err error) {
	var answer bytes.Buffer
	problem, err = pipeQemuImg(ctx, object, limit, func(r io.Reader) error {
		_, err := answer.ReadFrom(r)
		return err
	}, args...)
	return answer.Bytes(), problem, err
}

// pipeQemuImg is runQemuImg for an answer that may be too long to be kept: read
// gets it as it comes, and its error ends the run and is returned.
func pipeQemuImg(ctx context.Context, object string, limit time.Duration, read func(io.Reader) error, args ...string) (problem string, err error) {
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var complaint firstBytes
	cmd := exec.CommandContext(ctx, "qemu-img", args...)
	cmd.Stderr = &complaint
	// With an arena for each of its threads, glibc takes 64 MiB of the bound for
	// each, and on a busy machine none is left for another thread.
	cmd.Env = []string{"LC_ALL=C", "MALLOC_ARENA_MAX=1", "PATH=" + os.Getenv("PATH")}
	answer, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return "", errs.Wrap(errs.Unavailable, object, err, "run qemu-img").
			WithAdvice("install the package qemu-utils on the management node")
	}
	// A child that has ended already needs no limit, so a failure is harmless.
	_ = unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_AS, &unix.Rlimit{Cur: qemuMemory, Max: qemuMemory}, nil)
	unread := read(answer)
	if unread != nil {
		cancel()
	} else if _, err := io.Copy(io.Discard, answer); err != nil && ctx.Err() == nil {
		unread = errs.Wrap(errs.Internal, object, err, "read the answer of qemu-img")
	}
	ended := cmd.Wait()
	switch {
	case caller.Err() != nil:
		return "", errs.Wrap(errs.ClassOf(caller.Err()), object, caller.Err(), "run qemu-img")
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Sprintf("it takes longer than %s", limit), nil
	case ended != nil && strings.Contains(complaint.String(), "qemu_thread_create"):
		return "", errs.New(errs.Unavailable, object, "qemu-img got no thread: %s", firstLine(complaint.String())).
			WithAdvice("try again when the management node is less busy")
	case ended != nil && unread == nil:
		return cmp.Or(firstLine(complaint.String()), ended.Error()), nil
	}
	return "", unread
}

// firstBytes keeps what is written first.
type firstBytes struct{ bytes.Buffer }

func (b *firstBytes) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), complaintBytes-b.Len())])
	return len(p), nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line[:min(len(line), 300)]
}
