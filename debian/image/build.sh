#!/bin/sh
# build.sh PACKAGES FILE [KEY]: make the disks of a machine that runs the appliance: FILE with the system, FILE-data and
# FILE-scratch (before FILE's suffix, which names the format: .raw .qcow2 .vmdk .vhdx .vdi). PACKAGES: a directory with our
# Debian package. The release of Debian is that of this machine, whose Python the package asks for; so is the mirror.
# As root, or as a user who has subordinate ids. No loop device and no mount of a disk is needed.
# KEY: a file with the public keys of administrators. CELL_ARCHIVES=DIRECTORY keeps what was downloaded for the next time.
set -eu
umask 022
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
packages=$(cd "$1" && pwd) out=$2 key=${3:-}

# shellcheck source=/dev/null
. /etc/os-release
if [ "$ID" != debian ] || [ "$(dpkg --print-architecture)" != amd64 ]; then
  echo "build.sh: an image of Debian is made on Debian, on amd64; this is $ID" >&2
  exit 1
fi
case $out in
  *.raw | *.qcow2 | *.vmdk | *.vhdx | *.vdi) ;;
  *) echo "build.sh: $out: the name must end in .raw, .qcow2, .vmdk, .vhdx or .vdi" >&2; exit 1 ;;
esac
if [ -n "$key" ] && ! ssh-keygen -l -f "$key" >/dev/null 2>&1; then
  echo "build.sh: $key: no public key of ssh is in it" >&2
  exit 1
fi
set -- "$packages"/cell-appliance_*.deb
if [ $# -ne 1 ] || [ ! -f "$1" ]; then echo "build.sh: one cell-appliance_*.deb must be in $packages" >&2; exit 1; fi

# uris NAME: the first mirror of this machine whose address ends in NAME
uris() {
  { cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null || true; } |
    sed -n "s/^URIs: *\([^ ]*$1\)\/* *\$/\1/p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*$1\)\/* .*/\2/p" | head -n 1
}
mirror=$(uris '\/debian') security=$(uris '\/debian-security')
mirror=${mirror:-http://deb.debian.org/debian} security=${security:-http://deb.debian.org/debian-security}

work=$(mktemp -d /var/tmp/cell-image.XXXXXXXX)
trap 'rm -rf -- "$work"' EXIT
chmod 755 "$work"
archives=${CELL_ARCHIVES:-$work/archives}
mkdir -p "$archives/partial"
tar -c --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -C "$here/tree" -f "$work/tree.tar" .
list() { tr '\n' ',' <"$here/packages" | sed 's/#[^,]*//g; s/,,*/,/g; s/^,//; s/,$//'; }

# dpkg need not wait for the disk: a half-made root is thrown away. Our files come before the packages, which then find the
# configuration of the initial file system.
# shellcheck disable=SC2016 # mmdebstrap gives the hooks their own $1
mmdebstrap --quiet --variant=minbase --format=tar --dpkgopt=force-unsafe-io \
  --setup-hook='mkdir -p "$1/var/cache/apt/archives"' --setup-hook="sync-in '$archives' /var/cache/apt/archives" \
  --essential-hook="tar-in '$work/tree.tar' /" \
  --customize-hook="copy-in '$packages/$(basename "$1")' /root" \
  --customize-hook="'$here/customize.sh' \"\$1\" '$here' $VERSION_CODENAME" \
  --customize-hook="sync-out /var/cache/apt/archives '$archives'" --skip=download/empty,essential/unlink \
  --include="$(list)" "$VERSION_CODENAME" "$work/root.tar" \
  "deb $mirror $VERSION_CODENAME main" "deb $mirror $VERSION_CODENAME-updates main" \
  "deb $security $VERSION_CODENAME-security main"

set -- "$here/disks.sh" "$work/root.tar" "$here" "$out" "$key"
if [ "$(id -u)" -ne 0 ]; then set -- unshare --map-auto --map-root-user "$@"; fi
"$@"
