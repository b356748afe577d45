#!/bin/sh
# Pin every dependency with hashes, for every platform; run after changing dependencies in pyproject.toml.
# The files name no index, so they install from whichever one a machine uses.
set -eu
cd "$(dirname "$0")/.."
compile() {
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-emit-find-links --custom-compile-command scripts/lock.sh "$@"
}
compile pyproject.toml --group dev -o requirements/dev.txt
compile pyproject.toml --group build -c requirements/dev.txt -o requirements/run.txt
# The tools that exports are tested in, each in an environment of its own.
for tool in sqlmesh dbt; do
    compile "requirements/exports/$tool.in" -o "requirements/exports/$tool.txt"
done
