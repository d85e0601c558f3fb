#!/usr/bin/env bash
# Makes root.pem and node.pem, for tests of TLS: a root, and a node that it vouches for, by the name of an endpoint.
# The keys are thrown away: nobody can make another one.
set -euo pipefail
cd "$(dirname "$0")"
keys=$(mktemp -d)
trap 'rm -rf "$keys"' EXIT
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$keys/root" -out root.pem -days 36500 \
    -subj '/CN=a root for tests' -addext 'basicConstraints=critical,CA:TRUE'
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$keys/node" -out "$keys/request" -subj '/CN=a node for tests'
printf 'subjectAltName=DNS:cassandra.eu-central-1.amazonaws.com\nbasicConstraints=CA:FALSE\n' >"$keys/extensions"
openssl x509 -req -in "$keys/request" -CA root.pem -CAkey "$keys/root" -CAcreateserial -CAserial "$keys/serial" -out node.pem \
    -days 36500 -extfile "$keys/extensions"
