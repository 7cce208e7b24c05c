#!/usr/bin/env bash
# Installs PostgreSQL's programs, for the tests that start a server of their own. Debian and its kin; needs root for that.
# Afterwards: PILEUS_REQUIRE_POSTGRES=1 makes a missing server a failure of those tests and no reason to skip them.
set -euo pipefail

if compgen -G '/usr/lib/postgresql/*/bin/initdb' > /dev/null; then
    echo "PostgreSQL is installed: $(ls -d /usr/lib/postgresql/*)"
    exit 0
fi
as_root=()
if [ "$(id -u)" != 0 ]; then as_root=(sudo); fi
# The package would start a server of its own at the usual port: it is not wanted.
"${as_root[@]}" mkdir -p /etc/postgresql-common
echo 'create_main_cluster = false' | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf > /dev/null
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends postgresql
echo "PostgreSQL is installed: $(ls -d /usr/lib/postgresql/*)"
