#!/usr/bin/env bash
# bench.sh [BENCH-ARGUMENTS...] : measures what the architecture promises, with
# the binaries in bin/, and prints one table; "bench.sh -h" lists the arguments.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

mkdir -p "$CACHE"
"${GO:-go}" build -o "$CACHE/bench" ./integration/bench
exec "$CACHE/bench" "$@"
