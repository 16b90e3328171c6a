#!/bin/sh
# rootfs.sh DIRECTORY [PACKAGE,...]: make a bare Debian 12 with systemd, with what the package depends on, and with
# PACKAGE,... in DIRECTORY.
# The packages come from where this machine's own come from; they are kept in DIRECTORY.archives for the next time.
set -eu
root=$1 more=${2:-}
archives=$root.archives
packages=systemd,systemd-sysv,dbus,libnss-systemd,procps,iproute2,python3,libsystemd0,openssl,nginx-light,haproxy
mirror=$(
  { cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null || true; } |
    sed -n 's/^URIs: *\([^ ]*debian\) *$/\1/p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*debian\) .*/\2/p' | head -n 1
)
mkdir -p "$archives/partial"
rm -rf "$root.new"
# Manuals are left out; dpkg need not wait for the disk, since a half-made root is thrown away.
# shellcheck disable=SC2016 # mmdebstrap gives the hooks their own $1
mmdebstrap --quiet --variant=minbase --dpkgopt=force-unsafe-io \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --setup-hook='mkdir -p "$1/var/cache/apt/archives"' --setup-hook="sync-in $archives /var/cache/apt/archives" \
  --customize-hook="sync-out /var/cache/apt/archives $archives" \
  --customize-hook='chroot "$1" systemctl disable --quiet nginx.service haproxy.service e2scrub_reap.service' \
  --customize-hook='rm -f "$1/etc/hostname" "$1/etc/resolv.conf"' --skip=download/empty,essential/unlink \
  --include="$packages${more:+,$more}" bookworm "$root.new" "$mirror"
rm -rf "$root"
mv "$root.new" "$root"
