#!/usr/bin/env bash
# test.sh [GO-TEST-ARGUMENTS...] : installs what the tests need, makes the guest
# image, sees to libvirtd, and runs every Go test.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

need_root "make test"
.make/deps.sh test
.make/guest-image.sh
# What this run starts, it ends: its notes are apart from those of "make run".
export KUMO_RUN_DIR=$ROOT/.run/test
trap '.make/libvirtd.sh down' EXIT
.make/libvirtd.sh up

export KUMO_GUEST_IMAGE=$CACHE/guest/guest.qcow2
[ $# -gt 0 ] || set -- ./...
"${GO:-go}" test -count=1 -timeout 40m "$@" </dev/null
