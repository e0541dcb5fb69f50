#!/bin/sh
# Valkey in Compose and Kubernetes: append-only, and its users those of users.acl, with the password of a secret.
set -eu
hash=$(tr -d '\n' < "${VALKEY_PASSWORD_FILE:-/run/secrets/valkey_password}" | sha256sum | cut -d ' ' -f 1)
users="${TMPDIR:-/tmp}/users.acl"
umask 077
sed -e '/^#/d' -e "s/PASSWORD_HASH/$hash/" "$(dirname "$0")/users.acl" > "$users"
exec valkey-server --aclfile "$users" --appendonly yes --save "" "$@"
