package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"syscall"
	"time"
)

// database is what `kumo serve` is given as --db, and how to end it.
type database struct {
	dsn  string
	stop func() error
}

func openDatabase(ctx context.Context, kind, dir string) (database, error) {
	switch kind {
	case "sqlite":
		return database{dsn: "sqlite:" + filepath.Join(dir, "kumo.db"), stop: func() error { return nil }}, nil
	case "mysql":
		return startMariaDB(ctx, filepath.Join(dir, "mariadb"))
	}
	return database{}, fmt.Errorf("-db %q is neither sqlite nor mysql", kind)
}

// startMariaDB runs a MariaDB of its own on a loopback port. It has no
// passwords and its usual settings, so that commits are as safe as outside.
func startMariaDB(ctx context.Context, dir string) (database, error) {
	none := database{}
	// A server that starts deletes others' temporary tables from a folder that
	// they share.
	data, tmp := filepath.Join(dir, "data"), filepath.Join(dir, "tmp")
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return none, err
	}
	owner, err := user.Current()
	if err != nil {
		return none, err
	}
	install := exec.CommandContext(ctx, "mariadb-install-db", "--no-defaults", "--datadir="+data, "--tmpdir="+tmp, "--user="+owner.Username,
		"--auth-root-authentication-method=normal", "--skip-test-db")
	if out, err := install.CombinedOutput(); err != nil {
		return none, fmt.Errorf("mariadb-install-db: %w\n%s", err, out)
	}
	addr, err := freeAddr()
	if err != nil {
		return none, err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return none, err
	}
	cmd := exec.Command("mariadbd", "--no-defaults", "--datadir="+data, "--tmpdir="+tmp, "--user="+owner.Username, "--bind-address=127.0.0.1",
		"--port="+port, "--socket="+filepath.Join(dir, "s"), "--log-error="+filepath.Join(dir, "log"))
	if err := cmd.Start(); err != nil {
		return none, fmt.Errorf("mariadbd: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	db := database{dsn: "mysql://root@" + addr + "/kumo", stop: func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		select {
		case err := <-ended:
			return err
		case <-time.After(stopTimeout):
			return errors.Join(fmt.Errorf("mariadbd did not end within %s", stopTimeout), cmd.Process.Kill())
		}
	}}
	if err := createDatabase(ctx, filepath.Join(dir, "s"), ended); err != nil {
		return none, errors.Join(fmt.Errorf("%w\n%s", err, tail(filepath.Join(dir, "log"))), db.stop())
	}
	return db, nil
}

// createDatabase makes the database as soon as MariaDB takes calls.
func createDatabase(ctx context.Context, socket string, ended chan error) error {
	for begin := time.Now(); ; {
		out, err := exec.CommandContext(ctx, "mariadb", "--no-defaults", "--socket="+socket, "--user=root",
			"--execute=CREATE DATABASE kumo CHARACTER SET utf8mb4").CombinedOutput()
		if err == nil {
			return nil
		}
		if time.Since(begin) > startTimeout {
			return fmt.Errorf("create the database: %w\n%s", err, out)
		}
		select {
		case err := <-ended:
			ended <- err
			return fmt.Errorf("mariadbd ended: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
