#!/usr/bin/env bash
# libvirtd.sh up|down : sees to it that libvirtd answers on its socket, and ends
# exactly what "up" had to start. With systemd it uses the units, elsewhere it
# starts virtlogd and libvirtd itself.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

units=(libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket virtlogd.service virtlogd.socket virtlogd-admin.socket)

answers() { timeout 10 virsh -q -c qemu:///system uri; }

# running PROGRAM is true when a process of that name lives, in whatever way it
# was started. /run's PID files may be stale, so the process table decides.
running() { pgrep -x "$1" >/dev/null; }

# launch NAME ARGS... starts a daemon in a session of its own and notes it. It
# must not inherit the lock that run.sh holds open as 8.
launch() {
	local name=$1
	mkdir -p "$RUN/log"
	setsid "$@" </dev/null >>"$RUN/log/$name.log" 2>&1 8>&- &
	remember "$name" $!
}

up() {
	if answers >/dev/null 2>&1; then
		say "libvirtd: answers already"
		return
	fi
	need_root "starting libvirtd"
	if has_systemd; then
		mkdir -p "$STARTED"
		systemctl start libvirtd.service
		: >"$STARTED/libvirtd.systemd"
	else
		mkdir -p /run/libvirt
		running virtlogd || launch virtlogd
		running libvirtd || launch libvirtd
	fi
	wait_for 60 answers || die "libvirtd does not answer after 60 s; see $RUN/log/libvirtd.log or the journal of libvirtd.service"
	say "libvirtd: started"
}

# end_networks stops the virtual networks that our libvirtd brought up by
# itself (those marked autostart): it leaves their bridges behind when it ends.
end_networks() {
	local net
	virsh -q -c qemu:///system net-list --name 2>/dev/null | while read -r net; do
		[ -z "$net" ] || virsh -q -c qemu:///system net-destroy "$net" >/dev/null || true
	done
}

down() {
	if [ -f "$STARTED/libvirtd.systemd" ]; then
		end_networks
		systemctl stop "${units[@]}" 2>/dev/null || true
		rm -f "$STARTED/libvirtd.systemd"
		say "libvirtd: stopped"
	elif [ -f "$STARTED/libvirtd" ]; then
		gone libvirtd || end_networks
		end libvirtd 20
		say "libvirtd: stopped"
	fi
	[ ! -f "$STARTED/virtlogd" ] || end virtlogd
}

case ${1:-} in
up) up ;;
down) down ;;
*) die "usage: libvirtd.sh up|down" ;;
esac
