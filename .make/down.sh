#!/usr/bin/env bash
# down.sh : removes the cloud that run.sh made, and all that belongs to it: first
# through the API, while the server lives, then whatever of Kumo's make is left
# and was not on this machine before the first run. It can be repeated.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$ROOT/.make/cloud.sh"
cd "$ROOT"

through_api() {
	remembered kumo >/dev/null || return 0
	say "== cloud"
	timeout 300 bin/kumo quickstart --remove --yes || say "  not all of it could be removed through the API; sweeping"
	bin/kumo logout 2>/dev/null || true
}

# server ends the server, and its plugins when they do not end with it.
server() {
	local pid child children
	if pid=$(remembered kumo); then
		say "== server"
		children=$(pgrep -P "$pid" || true)
		for child in $children; do remember "plugin-$child" "$child"; done
		end kumo 60
		for child in $children; do
			wait_for 5 gone "plugin-$child" || true
			end "plugin-$child" 5
		done
	fi
	rm -f "$RUN/kumo.pid"
}

# agent ends the host agent, which outlives the server so that guests keep their
# network, and lets it remove what it made; unless it was here before.
agent() {
	if [ -f "$BEFORE/no-state-folder" ] && [ -d "$STATE/hostd" ]; then
		bin/plugins/kumo-hostd stop --state "$STATE/hostd" --purge || say "  the host agent could not remove its networks; sweeping"
	fi
}

# guests ends and undefines the domains that appeared since the first run and
# say in their XML that Kumo made them.
guests() {
	local name
	new domains | while read -r name; do
		virsh -q -c qemu:///system dumpxml "$name" 2>/dev/null | grep -q "$DOMAIN_MARK" || continue
		say "  domain $name"
		virsh -q -c qemu:///system destroy "$name" >/dev/null 2>&1 || true
		virsh -q -c qemu:///system undefine --nvram "$name" >/dev/null 2>&1 || true
	done
}

networks() {
	local name alias
	new namespaces | grep -E '^kumo-[0-9a-f]+$' | while read -r name; do
		say "  namespace $name"
		ip netns pids "$name" | xargs -r kill -KILL 2>/dev/null || true
		ip netns del "$name"
	done || true
	new links | while read -r name; do
		alias=$(ip link show dev "$name" 2>/dev/null | sed -n 's/^ *alias //p' || true) # none: the other end of a pair went first
		case $alias in
		kumo[\ :]*)
			say "  network card $name"
			ip link del "$name" 2>/dev/null || true
			;;
		esac
	done
	new tables | while read -r name; do
		case $name in
		*" kumo"*)
			say "  nft table $name"
			# shellcheck disable=SC2086 # family and name are two words
			nft delete table $name
			;;
		esac
	done
}

files() {
	local name
	new guest_logs | while read -r name; do rm -f "$LIBVIRT_LOGS/$name"; done
	new guest_nvram | while read -r name; do rm -f "$LIBVIRT_NVRAM/$name"; done
	[ ! -f "$STORAGE/$STORAGE_MARK" ] || rm -rf "$STORAGE"
	[ ! -f "$BEFORE/no-state-folder" ] || rm -rf "$STATE"
	rm -rf "$RUN/data" "$RUN/vm" "$RUN/vm.new" "$RUN/user-data" "$BEFORE" "$STARTED" "$RUN/log"
	if [ -f "$RUN/kumo.log" ]; then mv "$RUN/kumo.log" "$RUN/kumo.log.old"; fi
}

main() {
	if [ ! -d "$BEFORE" ] && ! remembered kumo >/dev/null && [ ! -d "$STARTED" ]; then
		say "no cloud was made from this folder; nothing to remove"
		return
	fi
	need_root "make down"
	exec 8>"$RUN/lock"
	flock -n 8 || die "another make run or make down is at work here"
	through_api
	server
	say "== what is left"
	guests
	agent
	networks
	.make/libvirtd.sh down
	files
	say "== done"
}

main "$@"
