#!/usr/bin/env bash
# deps.sh run|test : installs the Debian packages that are missing, after it has
# said which. No service is started by the installation.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

RUN_PACKAGES=(
	ca-certificates       # images from https addresses
	libvirt-daemon-system # libvirtd and virtlogd
	libvirt-clients       # virsh, with which make down looks for what is left
	qemu-system-x86       # guests; emulates where the processor cannot help
	qemu-utils            # qemu-img
	ovmf                  # firmware of guests that boot by UEFI
	dnsmasq-base          # DHCP and DNS of the flat network
	nftables iproute2     # the flat network; make down
	iputils-ping procps
	tini # parent of libvirtd where no systemd runs
	mtools syslinux syslinux-common cpio kmod # the guest image
)
TEST_PACKAGES=(
	"${RUN_PACKAGES[@]}"
	mariadb-server # the core's suite on the other database
	busybox-static # plays a guest in tests of networks
	xorriso isolinux # an ISO that boots
	systemd-boot-efi # a disk that boots by UEFI only
	xz-utils bzip2 zstd # compressed images
)

policy=/usr/sbin/policy-rc.d

# forbid_services keeps packages from starting their services while they are
# installed. A policy that the machine already has stays in force as it is.
forbid_services() {
	[ -e "$policy" ] && return
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
}

# known is true when apt's lists name every package given.
known() { apt-cache show --no-all-versions "$@" >/dev/null 2>&1; }

main() {
	local wanted=() missing=() p
	case ${1:-} in
	run) wanted=("${RUN_PACKAGES[@]}") ;;
	test) wanted=("${TEST_PACKAGES[@]}") ;;
	*) die "usage: deps.sh run|test" ;;
	esac
	command -v dpkg-query >/dev/null || die "this machine has no dpkg: Kumo's scripts know Debian 12; install ${wanted[*]} by hand"
	for p in "${wanted[@]}"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
	done
	if [ ${#missing[@]} = 0 ]; then
		say "packages: all ${#wanted[@]} are installed"
		return
	fi
	say "packages: will install ${missing[*]}"
	need_root "installing packages"
	export DEBIAN_FRONTEND=noninteractive
	if ! known "${missing[@]}"; then
		say "packages: fetching the package lists"
		apt-get update -q -o DPkg::Lock::Timeout=600 </dev/null >/dev/null
	fi
	forbid_services
	local log
	log=$(mktemp)
	if ! install "${missing[@]}" >"$log" 2>&1; then
		# Lists that are older than the archive name files that are gone.
		apt-get update -q -o DPkg::Lock::Timeout=600 </dev/null >>"$log" 2>&1 || true
		install "${missing[@]}" >"$log" 2>&1 || {
			tail -n 20 "$log" >&2
			die "apt-get could not install ${missing[*]}; its full output is in $log"
		}
	fi
	rm -f "$log"
	say "packages: installed"
}

install() {
	apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=600 "$@" </dev/null
}

main "$@"
