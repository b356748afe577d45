#!/bin/sh
# Create .venv if need be and install into it what is pinned in requirements/$1.txt, then this project, editable.
# Uses uv where it is present and plain pip otherwise; every file is checked against its hash. The files name every
# dependency, so pip is told to follow none: its resolver takes an extra (coverage[toml]) for something not pinned.
set -eu
wanted=${1:?usage: scripts/install.sh run|dev}
here=$(cd "$(dirname "$0")/.." && pwd)
cd "$here"

python=""
for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11 python3; do
    if "$candidate" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "error: Python 3.11 or newer is needed (set PYTHON to point at one)" >&2
    exit 2
fi

if command -v uv >/dev/null 2>&1 && uv --version >/dev/null 2>&1; then
    [ -x .venv/bin/python ] || uv venv --quiet --python "$python" .venv
    uv pip install --quiet --python .venv/bin/python --require-hashes -r "requirements/$wanted.txt"
    uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation -e .
else
    [ -x .venv/bin/pip ] || "$python" -m venv .venv || {
        echo "error: $python cannot create environments (on Debian: apt-get install python3-venv)" >&2
        exit 2
    }
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        -r "requirements/$wanted.txt"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
fi
