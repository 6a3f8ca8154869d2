#!/bin/sh
# Keep the plugin contract of a commit as the one before today's: the sources of the SDK
# and of two plugins, which integration/former builds and runs with today's core.
set -eu
cd "$(dirname "$0")/.."
commit=${1:-HEAD}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
git archive "$commit" go.mod go.sum pluginsdk plugins/simulator plugins/securitygroup | tar -x -C "$dir"
find "$dir" -name '*_test.go' -delete
find "$dir" -name testdata -type d -prune -exec rm -rf {} +
rm -rf "$dir/pluginsdk/plugintest" "$dir/pluginsdk/template"
tar -c --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct "$commit")" -C "$dir" . | gzip -9n >integration/former/testdata/former.tar.gz
