# shellcheck shell=bash
# What run.sh and down.sh know of the cloud on this machine: its settings, and
# how to tell what is Kumo's. Source it after lib.sh.

LISTEN=${KUMO_LISTEN:-127.0.0.1:8080}
NETWORK=${KUMO_NETWORK:-172.30.0.0/24}
STATE=/var/lib/kumo # where the host agent keeps its state, on every host
STORAGE=${KUMO_STORAGE:-$STATE/make-run}
STORAGE_MARK=.made-by-make-run
LIBVIRT_LOGS=/var/log/libvirt/qemu
LIBVIRT_NVRAM=/var/lib/libvirt/qemu/nvram
UPLINK=kumo0
UPLINK_ALIAS="kumo make run"
BEFORE=$RUN/before

export KUMO_SERVER=http://$LISTEN
export KUMO_PASSWORD=${KUMO_ADMIN_PASSWORD:-password}
export HOME=${HOME:-/root}

# Each of these prints one name a line: all that there is of a kind, with the
# mark of its maker where the kind has one.
links() { ip -o link show | sed -n 's/^[0-9]*: \([^:@]*\).*/\1/p' | sort; }
namespaces() { ip netns list | awk '{print $1}' | sort; }
tables() { nft list tables | awk '{print $2, $3}' | sort; }
domains() { virsh -q -c qemu:///system list --all --name 2>/dev/null | grep . | sort || true; }

guest_logs() { find "$LIBVIRT_LOGS" -maxdepth 1 -type f -printf '%f\n' 2>/dev/null | grep -E '^[0-9a-f]{32}(-console)?\.log$' | sort || true; }
guest_nvram() { find "$LIBVIRT_NVRAM" -maxdepth 1 -type f -printf '%f\n' 2>/dev/null | grep -E '^[0-9a-f]{32}_VARS\.fd$' | sort || true; }

# new KIND prints what is there now of a kind and was not before the first run.
new() {
	[ -f "$BEFORE/$1" ] || return 0
	comm -13 "$BEFORE/$1" <("$1")
}

# DOMAIN_MARK is in the XML of each guest that Kumo's KVM plugin defined.
DOMAIN_MARK=kumo-cloud.github.io/xmlns/guest

console_log() { printf '%s/%s-console.log' "$LIBVIRT_LOGS" "$1"; }

# console_says UUID PATTERN looks at what the guest wrote since its last start,
# which begins with the boot loader's line.
console_says() { tac "$(console_log "$1")" 2>/dev/null | sed '/SYSLINUX /q' | grep -aE "$2" >/dev/null; }
console_tail() { tail -n 20 "$(console_log "$1")" 2>/dev/null || echo "no console log $(console_log "$1")"; }
