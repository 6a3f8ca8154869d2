# Kumo's few commands. "make help" lists them; the longer ones are in .make/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

GO ?= go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
export CGO_ENABLED := 0

# A folder of plugins/ with a main.go is a plugin; kumo-hostd is what the KVM
# plugin puts on every host.
PLUGINS := $(patsubst plugins/%/main.go,bin/plugins/kumo-plugin-%,$(wildcard plugins/*/main.go))
HOSTD := $(if $(wildcard plugins/kvm/cmd/kumo-hostd/*.go),bin/plugins/kumo-hostd)
SOURCES := $(shell find main.go core plugins pluginsdk web sql -type f ! -name '*_test.go' ! -name '*.md' ! -path '*/node_modules/*' 2>/dev/null)
BUILD = $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

.PHONY: help build test test-long storm storm-short attack lint proto former bench run down logs guest-image deps clean

help: ## List the commands.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: bin/kumo $(PLUGINS) $(HOSTD) bin/plugins/SHA256SUMS ## Build bin/kumo, its plugins and the host agent, all static.

# A new version (a commit, a tag) is a reason to link again.
.cache/version: FORCE
	@mkdir -p .cache bin/plugins
	@[ "$$(cat $@ 2>/dev/null)" = '$(VERSION)' ] || echo '$(VERSION)' >$@
FORCE:

bin/kumo: .cache/version go.mod go.sum $(SOURCES)
	$(BUILD) -o $@ .
bin/plugins/kumo-plugin-%: .cache/version go.mod go.sum $(SOURCES)
	$(BUILD) -o $@ ./plugins/$*
bin/plugins/kumo-hostd: .cache/version go.mod go.sum $(SOURCES)
	$(BUILD) -o $@ ./plugins/kvm/cmd/kumo-hostd

# Plugins in this list are granted what they ask for (CONTRIBUTING.md).
bin/plugins/SHA256SUMS: $(PLUGINS)
	cd bin/plugins && sha256sum $(notdir $(PLUGINS)) >SHA256SUMS.new && chmod 644 SHA256SUMS.new && mv SHA256SUMS.new SHA256SUMS

test: build ## Run every test, with real libvirt, QEMU and MariaDB (as root).
	@.make/test.sh

STORM ?= ./integration/suite ./integration/guests/crash ./integration/guests/losses
storm: export KUMO_STORM_SEED ?= $(shell date +%s)
storm: build ## Let clients, faults and kills loose on clouds, in a random order (as root).
	@echo "storm: KUMO_STORM_SEED=$$KUMO_STORM_SEED"
	@.make/test.sh -tags storm -run '^Test(Storm|Churn|Damage)$$' $(STORM)

storm-short: export KUMO_STORM_SEED ?= 1
storm-short: export KUMO_STORM_TIME ?= 8s
storm-short: build ## The storm on simulated hosts as CI has it: short, and with one seed (as root).
	@echo "storm: $$KUMO_STORM_TIME, KUMO_STORM_SEED=$$KUMO_STORM_SEED"
	@.make/test.sh -tags storm -run '^TestStorm$$' ./integration/suite

attack: build ## Try to stop a server, and to starve its other users (as root).
	@.make/test.sh -tags attack -p 1 ./integration/attack

test-long: build ## Run what takes longer than CI may: every crash point, then the storms (as root).
	@KUMO_TEST_LONG=1 .make/test.sh ./integration/crash
	@$(MAKE) storm

lint: ## Check format, vet, staticcheck, unused code, the house's rules and the plugin contract.
	@.make/lint.sh

proto: ## Generate the Go of the plugin contract.
	@.make/proto.sh

former: ## Keep today's plugin contract (the last commit's) as the one before, for its test.
	@.make/former.sh

bench: build ## Measure the speed and size that the architecture promises.
	@.make/bench.sh

run: ## Bring up a cloud on this machine and boot a VM in it (as root).
	@.make/run.sh

down: ## Remove that cloud and all that belongs to it.
	@.make/down.sh

logs: ## Follow the log of the running cloud.
	@.make/logs.sh

guest-image: ## Make the tiny guest image, .cache/guest/guest.qcow2.
	@.make/deps.sh run
	@.make/guest-image.sh

deps: ## Install the Debian packages that the tests need.
	@.make/deps.sh test

clean: ## Delete what was built; a running cloud is not touched.
	rm -rf bin .cache
