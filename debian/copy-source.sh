#!/bin/sh
# copy-source.sh DIRECTORY: copy what packages are built from, with the built front end and seccomp filter.
set -eu
mkdir -p "$1"
target=$(cd "$1" && pwd)
cd -- "$(dirname -- "$0")/.."
tar -c --exclude=node_modules --exclude=__pycache__ apparmor appliance debian docs haproxy nginx rpm selinux-policy units \
  requirements.lock requirements-build.lock LICENSE NEWS.md README.md | tar -x -C "$target"
