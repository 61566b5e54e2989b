#!/bin/bash
# SPDX-License-Identifier: MIT
#
# tests/apps/run-conformance.sh BUILD_DIR: what `make run-conformance` starts, in the
# foreground. Two instances of tests/apps/conformance.c that share nothing, with the options of
# conformance-a.conf and conformance-b.conf; each has two entries that share a database and no process.
#
#   PORT    A, first entry       PORT+1  B, first entry
#   PORT+2  A, second entry      PORT+3  B, second entry
#   PORT+4  A, the sidecar of the first entry, without lighttpd in between
#
# The other sidecars get free ports from PORT+10 on. Databases: run/conformance/{a,b}/siolite.db,
# process ids: run/conformance/pids. PORT and SIOLITE_FLAGS come from the environment.
set -u
cd "$(dirname "$0")/../.." || exit 2
name='run-conformance'
run=run/conformance
build=$1
port=${PORT:-9080}
app=$PWD/$build/apps/conformance.so
read -ra flags <<<"${SIOLITE_FLAGS:-}"
. www/supervise.bash

[[ $port =~ ^[0-9]+$ ]] && ((port >= 1 && port <= 65000)) || die "PORT=$port is not a port" 2
need lighttpd curl setpriv flock
for file in "$build/siolite.fcgi" "$build/siolite-ws" "$build/siolite" "$app"; do
    [ -e "$file" ] || die "$file does not exist" 2
done
lock_run_dir
for i in 0 1 2 3 4; do check_port $((port + i)); done
mkdir -p $run/a $run/b

for i in a b; do
    {
        printf '%s\n' "database = $PWD/$run/$i/siolite.db" "app = $app"
        cat tests/apps/conformance-$i.conf
    } >$run/$i/siolite.conf
done

# One entry: a siolite.fcgi, a siolite-ws, and the lighttpd in front of these two only.
lighttpd=$(PATH=$PATH:/usr/sbin command -v lighttpd)
free_from=$((port + 10))
entries=()
entry() {
    local instance=$1 i=$2 entry_port=$3 ws_port=$4 dir=$run/${1,,} id=${1,,}-$2
    "$build/siolite.fcgi" --config "$dir/siolite.conf" "${flags[@]}" --check-config \
        >$run/log/check.log 2>&1 || die "$(tail -n 1 $run/log/check.log)"
    lighttpd_conf "$dir/lighttpd-$i.conf" "$entry_port" "$PWD/www" "$dir/siolite.conf" \
        "$socket_dir/$id.sock" "$ws_port"
    add "siolite.fcgi $instance $i" "$run/log/$id-fcgi.log" "$build/siolite.fcgi" \
        --config "$dir/siolite.conf" --set "fcgi_listen=$socket_dir/$id.sock" "${flags[@]}"
    add "siolite-ws $instance $i" "$run/log/$id-ws.log" "$build/siolite-ws" \
        --config "$dir/siolite.conf" --set "ws_listen=127.0.0.1:$ws_port" "${flags[@]}"
    entries+=("$id $entry_port $ws_port $instance $i $dir")
}
sidecar_port() {
    ws_port=$(free_port "$free_from")
    free_from=$((ws_port + 1))
}
entry A 1 "$port" $((port + 4))
sidecar_port && entry A 2 $((port + 2)) "$ws_port"
sidecar_port && entry B 1 $((port + 1)) "$ws_port"
sidecar_port && entry B 2 $((port + 3)) "$ws_port"

# The web servers come last, so that none answers before its programs can.
start_added
for line in "${entries[@]}"; do
    read -r id entry_port ws_port instance i dir <<<"$line"
    wait_for "siolite.fcgi $instance $i" test -S "$run/$id.sock"
    wait_for "siolite-ws $instance $i" is_port_used "$ws_port"
    add "lighttpd $instance $i" "$run/log/$id-lighttpd.log" "$lighttpd" -D -f "$dir/lighttpd-$i.conf"
done
start_added
for line in "${entries[@]}"; do
    read -r id entry_port ws_port instance i dir <<<"$line"
    wait_for "lighttpd $instance $i" answers_polling "$entry_port"
    echo "instance $instance, entry $i:  http://127.0.0.1:$entry_port/socket.io/   sidecar 127.0.0.1:$ws_port"
done
echo "process ids in $run/pids, logs in $run/log/; Ctrl-C ends all of it."
supervise
