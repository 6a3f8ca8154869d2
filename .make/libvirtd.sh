#!/usr/bin/env bash
# libvirtd.sh up|down : sees to it that libvirtd answers on its socket, and ends
# exactly what "up" had to start. With systemd it uses the units, elsewhere it
# starts virtlogd and libvirtd itself.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

units=(libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket virtlogd.service virtlogd.socket virtlogd-admin.socket)

answers() { timeout 10 virsh -q -c qemu:///system uri; }

# running PROGRAM is true when a process of that name lives on this machine, in
# whatever way it was started; those in other namespaces serve other machines.
running() { pgrep -x --ns $$ --nslist mnt,net "$1" >/dev/null; }

# launch NAME ARGS... starts a daemon in a session of its own and notes it. It
# must not inherit the lock that run.sh holds open as 8.
#
# libvirtd asks short-lived QEMU daemons what they can, and waits until each is
# gone from the process table. A first process that takes 2 s to reap orphans
# made the definition of one guest last 76 s; tini as their subreaper takes
# them away at once.
launch() {
	local name=$1
	mkdir -p "$RUN/log"
	setsid tini -s -- "$@" </dev/null >>"$RUN/log/$name.log" 2>&1 8>&- &
	remember "$name" $!
}

# open_kvm gives /dev/kvm to the group kvm, as udev would, and notes what it was.
# libvirt asks QEMU as root but looks at the device as QEMU's user; when the two
# differ it forgets what QEMU can and asks again at every step: a guest's
# definition took 12 s instead of 0.02 s.
open_kvm() {
	[ -c /dev/kvm ] && getent group kvm >/dev/null || return 0
	[ "$(stat -c %G:%a /dev/kvm)" != kvm:660 ] || return 0
	[ -f "$STARTED/kvm-device" ] || stat -c '%u:%g %a' /dev/kvm >"$STARTED/kvm-device"
	chgrp kvm /dev/kvm
	chmod 660 /dev/kvm
}

close_kvm() {
	local owner mode
	[ -f "$STARTED/kvm-device" ] || return 0
	read -r owner mode <"$STARTED/kvm-device"
	if [ -c /dev/kvm ]; then
		chown "$owner" /dev/kvm
		chmod "$mode" /dev/kvm
	fi
	rm -f "$STARTED/kvm-device"
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
		mkdir -p /run/libvirt "$STARTED"
		open_kvm
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
	close_kvm
}

case ${1:-} in
up) up ;;
down) down ;;
*) die "usage: libvirtd.sh up|down" ;;
esac
