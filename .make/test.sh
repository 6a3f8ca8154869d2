#!/usr/bin/env bash
# test.sh [GO-TEST-ARGUMENTS...] : installs what the tests need, makes the guest
# image, and runs every Go test. Tests that need a machine of their own make one
# out of namespaces, with their own libvirtd; nothing of this machine changes.
#
# The output is that of go test, and a summary. A test that fails is run once
# more; one that then passes is named in a line "FLAKY package.Test" at the end,
# and is a defect to mend. The script fails when a test failed both times, or
# when so many fail that repeating them says nothing.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

need_root "make test"
.make/deps.sh test
.make/guest-image.sh

# What begins with a dot is a package; the rest is for go test.
packages=() arguments=()
for argument; do
	case $argument in
	.*) packages+=("$argument") ;;
	*) arguments+=("$argument") ;;
	esac
done
[ ${#packages[@]} -gt 0 ] || packages=(./...)

reruns=$(mktemp)
trap 'rm -f "$reruns"' EXIT
status=0
"${GO:-go}" tool "-modfile=$ROOT/.tools/go.mod" gotestsum --format standard-quiet --no-color \
	--rerun-fails=1 --rerun-fails-max-failures=20 --rerun-fails-report="$reruns" \
	--packages="${packages[*]}" -- -count=1 -timeout 40m "${arguments[@]}" </dev/null || status=$?
# A line of the report is "package.Test: 2 runs, 1 failures".
sed -nE 's/^(.+): ([0-9]+) runs, ([0-9]+) failures$/\1 \2 \3/p' "$reruns" |
	while read -r name runs failures; do
		[ "$failures" -ge "$runs" ] || say "FLAKY $name"
	done
exit "$status"
