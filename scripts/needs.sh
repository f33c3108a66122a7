#!/bin/sh
# Installs the programs that tests and benchmarks run against, where they are missing.
set -eu

missing=
for pair in curl:curl nginx:nginx-light wrk:wrk openssl:openssl python3:python3; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || [ -x "/usr/sbin/${pair%%:*}" ] || missing="$missing ${pair#*:}"
done
[ -n "$missing" ] || exit 0

echo "installing$missing"
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -q
# A package's own service would take a port; policy-rc.d keeps it from starting.
$as_root apt-get install -qy --no-install-recommends $missing
