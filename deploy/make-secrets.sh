#!/bin/sh
# Makes the secrets that docker-compose.yml names, in deploy/secrets. What is there already stays as it is.
# The folder is closed to other users of this machine; the files are not, for users of containers have other ids.
set -eu
umask 022
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets
for name in database_password broker_password operator_token worker_token store_secret_key; do
    if [ ! -s "secrets/$name" ]; then
        od -An -N24 -tx1 /dev/urandom | tr -d ' \n' > "secrets/.$name"
        mv "secrets/.$name" "secrets/$name"
    fi
done
cat > secrets/store_identities.json <<END
{"identities": [{"name": "skyharbor", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
  "credentials": [{"accessKey": "skyharbor", "secretKey": "$(cat secrets/store_secret_key)"}]}]}
END
