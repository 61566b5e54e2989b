# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154 # name and run are the caller's
#
# A small supervisor, sourced by www/serve.sh and tests/apps/run-conformance.sh, which first
# set `name`, for messages, and `run`, the folder that gets everything written here. It starts processes, writes their
# ids to $run/pids ("<pid> <program> <instance> <entry>"), starts again what dies, and at
# SIGINT, SIGTERM or SIGHUP ends all of them.
#
# Invariants:
# 1. No process outlives the supervisor, whatever ends it: the kernel kills them with it.
# 2. $run/pids is replaced as a whole and names no process that this shell knows is dead.
# 3. One supervisor in a folder at a time.

labels=() # "<program> <instance> <entry>" of each process
logs=()
commands=() # quoted for eval
pids=()
started_ms=()
watcher=

die() {
    echo "$name: $1" >&2
    exit "${2:-1}"
}

now_ms() {
    printf '%s' "$((${EPOCHREALTIME/[.,]/} / 1000))"
}

need() {
    local tool
    for tool; do
        PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null ||
            die "$tool is missing; tests/setup.sh run installs it" 2
    done
}

is_port_used() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

check_port() {
    is_port_used "$1" && die "port $1 is in use; try: make $name PORT=$(($1 + 100))"
    return 0
}

# The first free port from $1 on.
free_port() {
    local port=$1
    while is_port_used "$port"; do port=$((port + 1)); done
    echo "$port"
}

lock_run_dir() {
    mkdir -p "$run/log" || die "cannot write to $run"
    exec {lock_fd}>"$run/lock"
    flock -n "$lock_fd" || die "already running in $run/ (process ids in $run/pids); end that first"
    rm -f "$run"/*.sock "$run"/log/*.log
    # The programs want absolute paths, and the kernel short ones.
    socket_dir=$PWD/$run
    [ ${#socket_dir} -le 90 ] || die "the path of this folder is too long for a unix socket"
}

# lighttpd_conf FILE PORT ROOT CONFIG "SOCKET..." "WS_PORT..."
lighttpd_conf() {
    local addresses=() word
    for word in $5; do addresses+=(--fcgi "$word"); done
    for word in $6; do addresses+=(--ws "127.0.0.1:$word"); done
    "$build/siolite" conf lighttpd --config "$4" "${addresses[@]}" >"$1.siolite" 2>&1 ||
        die "$(tail -n 1 "$1.siolite")"
    sed -e "s|@PORT@|$2|" -e "s|@ROOT@|$3|" -e "s|@SIOLITE@|$PWD/$1.siolite|" \
        -e "s|@CLIENT@|$PWD/build/npm/node_modules/socket.io-client/dist|" \
        www/lighttpd.conf.in >"$1"
}

# add "<program> <instance> <entry>" LOG COMMAND...
add() {
    labels+=("$1")
    logs+=("$2")
    commands+=("$(printf '%q ' "${@:3}")")
}

start() {
    local command
    eval "command=(${commands[$1]})"
    setpriv --pdeathsig KILL "${command[@]}" </dev/null >>"${logs[$1]}" 2>&1 {lock_fd}>&- &
    pids[$1]=$!
    started_ms[$1]=$(now_ms)
}

write_pids() {
    local i
    for i in "${!pids[@]}"; do echo "${pids[i]} ${labels[i]}"; done >"$run/pids.new"
    mv "$run/pids.new" "$run/pids"
}

# make, if it leads the terminal's session, keeps the hang-up of the terminal to itself.
watch_terminal() {
    [ -t 0 ] || return 0
    # shellcheck disable=SC2016 # for the inner shell
    setpriv --pdeathsig KILL bash -c 'while sleep 1 && [ -t 0 ]; do :; done; kill -HUP "$0"' $$ \
        <&0 {lock_fd}>&- &
    watcher=$!
    disown $watcher
}

# Starts what was added since the last call.
start_added() {
    local i
    if [ ${#pids[@]} = 0 ]; then
        trap stop INT TERM HUP
        trap kill_all EXIT
        watch_terminal
    fi
    for ((i = ${#pids[@]}; i < ${#commands[@]}; i++)); do start "$i"; done
    write_pids
}

# wait_for "what" COMMAND...: until the command succeeds; a process that ends meanwhile, or
# ten seconds, end everything with the reason.
wait_for() {
    local what=$1 end_ms=$(($(now_ms) + 10000)) i
    shift
    until "$@"; do
        for i in "${!pids[@]}"; do
            kill -0 "${pids[i]}" 2>/dev/null ||
                die "${labels[i]%% *} ended at start: $(tail -n 1 "${logs[i]}") (${logs[i]})"
        done
        [ "$(now_ms)" -lt "$end_ms" ] || die "no answer from $what within 10 s; see $run/log/"
        sleep 0.02
    done
}

# One request through the web server that a program must have answered: 400, no session made.
answers_polling() {
    [ "$(curl -s -o /dev/null -m 2 -w '%{http_code}' \
        "http://127.0.0.1:$1/socket.io/?EIO=4&transport=none")" = 400 ]
}

# Starts again whatever dies: at once, or, if it did not live for a second, half a second later.
# Looks at all of them, and every half second: when several end at the same moment, `wait -n` forgets some.
supervise() {
    local tick has_ended i
    while :; do
        sleep 0.5 {lock_fd}>&- &
        tick=$!
        wait -n "${pids[@]}" "$tick" 2>/dev/null
        kill "$tick" 2>/dev/null
        has_ended=
        for i in "${!pids[@]}"; do
            kill -0 "${pids[i]}" 2>/dev/null && continue
            wait "${pids[i]}" 2>/dev/null
            echo "$name: ${labels[i]} (${pids[i]}) ended with status $?; starting it again" >&2
            if [ $(($(now_ms) - started_ms[i])) -lt 1000 ]; then sleep 0.5; fi
            start "$i"
            has_ended=1
        done
        [ "$has_ended" ] && write_pids
    done
}

# The last act.
kill_all() {
    exec 2>/dev/null # bash's own notices of killed jobs
    kill -KILL "${pids[@]}" $watcher 2>/dev/null
    rm -f "$run/pids"
}

is_all_ended() {
    local pid
    for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null && return 1; done
    return 0
}

# All get SIGTERM; what still lives after three seconds is killed.
stop() {
    local end_ms=$(($(now_ms) + 3000))
    trap '' INT TERM HUP
    kill -TERM "${pids[@]}" 2>/dev/null
    until is_all_ended || [ "$(now_ms)" -ge "$end_ms" ]; do sleep 0.02; done
    kill_all
    wait
    exit 0
}
