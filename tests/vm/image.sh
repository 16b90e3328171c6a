#!/bin/sh
# image.sh BASE PACKAGES KERNEL TESTS OUT: make in OUT a disk, a kernel and an initial file system that QEMU boots.
# BASE: a Debian root that rootfs.sh made, with SELinux's policy; it is left as it is. PACKAGES: a directory with our
# packages. KERNEL: a linux-image package. TESTS: a tree that becomes /opt/tests in the guest.
#
# Policy module and labels are made here, at the host's speed, whether or not the host's own kernel runs SELinux: setfiles
# writes the extended attributes, and mke2fs -d takes them along. No loop device and no mount of the disk is needed.
set -eu
base=$1 packages=$2 kernel=$3 tests=$4 out=$5
mkdir -p "$out"
root=$out/root
rm -rf "$root" "$out/kernel" "$out/initrd"
cp -a --reflink=auto "$base" "$root"

# Our packages, as an administrator installs them. Nothing is started: there is no systemd in a chroot.
cp "$packages"/cell-appliance*.deb "$root/root/"
chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  sh -c 'dpkg --force-unsafe-io --install /root/cell-appliance*.deb'
rm "$root"/root/*.deb
mkdir -p "$root/opt"
cp -R "$tests" "$root/opt/tests"

# The kernel is taken out of its package: no boot loader, no initramfs-tools. Modules: what the guest's devices, the
# sandbox, the doctor's trials and, as controls, attacks on pieces of the kernel need.
dpkg-deb -x "$kernel" "$out/kernel"
version=$(ls "$out/kernel/lib/modules")
cp "$out/kernel/boot/vmlinuz-$version" "$out/vmlinuz"
modules=$root/usr/lib/modules/$version
mkdir -p "$modules"
(
  cd "$out/kernel/lib/modules/$version"
  cp -a --parents kernel/drivers/virtio kernel/drivers/block/virtio_blk.ko kernel/drivers/net/virtio_net.ko \
    kernel/drivers/net/net_failover.ko kernel/net/core kernel/drivers/char/hw_random kernel/fs/overlayfs \
    kernel/lib/libcrc32c.ko kernel/net/netfilter/nfnetlink.ko kernel/net/netfilter/nf_tables.ko kernel/net/vmw_vsock \
    modules.order modules.builtin modules.builtin.modinfo "$modules"
)
chroot "$root" /sbin/depmod "$version"

# A guest that only its own key opens, with a fixed address on QEMU's network.
[ -f "$out/key" ] || ssh-keygen -q -t ed25519 -N '' -f "$out/key"
install -d -m 700 "$root/root/.ssh"
install -m 600 "$out/key.pub" "$root/root/.ssh/authorized_keys"
printf 'PermitRootLogin prohibit-password\nUseDNS no\n' >"$root/etc/ssh/sshd_config.d/guest.conf"
printf '[Match]\nName=eth0\n[Network]\nDHCP=no\nAddress=10.0.2.15/24\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n' \
  >"$root/etc/systemd/network/10-guest.network"
chroot "$root" systemctl enable --quiet systemd-networkd.service
chroot "$root" systemctl mask --quiet apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
  fstrim.timer systemd-networkd-wait-online.service
echo guest >"$root/etc/hostname"
printf '127.0.0.1 localhost guest\n' >"$root/etc/hosts"
echo '/dev/vda / ext4 rw,noatime 0 0' >"$root/etc/fstab"
: >"$root/etc/machine-id"
# An emulated processor is several times slower than what the units are made for.
for unit in cell-web@ cell-pool cell-permalink cell-requestlog cell-egress cell-zygote@; do
  install -d "$root/etc/systemd/system/$unit.service.d"
  printf '[Service]\nTimeoutStartSec=600s\n' >"$root/etc/systemd/system/$unit.service.d/slow.conf"
done
for unit in cell-web@ cell-pool cell-permalink cell-requestlog cell-egress; do
  printf 'WatchdogSec=180s\n' >>"$root/etc/systemd/system/$unit.service.d/slow.conf"
done

# Labels.
sed 's/^SELINUX=.*/SELINUX=enforcing/' "$root/etc/selinux/config" >"$out/config"
cat "$out/config" >"$root/etc/selinux/config"
# setfiles goes through /proc/self/fd; the /proc vanishes with the mount namespace.
# shellcheck disable=SC2016 # the inner shell expands it
unshare --mount sh -c 'mount -t proc proc "$1/proc" && exec chroot "$1" \
  /sbin/setfiles -F -e /proc /etc/selinux/default/contexts/files/file_contexts /' sh "$root"

# The cloud kernel has ext4 built in and virtio as modules.
initrd=$out/initrd
mkdir -p "$initrd/bin" "$initrd/dev" "$initrd/proc" "$initrd/root"
cp /bin/busybox "$initrd/bin/"
names='virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk'
for name in $names; do
  find "$out/kernel/lib/modules/$version" -name "$name.ko" -exec cp {} "$initrd/" \;
done
cat >"$initrd/init" <<INIT
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for name in $names; do /bin/busybox insmod /\$name.ko; done
while [ ! -b /dev/vda ]; do /bin/busybox sleep 0.1; done
/bin/busybox mount -t ext4 -o rw,noatime /dev/vda /root || exec /bin/busybox sh
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /lib/systemd/systemd
INIT
chmod 755 "$initrd/init"
(cd "$initrd" && find . | cpio --quiet -o -H newc | gzip -1) >"$out/initrd.img"

rm -f "$out/disk.img"
truncate -s 4G "$out/disk.img"
mke2fs -q -F -t ext4 -O '^has_journal,^metadata_csum' -E lazy_itable_init=1 -L root -d "$root" "$out/disk.img"
rm -rf "$root" "$out/kernel" "$initrd" "$out/config"
