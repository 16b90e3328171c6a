#!/bin/sh
# python-trees.sh DIRECTORY: make the two Python trees of the packages in DIRECTORY, from the locks, each file checked
# by its hash: DIRECTORY/roles for web, pool, permalinks and cellctl; DIRECTORY/environments/NAME for kernels.
# Does nothing where DIRECTORY already holds the trees of these locks.
# They are relocated virtual environments: links to the system's interpreter, a pyvenv.cfg, site-packages, no scripts.
set -eu
trees=$1
python=${PYTHON:-/usr/bin/python3}
prefix=/usr/lib/cell-appliance
cd -- "$(dirname -- "$0")/.."

stamp=$({ cat debian/python-trees.sh requirements-build.lock requirements.lock appliance/environments/*/requirements.lock
  "$python" -VV; } | sha256sum)
if [ "$(cat "$trees/stamp" 2>/dev/null)" = "$stamp" ]; then exit 0; fi
rm -rf "$trees"
mkdir -p "$trees/environments"

# tree DIRECTORY LOCK FINAL_PATH
tree() {
  "$python" -m venv "$1"
  "$1/bin/python" -m pip install --disable-pip-version-check --no-input --no-compile --quiet --require-hashes \
    --only-binary :all: -r requirements-build.lock
  "$1/bin/python" -m pip install --disable-pip-version-check --no-input --no-compile --quiet --require-hashes \
    --no-build-isolation -r "$2"
  # What only builds is not shipped, nor are scripts: their first line would name this directory.
  "$1/bin/python" -m pip uninstall --disable-pip-version-check --yes --quiet setuptools pip
  find "$1/bin" -mindepth 1 ! -name 'python*' -delete
  # Nor are extensions of JupyterLab and manual pages: nothing here reads them.
  rm -rf "${1:?}/include" "${1:?}/lib64" "${1:?}/share" "${1:?}/etc"
  find "$1/lib" -name '*.so*' -type f -exec chmod a-x {} +
  version=$("$python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])')
  printf 'home = /usr/bin\ninclude-system-site-packages = false\nversion = %s\n' "$version" >"$1/pyvenv.cfg"
  ln -sfn /usr/bin/python3 "$1/bin/python3"
  ln -sfn python3 "$1/bin/python"
  find "$1/bin" -name 'python3.*' -delete
  # Nobody may write here later, so the modules are compiled now; with no times in them the result is reproducible.
  find "$1" -name __pycache__ -prune -exec rm -rf {} +
  "$python" -m compileall -q -j 0 -s "$1" -p "$3" --invalidation-mode unchecked-hash "$1/lib"
}

tree "$trees/roles" requirements.lock "$prefix"
for lock in appliance/environments/*/requirements.lock; do
  name=$(basename "$(dirname "$lock")")
  tree "$trees/environments/$name" "$lock" "$prefix/environments/$name"
done
printf '%s\n' "$stamp" >"$trees/stamp"
