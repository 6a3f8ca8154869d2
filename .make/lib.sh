# shellcheck shell=bash
# What the scripts of this folder share. Source it first:
#   . "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# It sets -euo pipefail, ROOT (the project), RUN (what a running cloud left on
# this machine) and CACHE (what may be deleted at any time).
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
RUN=${KUMO_RUN_DIR:-$ROOT/.run}
CACHE=${KUMO_CACHE_DIR:-$ROOT/.cache}
STARTED=$RUN/started # one file for each daemon that these scripts started
export LC_ALL=C

say() { printf '%s\n' "$*"; }
die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

need_root() {
	[ "$(id -u)" = 0 ] || die "$1 needs root: it works with libvirt, bridges and namespaces; run it with sudo"
}

# seconds_since MILLISECONDS prints the seconds from then to now, as "1.2".
now_ms() { date +%s%3N; }
seconds_since() {
	local ms=$(($(now_ms) - $1))
	printf '%d.%d' $((ms / 1000)) $((ms % 1000 / 100))
}

# wait_for SECONDS COMMAND... repeats the command until it succeeds; fails when
# the time is over.
wait_for() {
	local end=$(($(now_ms) + $1 * 1000))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(now_ms)" -lt "$end" ] || return 1
		sleep 0.1
	done
}

# start_time PID prints when the process began, in clock ticks since boot. With
# the PID it names one process for ever, as PIDs are used again. A process that
# has ended and only waits to be reaped is none.
start_time() {
	local stat
	stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
	stat=${stat##*) } # the name in parentheses may have blanks
	set -- $stat
	[ "$1" != Z ] || return 1
	printf '%s' "${20}"
}

# remember NAME PID notes that this process is ours to end.
remember() {
	mkdir -p "$STARTED"
	printf '%s %s\n' "$2" "$(start_time "$2")" >"$STARTED/$1"
}

# remembered NAME prints the PID of the noted process if it still runs.
remembered() {
	local pid began
	[ -f "$STARTED/$1" ] || return 1
	read -r pid began <"$STARTED/$1" || return 1
	[ "$(start_time "$pid")" = "$began" ] || return 1
	printf '%s' "$pid"
}

gone() { ! remembered "$1" >/dev/null; }

# end NAME [SECONDS] ends exactly the noted process: SIGTERM, and SIGKILL when
# the time is over. A process that is gone already is fine.
end() {
	local pid
	if pid=$(remembered "$1"); then
		kill -TERM "$pid" 2>/dev/null || true
		if ! wait_for "${2:-10}" gone "$1"; then
			say "  $1 (pid $pid) did not end within ${2:-10} s; killing it"
			kill -KILL "$pid" 2>/dev/null || true
			wait_for 5 gone "$1" || die "$1 (pid $pid) cannot be ended"
		fi
	fi
	rm -f "$STARTED/$1"
}

# has_systemd is true when systemd manages the services of this machine.
has_systemd() { [ -d /run/systemd/system ]; }
