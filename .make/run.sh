#!/usr/bin/env bash
# run.sh : brings up an all-in-one cloud on this machine, with one VM, and
# leaves the server running. What is there already stays as it is, so a second
# run only looks. Settings, all optional, come from the environment:
#   KUMO_LISTEN          address of the API (127.0.0.1:8080)
#   KUMO_ADMIN_PASSWORD  password of the account admin (password)
#   KUMO_NETWORK         the VMs' network, 24 bits (172.30.0.0/24)
#   KUMO_STORAGE         folder for disks and images (/var/lib/kumo/make-run)
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$ROOT/.make/cloud.sh"
cd "$ROOT"

total=$(now_ms)
declare -a took=()

# stage NAME COMMAND... runs one part of the work and notes the time it took.
stage() {
	local name=$1 began
	shift
	began=$(now_ms)
	say "== $name"
	"$@"
	took+=("$(printf '%-26s %6s s' "$name" "$(seconds_since "$began")")")
}

# note_before keeps what this machine had before the first run, so that "make
# down" never touches it.
note_before() {
	[ ! -d "$BEFORE" ] || return 0
	mkdir -p "$BEFORE.new"
	links >"$BEFORE.new/links"
	namespaces >"$BEFORE.new/namespaces"
	tables >"$BEFORE.new/tables"
	domains >"$BEFORE.new/domains"
	guest_logs >"$BEFORE.new/guest_logs"
	guest_nvram >"$BEFORE.new/guest_nvram"
	[ -e "$STATE" ] || : >"$BEFORE.new/no-state-folder"
	mv "$BEFORE.new" "$BEFORE"
}

# uplink makes the pair of virtual network cards that stands for the machine's
# connection to the VMs' network. Kumo builds its bridge on one of them and the
# gateway's address moves from there to the bridge.
uplink() {
	local gateway=${NETWORK%.*}.1
	if ip link show "$UPLINK" >/dev/null 2>&1; then
		say "network card $UPLINK: there already"
		return
	fi
	[ -z "$(ip route show root "$NETWORK")" ] ||
		die "network $NETWORK is in use on this machine; choose another: KUMO_NETWORK=10.99.0.0/24 make run"
	ip link add "$UPLINK" type veth peer name "${UPLINK}p"
	ip link set "$UPLINK" alias "$UPLINK_ALIAS"
	ip link set "${UPLINK}p" alias "$UPLINK_ALIAS"
	ip link set "${UPLINK}p" up
	ip addr add "$gateway/24" dev "$UPLINK"
	ip link set "$UPLINK" up
	say "network card $UPLINK: made, $gateway/24"
}

serves() { bin/kumo status --pid-file "$RUN/kumo.pid"; }
serves_or_died() { serves || gone kumo; }

# server starts kumo serve in a session of its own, unless it runs already.
server() {
	if remembered kumo >/dev/null; then
		wait_for 60 serves || die "kumo runs as process $(remembered kumo) but does not serve; see make logs, or begin anew: make down run"
		say "server: runs already as process $(remembered kumo)"
		local runs built
		runs=$(bin/kumo status --pid-file "$RUN/kumo.pid" | awk '$1 == "version" {print $2}')
		built=$(cat .cache/version)
		[ "$runs" = "$built" ] || say "server: it is of version $runs, built is now $built; make down run takes the new one"
		return
	fi
	if [ ! -d "$STORAGE" ]; then
		# QEMU runs as a user of its own and must reach the disks in here.
		install -d -m 755 "$(dirname "$STORAGE")" "$STORAGE"
		: >"$STORAGE/$STORAGE_MARK"
	fi
	mkdir -p "$RUN/data"
	# A list of folders in JSON is YAML, too. The image store reads files from here.
	printf 'plugin-settings: {"imagestore": {"fileFolders": "%s"}}\n' "$CACHE/guest" >"$RUN/config.yaml"
	setsid bin/kumo serve --config "$RUN/config.yaml" --listen "$LISTEN" --data-dir "$RUN/data" --plugin-dir "$ROOT/bin/plugins" \
		--plugins kvm,localstorage,imagestore,flat,vlan,securitygroup </dev/null >>"$RUN/kumo.log" 2>&1 8>&- &
	remember kumo $!
	echo $! >"$RUN/kumo.pid"
	wait_for 60 serves_or_died || die "the server does not serve after 60 s; see $RUN/kumo.log"
	if gone kumo; then
		tail -n 5 "$RUN/kumo.log" >&2
		die "the server ended at once; its log is $RUN/kumo.log"
	fi
	say "server: serves, process $(remembered kumo)"
}

user_data() {
	cat <<-'X'
		#!/bin/sh
		echo "guest: user data says hello"
	X
}

cloud() {
	user_data >"$RUN/user-data"
	bin/kumo quickstart --image "$CACHE/guest/guest.qcow2" --interface "$UPLINK" --network "$NETWORK" \
		--primary-storage "$STORAGE/primary" --image-store "$STORAGE/images" --user-data "$RUN/user-data" >"$RUN/vm.new"
	# Everybody on this machine reaches its services: accounts may name them, too.
	if [ ! -e "$RUN/vm" ] && [[ $LISTEN == 127.* ]]; then
		bin/kumo setting update --category outbound --name allowedNetworks --value 127.0.0.0/8 >/dev/null
	fi
	mv "$RUN/vm.new" "$RUN/vm"
}

answers_ping() { ping -n -c 1 -W 1 "$1"; }

# hello waits until the guest is up: its console says so, with the address that
# it got by DHCP, and it answers a ping.
hello() {
	local name uuid ip
	read -r name uuid ip <"$RUN/vm"
	wait_for 180 console_says "$uuid" "^guest: up $name " || {
		console_tail "$uuid" >&2
		die "VM $name did not come up within 180 s; above is the end of its console"
	}
	console_says "$uuid" "^guest: address .* $ip/" || die "VM $name is up, but got another address than $ip; see its console"
	grep -qs " $ip " "$STATE"/hostd/dhcp/*/leases || die "VM $name is up, but the DHCP server on this host has no lease for $ip"
	wait_for 30 answers_ping "$ip" || die "VM $name is up, but $ip does not answer a ping"
	say "VM $name: up, got $ip by DHCP, answers a ping"
}

main() {
	need_root "make run"
	mkdir -p "$RUN"
	exec 8>"$RUN/lock"
	flock -n 8 || die "another make run or make down is at work here"
	stage "packages" .make/deps.sh run
	stage "build" make build
	stage "guest image" .make/guest-image.sh
	stage "libvirtd" .make/libvirtd.sh up
	note_before
	stage "network card" uplink
	stage "server" server
	stage "cloud" cloud
	stage "VM hello" hello
	local name uuid ip secret=password
	[ -z "${KUMO_ADMIN_PASSWORD:-}" ] || secret="as in KUMO_ADMIN_PASSWORD"
	read -r name uuid ip <"$RUN/vm"
	printf '\n'
	printf '%s\n' "${took[@]}"
	printf '%-26s %6s s\n\n' "all" "$(seconds_since "$total")"
	cat <<-X
		API      $KUMO_SERVER/zstack/v1
		account  admin, password $secret
		VM       $name, $ip ($uuid)

		Try      bin/kumo vm ls        virsh console $uuid
		         make logs             make down
	X
}

main "$@"
