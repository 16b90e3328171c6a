#!/bin/sh
# build.sh OUT: build the RPMs in OUT, from this checkout, and leave the checkout as it is.
# Needs: rpm (rpmbuild), python3 with venv and headers, gcc, pkgconf, systemd's headers, selinux-policy-devel.
# CELL_TREES=DIRECTORY: Python trees made before by debian/python-trees.sh. CELL_PAYLOAD=w1.gzdio: faster, larger.
set -eu
out=$(mkdir -p "$1" && cd "$1" && pwd)
cd -- "$(dirname -- "$0")/.."
version=$(sed -n 's/^Version: *//p' rpm/cell-appliance.spec)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
debian/copy-source.sh "$work/cell-appliance-$version"
tar -c -C "$work" -f "$work/cell-appliance-$version.tar" "cell-appliance-$version"
# The scriptlet that makes accounts carries them with it, since it runs before any file is there.
sed -e '/^@ACCOUNTS@$/{r units/cell-appliance.sysusers.conf' -e 'd}' rpm/cell-appliance.spec >"$work/cell-appliance.spec"
set -- --quiet -bb --define "_topdir $work/top" --define "_sourcedir $work" --define "_rpmdir $out" \
  --define "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm"
if ! rpm --eval '%{_unitdir}' | grep -q '^/'; then set -- "$@" --load rpm/macros.debian --nodeps; fi
if [ -n "${CELL_TREES:-}" ]; then set -- "$@" --define "cell_trees $CELL_TREES"; fi
if [ -n "${CELL_PAYLOAD:-}" ]; then set -- "$@" --define "cell_payload $CELL_PAYLOAD"; fi
rpmbuild "$@" "$work/cell-appliance.spec" >"$work/log" 2>&1 || { tail -n 60 "$work/log" >&2; exit 1; }
