package filter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// This file has the machine's settings that hand packets of bridges to the inet
// table. They are of the network namespace.

const (
	settingsFolder = "/proc/sys/net/bridge"
	// savedSettings is the file with what they were before us.
	savedSettings = "settings.json"
)

var settings = []string{"bridge-nf-call-iptables", "bridge-nf-call-ip6tables"}

// ready switches the settings on, and remembers what they were.
func (f *Filter) ready() error {
	was := map[string]string{}
	for _, name := range settings {
		value, err := os.ReadFile(filepath.Join(settingsFolder, name))
		if errors.Is(err, fs.ErrNotExist) {
			return errs.New(errs.Refused, Object, "this host's kernel does not hand packets of bridges to its packet filter").
				WithAdvice("load the module: modprobe br_netfilter")
		}
		if err != nil {
			return fmt.Errorf("read the setting %s: %w", name, err)
		}
		was[name] = strings.TrimSpace(string(value))
	}
	saved := filepath.Join(f.folder, savedSettings)
	if _, err := os.Stat(saved); errors.Is(err, fs.ErrNotExist) {
		data, err := json.Marshal(was)
		if err == nil {
			err = os.MkdirAll(f.folder, 0o700)
		}
		if err == nil {
			err = os.WriteFile(saved+".new", data, 0o600)
		}
		if err == nil {
			err = os.Rename(saved+".new", saved)
		}
		if err != nil {
			return fmt.Errorf("remember the host's settings: %w", err)
		}
	}
	for _, name := range settings {
		if was[name] == "1" {
			continue
		}
		if err := set(name, "1"); err != nil {
			return err
		}
	}
	return nil
}

func set(name, value string) error {
	if err := os.WriteFile(filepath.Join(settingsFolder, name), []byte(value), 0o644); err != nil {
		return fmt.Errorf("change the setting %s: %w", name, err)
	}
	return nil
}

// leave makes the settings what they were.
func (f *Filter) leave() error {
	saved := filepath.Join(f.folder, savedSettings)
	data, err := os.ReadFile(saved)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read what the host's settings were: %w", err)
	}
	was := map[string]string{}
	if err := json.Unmarshal(data, &was); err != nil {
		f.log.Warn("what the host's settings were is not known any more", "file", saved, "error", err)
	}
	for _, name := range settings {
		if was[name] == "0" {
			if err := set(name, "0"); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(saved); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget what the host's settings were: %w", err)
	}
	return nil
}
