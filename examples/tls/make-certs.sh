#!/bin/sh
# Makes a certificate authority and two certificates for tests, in the folder `certs` beside this script.
# Whoever has the authority's key can pretend to be anybody to those who trust it: keep it to this machine.
set -eu
cd "$(dirname "$0")"
mkdir -p certs
cd certs
umask 077

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
    -subj "/CN=Yett example authority" -keyout ca.key -out ca.pem

certificate() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -subj "/CN=$2" -addext "subjectAltName=DNS:$2" -keyout "$1.key" -out "$1.csr"
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
        -copy_extensions copy -out "$1.pem"
    rm "$1.csr"
}

certificate site localhost
certificate api api.localhost
