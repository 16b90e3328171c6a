#!/bin/sh
# python-trees.sh DIRECTORY: make the two Python trees of the packages in DIRECTORY, from the locks, each file checked
# by its hash: DIRECTORY/roles for web, pool, permalinks and cellctl; DIRECTORY/environments/NAME for kernels.
# Does nothing where DIRECTORY already holds the trees of these locks.
# They are relocated virtual environments: links to the system's interpreter, a pyvenv.cfg, site-packages, no scripts.
# Environments keep pip: cells whose profile has an allow-list install with it into their own scratch space.
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

# tree DIRECTORY LOCK FINAL_PATH DISTRIBUTION...: the distributions are those that only build and are not shipped.
tree() {
  directory=$1 lock=$2 final=$3
  shift 3
  "$python" -m venv "$directory"
  "$directory/bin/python" -m pip install --disable-pip-version-check --no-input --no-compile --quiet --require-hashes \
    --only-binary :all: -r requirements-build.lock
  "$directory/bin/python" -m pip install --disable-pip-version-check --no-input --no-compile --quiet --require-hashes \
    --no-build-isolation -r "$lock"
  # What only builds is not shipped, nor are scripts: their first line would name this directory.
  "$directory/bin/python" -m pip uninstall --disable-pip-version-check --yes --quiet "$@"
  find "$directory/bin" -mindepth 1 ! -name 'python*' -delete
  # Nor are extensions of JupyterLab and manual pages: nothing here reads them.
  rm -rf "${directory:?}/include" "${directory:?}/lib64" "${directory:?}/share" "${directory:?}/etc"
  # Nor are the tests of distributions: a fifth of all files, some in no Python of today.
  find "$directory"/lib/python3*/site-packages -type d -name tests -prune -exec rm -rf {} +
  find "$directory/lib" -name '*.so*' -type f -exec chmod a-x {} +
  version=$("$python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])')
  printf 'home = /usr/bin\ninclude-system-site-packages = false\nversion = %s\n' "$version" >"$directory/pyvenv.cfg"
  ln -sfn /usr/bin/python3 "$directory/bin/python3"
  ln -sfn python3 "$directory/bin/python"
  find "$directory/bin" -name 'python3.*' -delete
  # Nobody may write here later, so the modules are compiled now; with no times in them the result is reproducible.
  find "$directory" -name __pycache__ -prune -exec rm -rf {} +
  PYTHONHASHSEED=0 "$python" -m compileall -q -j 0 -s "$directory" -p "$final" --invalidation-mode unchecked-hash "$directory/lib"
}

tree "$trees/roles" requirements.lock "$prefix" setuptools pip
for lock in appliance/environments/*/requirements.lock; do
  # what has a declaration is installed by those who want it: cellctl env add
  if [ -f "$(dirname "$lock")/environment.toml" ]; then continue; fi
  name=$(basename "$(dirname "$lock")")
  tree "$trees/environments/$name" "$lock" "$prefix/environments/$name" setuptools
done
printf '%s\n' "$stamp" >"$trees/stamp"
