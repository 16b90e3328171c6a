#!/bin/sh
# build.sh OUT: build the Debian packages in OUT, from this checkout, and leave the checkout as it is.
# Needs: debhelper dpkg-dev python3-venv python3-dev gcc pkgconf libsystemd-dev selinux-policy-dev.
# CELL_TREES=DIRECTORY keeps the Python trees there between builds.
set -eu
out=$(mkdir -p "$1" && cd "$1" && pwd)
cd -- "$(dirname -- "$0")/.."
version=$(sed -n '1s/.*(\(.*\)).*/\1/p' debian/changelog)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source=$work/cell-appliance-$version
debian/copy-source.sh "$source"
cd "$source"
dpkg-buildpackage --build=binary --no-sign --no-check-builddeps --buildinfo-file="$work/buildinfo" \
  --changes-file="$work/changes" >"$work/log" 2>&1 || { tail -n 60 "$work/log" >&2; exit 1; }
mv "$work"/*.deb "$out"
