#!/bin/sh
# disks.sh ROOT.tar HERE FILE KEY: write the root and two empty file systems to disks (see build.sh).
# mke2fs takes files as they are in a directory, so that nothing has to be mounted; as root, or as what looks like it.
set -eu
tar=$1 here=$2 out=$3 key=$4
# The permanent disk has room for permalink.max_database_bytes (10 GiB) and the quotas of others. Files are only as large
# as what is in them.
SYSTEM_MIB=8192 DATA_MIB=16384 SCRATCH_MIB=4096
# partitions of the system's disk, in MiB from its beginning; the root is the last and ends a MiB before the disk does
ESP_AT=1 ROOT_AT=257
work=$(mktemp -d /var/tmp/cell-disks.XXXXXXXX)
trap 'rm -rf -- "$work"' EXIT
mkdir "$work/root"
# devices are made by the running system
tar -x --numeric-owner --same-permissions --xattrs --xattrs-include='*' --exclude='./dev/*' -C "$work/root" -f "$tar"
mkdir -p "$(dirname -- "$out")"

# Debian's signed loader, where firmware looks on a disk it does not know; what it looks for is built into it.
esp=$work/esp
truncate -s "$((ROOT_AT - ESP_AT))M" "$esp"
mkfs.vfat -F 32 -n CELLS-ESP "$esp" >/dev/null
mmd -i "$esp" ::/EFI ::/EFI/BOOT ::/EFI/debian
mcopy -i "$esp" "$work/root/usr/lib/shim/shimx64.efi.signed" ::/EFI/BOOT/BOOTX64.EFI
mcopy -i "$esp" "$work/root/usr/lib/shim/mmx64.efi.signed" ::/EFI/BOOT/mmx64.efi
mcopy -i "$esp" "$work/root/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed" ::/EFI/BOOT/grubx64.efi
mcopy -i "$esp" "$here/esp-grub.cfg" ::/EFI/debian/grub.cfg
# sshd reads it there (tree/etc/ssh/sshd_config.d/cell-image.conf)
[ -z "$key" ] || mcopy -i "$esp" "$key" ::/authorized_keys

disk=$work/system.raw
truncate -s "${SYSTEM_MIB}M" "$disk"
sfdisk --quiet "$disk" <<TABLE
label: gpt
start=${ESP_AT}MiB, size=$((ROOT_AT - ESP_AT))MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=cells-esp
start=${ROOT_AT}MiB, size=$((SYSTEM_MIB - ROOT_AT - 1))MiB, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name=cells-root
TABLE
dd if="$esp" of="$disk" bs=1M seek="$ESP_AT" conv=notrunc,sparse status=none
mke2fs -q -F -t ext4 -L cells-root -E "offset=$((ROOT_AT * 1048576)),root_owner=0:0" -d "$work/root" "$disk" \
  "$((SYSTEM_MIB - ROOT_AT - 1))M"
rm -rf "$work/root" "$esp"

# Whole disks without partitions: they grow by growing.
for name in data scratch; do
  size=$DATA_MIB
  [ "$name" = data ] || size=$SCRATCH_MIB
  truncate -s "${size}M" "$work/$name.raw"
  mke2fs -q -F -t ext4 -O quota -E quotatype=usrquota -m 0 -L "cells-$name" "$work/$name.raw"
done

suffix=${out##*.} stem=${out%.*}
for name in system data scratch; do
  target=$stem-$name.$suffix
  [ "$name" != system ] || target=$out
  case $suffix in
    raw) mv "$work/$name.raw" "$target" ;;
    qcow2) qemu-img convert -q -c -O qcow2 -o compression_type=zstd "$work/$name.raw" "$target" ;;
    *) qemu-img convert -q -O "$suffix" "$work/$name.raw" "$target" ;;
  esac
  echo "$target"
done
