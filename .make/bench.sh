#!/usr/bin/env bash
# bench.sh [ARGUMENTS...] : measures bin/kumo on simulated hosts and prints one
# table. The arguments are those of integration/bench; see bench.sh -h.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
exec "${GO:-go}" run ./integration/bench "$@"
