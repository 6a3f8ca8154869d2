#!/usr/bin/env bash
# guest-image.sh [--check] : makes the tiny guest that Kumo boots as its first VM
# and in its tests: Debian's cloud kernel, a static busybox and .make/guest/init.
# Writes into .cache/guest:
#   guest.qcow2         a bootable BIOS disk: one FAT file system with syslinux
#   vmlinuz initrd.img  the same, for booting without a disk
#   recipe              what the three were made from; equal: nothing is done
# --check boots the disk once in plain QEMU and waits for its console.
# Nothing is installed into this machine's /boot and nothing is mounted.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

OUT=$CACHE/guest
SOURCE=$ROOT/.make/guest
DISK_MIB=64
# What a virtual machine can have, and what the boot counter needs.
MODULES="virtio_pci virtio_blk virtio_net virtio_scsi virtio_balloon virtio-rng virtio_console sd_mod ata_piix pvpanic-mmio button evdev vfat nls_ascii nls_cp437"

recipe() { cat "${BASH_SOURCE[0]}" "$SOURCE"/* | sha256sum | cut -d' ' -f1; }

# unpack PACKAGE... puts the files of Debian packages into the work folder.
unpack() {
	local p
	for p; do
		(cd "$WORK/deb" && apt-get download -q -o APT::Sandbox::User=root "$p" </dev/null >/dev/null) ||
			return 1
		dpkg -x "$WORK/deb/$p"_*.deb "$WORK/debian"
	done
}

kernel_package() { apt-cache depends --important linux-image-cloud-amd64 2>/dev/null | awk '$1 == "Depends:" && $2 ~ /^linux-image-/ {print $2; exit}'; }

fetch_parts() {
	if [ -z "$(kernel_package)" ] || ! unpack busybox-static "$(kernel_package)"; then
		apt-get update -q </dev/null >/dev/null # no lists yet, or older than the archive
		rm -rf "$WORK/deb" "$WORK/debian"
		mkdir -p "$WORK/deb" "$WORK/debian"
		unpack busybox-static "$(kernel_package)" || die "guest image: Debian's packages busybox-static and linux-image-cloud-amd64 cannot be fetched; check the apt sources and the network"
	fi
}

# make_initrd packs busybox, the modules with all that they depend on, and init.
make_initrd() {
	local debian=$WORK/debian root=$WORK/root version file m
	version=$(basename "$debian"/lib/modules/*)
	mkdir -p "$root"/{bin,sbin,etc/acpi/PWRF,proc,sys,dev,run,tmp,lib/modules/"$version"}
	cp "$debian/bin/busybox" "$root/bin/busybox"
	depmod -b "$debian" "$version"
	for m in $MODULES; do
		modprobe -d "$debian" -S "$version" --show-depends "$m" | awk '$1 == "insmod" {print $2}'
	done | sort -u | while read -r file; do
		install -D -m 644 "$file" "$root/${file#"$debian/"}"
	done
	cp "$debian/lib/modules/$version"/modules.{order,builtin,builtin.modinfo} "$root/lib/modules/$version/"
	depmod -b "$root" "$version"
	echo "$MODULES" >"$root/etc/modules"
	echo 'root::0:0:root:/:/bin/sh' >"$root/etc/passwd"
	install -m 755 "$SOURCE/init" "$root/init"
	install -m 755 "$SOURCE/udhcpc.script" "$root/etc/udhcpc.script"
	install -m 755 "$SOURCE/power-button" "$root/etc/acpi/PWRF/00000080"
	(cd "$root" && find . -print0 | sort -z | cpio --null --quiet -o -H newc --owner 0:0 --reproducible) | gzip -n -6 >"$WORK/initrd.img"
	cp "$debian"/boot/vmlinuz-* "$WORK/vmlinuz"
}

# make_disk writes a FAT file system over the whole disk, without partitions: the
# BIOS starts its first sector, which is syslinux's. The kernel does not check
# its timer (no_timer_check): an emulated processor on a busy machine may miss
# the ticks it waits for, and the kernel would give up.
make_disk() {
	local raw=$WORK/disk.raw
	truncate -s "${DISK_MIB}M" "$raw"
	mformat -i "$raw" -v KUMOGUEST -T $((DISK_MIB * 2048)) -h 16 -s 63 ::
	cat >"$WORK/syslinux.cfg" <<-CFG
		SERIAL 0 115200
		DEFAULT guest
		PROMPT 0
		LABEL guest
		  KERNEL vmlinuz
		  INITRD initrd.img
		  APPEND console=tty0 console=ttyS0 quiet no_timer_check
	CFG
	mcopy -i "$raw" "$WORK/vmlinuz" "$WORK/initrd.img" "$WORK/syslinux.cfg" ::
	syslinux --install "$raw"
	qemu-img convert -c -f raw -O qcow2 "$raw" "$WORK/guest.qcow2"
}

check() {
	local log=$OUT/check.log overlay=$OUT/check.qcow2 began pid
	rm -f "$log" "$overlay"
	qemu-img create -q -f qcow2 -F qcow2 -b "$OUT/guest.qcow2" "$overlay"
	began=$(now_ms)
	qemu-system-x86_64 -M pc -accel "${QEMU_ACCEL:-tcg}" -m 128 -nodefaults -display none -no-reboot \
		-serial "file:$log" -drive "file=$overlay,if=virtio,format=qcow2" \
		-netdev user,id=n -device virtio-net-pci,netdev=n </dev/null >"$OUT/check.qemu" 2>&1 &
	pid=$!
	wait_for 120 grep -aq '^guest: up ' "$log" || {
		kill "$pid"
		tail -n 20 "$log" >&2
		die "guest image: the guest did not come up within 120 s"
	}
	say "guest image: up $(seconds_since "$began") s after the start of QEMU"
	grep -a '^guest: ' "$log"
	kill "$pid"
	wait "$pid" 2>/dev/null || true
	rm -f "$overlay"
}

main() {
	local began
	[ "$(uname -m)" = x86_64 ] || die "guest image: made for x86_64 only, this machine is $(uname -m)"
	mkdir -p "$OUT"
	exec 9>"$OUT/lock"
	flock 9 # tests of several packages may want the image at once
	if [ "$(cat "$OUT/recipe" 2>/dev/null)" = "$(recipe)" ]; then
		say "guest image: $OUT/guest.qcow2 is up to date"
	else
		began=$(now_ms)
		WORK=$(mktemp -d)
		trap 'rm -rf "$WORK"' EXIT
		mkdir -p "$WORK/deb" "$WORK/debian"
		rm -f "$OUT/recipe"
		fetch_parts
		make_initrd
		make_disk
		mv "$WORK"/{guest.qcow2,vmlinuz,initrd.img} "$OUT/"
		chmod 644 "$OUT"/{guest.qcow2,vmlinuz,initrd.img}
		recipe >"$OUT/recipe"
		say "guest image: $OUT/guest.qcow2, $(($(stat -c %s "$OUT/guest.qcow2") / 1024)) KiB, made in $(seconds_since "$began") s"
	fi
	[ "${1:-}" != --check ] || check
}

main "$@"
