#!/bin/sh
# Valkey in Compose and Kubernetes: append-only, synced every second, and full at VALKEY_MEMORY, when it refuses writes
# rather than forget a job; its users are those of users.acl, with the password of a secret.
set -eu
hash=$(tr -d '\n' < "${VALKEY_PASSWORD_FILE:-/run/secrets/valkey_password}" | sha256sum | cut -d ' ' -f 1)
users="${TMPDIR:-/tmp}/users.acl"
umask 077
sed -e '/^#/d' -e "s/PASSWORD_HASH/$hash/" "$(dirname "$0")/users.acl" > "$users"
exec valkey-server --aclfile "$users" --appendonly yes --appendfsync everysec --save "" \
  --maxmemory "${VALKEY_MEMORY:?}" --maxmemory-policy noeviction "$@"
