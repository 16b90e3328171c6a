#!/bin/sh
# customize.sh ROOT HERE RELEASE: make a machine of a Debian root that has the packages: run by mmdebstrap.
set -eu
root=$1 here=$2 release=$3

in_root() {
  chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# The appliance, as an administrator installs it, with its edge (docs/install.md).
in_root sh -c 'dpkg --force-unsafe-io --install /root/cell-appliance_*.deb && rm /root/cell-appliance_*.deb'
in_root install -D -m 644 /usr/share/cell-appliance/edge/cell-web.socket.conf \
  /etc/systemd/system/cell-web.socket.d/edge.conf
in_root sed -i 's/^proxy_protocol = false/proxy_protocol = true/' /etc/cell-appliance/appliance.toml
in_root systemctl --quiet disable nginx.service haproxy.service
in_root systemctl --quiet enable cell.target cell-edge.target

in_root systemctl --quiet enable systemd-networkd.service systemd-resolved.service systemd-timesyncd.service \
  systemd-oomd.service nftables.service ssh.service unattended-upgrades.service image-disk@data.service \
  image-disk@scratch.service image-quotas.service image-ssh-keys.service
# The file systems do their own accounting, which mount turns on; quotaon finds it done and fails.
in_root systemctl --quiet mask quotaon.service quotaon@.service quotacheck.service
mkdir -p "$root/boot/efi" "$root/boot/grub" "$root/srv/data" "$root/srv/scratch"
install -m 644 "$here/grub.cfg" "$root/boot/grub/grub.cfg"
# The loader on the first partition is renewed where the firmware looks for it, whatever it remembers.
echo 'grub-efi-amd64 grub2/force_efi_extra_removable boolean true' | in_root debconf-set-selections
echo 'grub-efi-amd64 grub2/update_nvram boolean false' | in_root debconf-set-selections

# One account for people, without a password.
in_root useradd --create-home --shell /bin/bash --groups sudo,adm,systemd-journal --comment Administrator admin

echo 'LANG=C.UTF-8' >"$root/etc/default/locale"
cat >"$root/etc/apt/sources.list" <<SOURCES
deb http://deb.debian.org/debian $release main
deb http://deb.debian.org/debian $release-updates main
deb http://security.debian.org/debian-security $release-security main
SOURCES
rm -f "$root"/etc/apt/sources.list.d/*

# What one machine is told by from another: each clone makes its own at its first start.
rm -f "$root"/etc/ssh/ssh_host_* "$root/var/lib/systemd/random-seed" "$root/etc/hostname"
: >"$root/etc/machine-id"
ln -sf /etc/machine-id "$root/var/lib/dbus/machine-id"
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' >"$root/etc/hosts"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
find "$root/var/log" -type f -delete
