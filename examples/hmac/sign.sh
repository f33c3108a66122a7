#!/bin/sh
# Asks for a path with a signed request (RFC 9421): sign.sh /orders/1. With a second word it asks twice with one signature.
set -eu
host=${GATEWAY:-127.0.0.1:8080}
parameters='("@method" "@authority" "@path");created='$(date +%s)';keyid="nightly-1";nonce="'$(openssl rand -hex 8)'"'
base=$(printf '"@method": GET\n"@authority": %s\n"@path": %s\n"@signature-params": %s' "$host" "$1" "$parameters")
signature=$(printf %s "$base" | openssl dgst -sha256 -hmac "$NIGHTLY_SECRET" -binary | base64)
for _ in once ${2:-}; do
    curl -i "http://$host$1" -H "signature-input: sig=$parameters" -H "signature: sig=:$signature:"
done
