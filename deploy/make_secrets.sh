#!/bin/sh
# Random secrets for docker-compose.yml, each a file in secrets/.  What is there already stays as it is.
set -eu
cd "$(dirname "$0")/.."
mkdir -p secrets
chmod 700 secrets # keeps others out: the files themselves must be readable for the containers' users
umask 022
random() { od -An -N 32 -t x1 /dev/urandom | tr -d ' \n'; }
keep() { [ -e "secrets/$1" ] || printf %s "$2" > "secrets/$1"; }
keep valkey_password "$(random)"
keep redis_url "redis://service:$(cat secrets/valkey_password)@valkey:6379/0"
keep storage_secret_key "$(random)"
keep planner_token "$(random)"
keep webhook_secret "$(random)" # another one gives every receiver of webhooks another secret
