#!/bin/sh
# Writes both lock files anew: exact versions with hashes, for every platform. Give -U to move to newer versions.
set -eu
cd "$(dirname "$0")/.."
options="--universal --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11 --quiet"
# shellcheck disable=SC2086
.venv/bin/uv pip compile $options "$@" pyproject.toml --group build -o requirements.lock
# shellcheck disable=SC2086
.venv/bin/uv pip compile $options "$@" pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock
