#!/bin/sh
# install-tree.sh DESTDIR UNITDIR TREES: lay out everything that the packages hold, for debian/rules and the RPM spec.
# TREES was made by python-trees.sh. The front end and the seccomp filter must have been built.
set -eu
dest=$1 unitdir=$2 trees=$3
python=${PYTHON:-/usr/bin/python3}
cd -- "$(dirname -- "$0")/.."
library=usr/lib/cell-appliance
share=usr/share/cell-appliance

for input in appliance/frontend/dist/embedded_cell.js appliance/zygote/seccomp.bpf appliance/zygote/seccomp-without-cgroup.bpf; do
  [ -s "$input" ] || { echo "$input is missing: build it first (./dev build)" >&2; exit 1; }
done

mkdir -p "$dest/usr/lib" "$dest/$share"
cp -a "$trees/roles" "$dest/$library"
cp -a "$trees/environments" "$dest/$library/environments"

# The package itself, without what is built from it or tells how to build.
site=$(echo "$dest/$library"/lib/python3*/site-packages)
find appliance \( -path appliance/frontend -o -path appliance/environments -o -name __pycache__ \) -prune -o -type f -print |
  while read -r file; do install -D -m 644 "$file" "$site/$file"; done
# Environments that administrators may add by their names.
for declaration in appliance/environments/*/environment.toml; do
  install -D -m 644 -t "$site/$(dirname "$declaration")" "$declaration" "$(dirname "$declaration")/requirements.lock"
done
PYTHONHASHSEED=0 "$python" -m compileall -q -s "$dest" -p / --invalidation-mode unchecked-hash "$site/appliance"

# With a compressed file (.br, .gz) beside each text, which nginx and the web role send as they are.
cp -R appliance/frontend/dist "$dest/$share/static"
install -D -m 755 -t "$dest/$library/libexec" units/libexec/*
install -D -m 755 units/cellctl "$dest/usr/bin/cellctl"
install -D -m 644 docs/manual/cellctl.bash "$dest/usr/share/bash-completion/completions/cellctl"
install -D -m 644 docs/manual/cellctl.zsh "$dest/usr/share/zsh/vendor-completions/_cellctl"

install -D -m 644 -t "$dest/$unitdir" units/cell*.service units/cell*.socket units/cell*.target units/cell*.slice units/cell*.timer
install -D -m 755 units/cell-appliance-generator "$dest/usr/lib/systemd/system-generators/cell-appliance-generator"
install -D -m 644 units/90-cell-appliance.preset "$dest/usr/lib/systemd/system-preset/90-cell-appliance.preset"
install -D -m 644 units/cell-appliance.sysusers.conf "$dest/usr/lib/sysusers.d/cell-appliance.conf"
install -D -m 644 units/cell-appliance.tmpfiles.conf "$dest/usr/lib/tmpfiles.d/cell-appliance.conf"

install -D -m 644 units/appliance.toml "$dest/etc/cell-appliance/appliance.toml"
install -D -m 644 -t "$dest/etc/cell-appliance/nginx" nginx/*.conf
install -D -m 644 -t "$dest/etc/cell-appliance/haproxy" haproxy/haproxy.cfg
install -D -m 644 -t "$dest/$share" haproxy/edge.env nginx/maintenance.html
install -D -m 644 -t "$dest/$share/haproxy" haproxy/nodes.cfg haproxy/nodes.env
install -D -m 644 units/edge/cell-web.socket.conf "$dest/$share/edge/cell-web.socket.conf"
find "$dest/$share" -type d -exec chmod 755 {} +
find "$dest/$share" -type f -exec chmod 644 {} +
