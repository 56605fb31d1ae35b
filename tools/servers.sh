#!/usr/bin/env bash
# Installs the servers and tools that tests start by themselves, from Debian's packages, where this machine allows it:
# as root, with apt-get. Elsewhere, and when it fails, tests that miss something are skipped by name.
# No service is started: tests start their own, on private ports and sockets. SKYHARBOR_NO_SERVERS=1 leaves all as it is.
set -euo pipefail
cd "$(dirname "$0")"

if [ "$(id -u)" != 0 ] || [ -n "${SKYHARBOR_NO_SERVERS:-}" ] || ! command -v apt-get >/dev/null; then
    exit 0
fi
wanted=$(sed 's/#.*//' servers.txt | xargs -n1)
missing=$(for package in $wanted; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
done)
if [ -z "$missing" ]; then
    exit 0
fi

# Debian starts what it installs, unless somebody forbids it.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
# ... and makes a cluster for a PostgreSQL that it installs.
if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
fi
echo "installing for the tests:" $missing >&2
export DEBIAN_FRONTEND=noninteractive
{ apt-get -qq update && apt-get -qq install --yes --no-install-recommends $missing >/dev/null; } ||
    echo "not all of it could be installed; tests that need what is missing are skipped" >&2
