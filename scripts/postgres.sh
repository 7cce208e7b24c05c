#!/usr/bin/env bash
# PostgreSQL for tests and for trying several nodes.
#
#   scripts/postgres.sh                     installs its programs if need be (Debian and its kin; needs root for that)
#   scripts/postgres.sh start DIR [PORT]    starts a server in DIR as an ordinary user, and prints its URL [5499]
#   scripts/postgres.sh stop DIR            stops it
#
# Tests start servers of their own. With PILEUS_REQUIRE_POSTGRES=1 a missing server is a failure of theirs and no reason to
# skip. The server that `start` starts asks for no password and listens on the loopback address only: for trying, not for use.
set -euo pipefail

programs() {
    compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -1 | xargs -r dirname
}

install() {
    if [ -n "$(programs)" ]; then
        echo "PostgreSQL is installed: $(programs)"
        return
    fi
    local as_root=()
    if [ "$(id -u)" != 0 ]; then as_root=(sudo); fi
    # The package would start a server of its own at the usual port: it is not wanted.
    "${as_root[@]}" mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf > /dev/null
    "${as_root[@]}" apt-get update -q
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends postgresql
    echo "PostgreSQL is installed: $(programs)"
}

# The server refuses to run as root.
as_user() {
    if [ "$(id -u)" = 0 ]; then (cd / && runuser -u postgres -- "$@"); else "$@"; fi
}

start() {
    local dir port bin
    mkdir -p "$1"
    dir=$(cd "$1" && pwd)
    port=${2:-5499}
    bin=$(programs)
    if [ -z "$bin" ]; then
        echo "PostgreSQL is not installed: run $0 first" >&2
        exit 1
    fi
    if [ "$(id -u)" = 0 ]; then chown postgres "$dir"; fi
    if [ ! -e "$dir/data/PG_VERSION" ]; then
        as_user "$bin/initdb" -D "$dir/data" -U pileus -A trust -E UTF8 --no-locale > /dev/null
    fi
    as_user "$bin/pg_ctl" -D "$dir/data" -w -l "$dir/log" \
        -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$dir" start > /dev/null
    echo "postgres://pileus@127.0.0.1:$port/postgres"
}

case "${1:-install}" in
    install) install ;;
    start) start "${2:?a folder}" "${3:-}" ;;
    stop) as_user "$(programs)/pg_ctl" -D "$(cd "${2:?a folder}" && pwd)/data" -m fast stop > /dev/null ;;
    *)
        echo "usage: $0 [start DIR [PORT] | stop DIR]" >&2
        exit 2
        ;;
esac
