#!/usr/bin/env bash
# test.sh [GO-TEST-ARGUMENTS...] : installs what the tests need, makes the guest
# image, and runs every Go test. Tests that need a machine of their own make one
# out of namespaces, with their own libvirtd; nothing of this machine changes.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

need_root "make test"
.make/deps.sh test
.make/guest-image.sh
[ $# -gt 0 ] || set -- ./...
exec "${GO:-go}" test -count=1 -timeout 40m "$@" </dev/null
