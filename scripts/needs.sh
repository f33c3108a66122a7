#!/bin/sh
# Installs what tests and benchmarks run against, where it is missing: programs by apt, packages of Python below target/python and
# of Node.js below target/node.
set -eu
cd "$(dirname "$0")/.."

missing=
for pair in curl:curl jq:jq nginx:nginx-light wrk:wrk openssl:openssl python3:python3 node:nodejs npm:npm chromium:chromium haproxy:haproxy redis-server:redis-server redis-sentinel:redis-sentinel; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || [ -x "/usr/sbin/${pair%%:*}" ] || missing="$missing ${pair#*:}"
done
# Debian keeps servers of databases out of the way.
set -- /usr/lib/postgresql/*/bin/initdb
[ -x "$1" ] || missing="$missing postgresql"
# Debian's Python comes without what makes virtual environments.
python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"

if [ -n "$missing" ]; then
    echo "installing$missing"
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    export DEBIAN_FRONTEND=noninteractive
    $as_root apt-get update -q
    # A package's own service would take a port; policy-rc.d keeps it from starting.
    $as_root apt-get install -qy --no-install-recommends $missing
fi

wanted=crates/yett/tests/programs/requirements.txt
made=target/python
# The list is copied there last, so that what was begun and not finished is made anew.
if ! cmp -s "$wanted" "$made/requirements.txt" || ! "$made/bin/python" -c '' 2>/dev/null; then
    echo "installing packages of Python below $made"
    rm -rf "$made"
    python3 -m venv "$made"
    "$made/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --requirement "$wanted"
    cp "$wanted" "$made/requirements.txt"
fi

made=target/node
if ! cmp -s crates/yett/tests/programs/package-lock.json "$made/package-lock.json"; then
    echo "installing packages of Node.js below $made"
    rm -rf "$made" "$made.new"
    mkdir -p "$made.new"
    cp crates/yett/tests/programs/package.json crates/yett/tests/programs/package-lock.json "$made.new"
    npm ci --prefix "$made.new" --ignore-scripts --no-audit --no-fund --loglevel=error
    # Moved last, so that what was begun and not finished is made anew.
    mv "$made.new" "$made"
fi
