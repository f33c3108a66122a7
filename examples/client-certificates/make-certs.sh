#!/bin/sh
# Makes a server's certificate, an authority of partners, certificates for two of them and the list that
# revokes one, in the folder `certs` beside this script.
# Whoever has an authority's key can pretend to be anybody to those who trust it: keep it to this machine.
set -eu
cd "$(dirname "$0")"
rm -rf certs
mkdir -p certs
cd certs
umask 077

authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
        -subj "/CN=$2" -addext "keyUsage=critical,keyCertSign,cRLSign" -keyout "$1.key" -out "$1.pem"
}

# certificate NAME AUTHORITY SUBJECT EXTENSIONS…
certificate() {
    name=$1 ca=$2 subject=$3
    shift 3
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$subject" \
        -keyout "$name.key" -out "$name.csr"
    for extension in "$@"; do echo "$extension"; done > "$name.ext"
    openssl x509 -req -in "$name.csr" -CA "$ca.pem" -CAkey "$ca.key" -CAcreateserial -days 30 \
        -extfile "$name.ext" -out "$name.pem"
    rm "$name.csr" "$name.ext"
}

authority ca "Yett example authority"
certificate site ca "/CN=localhost" "subjectAltName=DNS:localhost"
certificate partners ca "/CN=partners.localhost" "subjectAltName=DNS:partners.localhost"

authority partners-ca "Yett example partners"
partner() {
    certificate "$1" partners-ca "/CN=$1" "subjectAltName=DNS:$1.partners.example" "extendedKeyUsage=clientAuth"
}

partner bakery
partner mill
partner mallory

# The list of those who are let in no longer. Whoever is added must also come into a new list.
touch index.txt
echo 01 > crlnumber
cat > revoke.cnf <<'END'
[ca]
default_ca = partners
[partners]
database = index.txt
crlnumber = crlnumber
default_md = sha256
default_crl_days = 30
certificate = partners-ca.pem
private_key = partners-ca.key
END
openssl ca -config revoke.cnf -revoke mallory.pem
openssl ca -config revoke.cnf -gencrl -out partners.crl
