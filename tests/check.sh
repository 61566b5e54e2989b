#!/bin/sh
# SPDX-License-Identifier: MIT
#
# tests/check.sh BUILD_DIR SUITE...   runs suites, goes on after a failure, counts.
#
# Each suite leaves TAP in BUILD_DIR/check/<suite>.tap; tests/tally.awk adds them up, and
# the last line is "N passed, N failed". Exit 1 if anything failed, or if several suites
# ran and no test was among them. The tests find the programs by SIOLITE_BUILD and npm
# packages by NODE_PATH.
set -u
cd "$(dirname "$0")/.." || exit 2
build=$1
shift
out=$build/check
mkdir -p "$out"

SIOLITE_BUILD=$(realpath "$build")
NODE_PATH=$PWD/build/npm/node_modules
export SIOLITE_BUILD NODE_PATH

# What a suite may take, in seconds, before it is ended.
limit_s() {
    case $1 in
    bench) echo 3600 ;;
    fuzz) echo 7200 ;;
    *) echo "${SUITE_SECONDS:-480}" ;;
    esac
}

# One program that prints TAP. An end without a verdict is a failure.
run_tap() {
    name=$1
    shift
    "$@" >"$out/$name.out" 2>"$out/$name.err"
    code=$?
    cat "$out/$name.out"
    if [ $code -ne 0 ] && ! grep -q '^not ok' "$out/$name.out"; then
        echo "not ok - $name: exit status $code"
    elif ! grep -qE '^(ok|not ok)' "$out/$name.out"; then
        echo "not ok - $name: no test ran"
    else
        return 0
    fi
    sed 's/^/# /' "$out/$name.err"
}

run_unit() {
    for source in tests/unit/test_*.c; do
        [ -e "$source" ] || continue
        name=$(basename "$source" .c)
        CMOCKA_MESSAGE_OUTPUT=TAP run_tap "$name" timeout -k 5 60 "$build/unit/$name"
    done
}

# One target; new inputs go to build/, the committed corpus is only read.
fuzz_one() {
    name=$1
    mkdir -p "build/fuzz/found/$name"
    corpus=tests/fuzz/corpus/$name
    [ -d "$corpus" ] || corpus=
    # shellcheck disable=SC2086 # none is no argument
    if "build/fuzz/$name" -max_total_time="${FUZZ_SECONDS:-60}" -timeout=10 \
        -artifact_prefix="build/fuzz/found/$name-" -print_final_stats=1 \
        "build/fuzz/found/$name" $corpus >"$out/$name.out" 2>&1; then
        echo "ok - $name: $(grep -o 'number_of_executed_units: [0-9]*' "$out/$name.out")"
    else
        echo "not ok - $name"
        tail -40 "$out/$name.out" | sed 's/^/# /'
    fi
}

# A target a core; all take the same time.
run_fuzz() {
    running=0
    for source in tests/fuzz/fuzz_*.c; do
        [ -e "$source" ] || continue
        fuzz_one "$(basename "$source" .c)" &
        running=$((running + 1))
        [ $running -lt "$(nproc)" ] || { wait; running=0; }
    done
    wait
}

# node --test over the files given, one after the other unless `at_once` says more; TAP to the log, readable text to the terminal.
run_node() {
    [ $# -gt 0 ] || return 0
    node --test --test-concurrency="${at_once:-1}" \
        --test-reporter=tap --test-reporter-destination=stdout \
        --test-reporter=spec --test-reporter-destination=stderr "$@"
}

run_bench() {
    for file in tests/bench/bench_*.mjs; do
        [ -e "$file" ] || continue
        if node "$file" >&2; then echo "ok - $file"; else echo "not ok - $file"; fi
    done
}

# The files of a suite; what matches nothing is left out.
files() {
    for file in "$@"; do
        case $file in
        tests/e2e/browser_*) [ "$suite" = browser ] || continue ;;
        esac
        [ -e "$file" ] && printf '%s\n' "$file"
    done
}

run_suite() {
    # shellcheck disable=SC2046 # file names without spaces
    case $suite in
    lint) run_tap lint sh tests/lint/lint.sh "$build" ;;
    unit) run_unit ;;
    fuzz) run_fuzz ;;
    bench) run_bench ;;
    process) at_once=2 && run_node $(files tests/process/*.test.mjs) ;;
    e2e) at_once=2 && run_node $(files tests/e2e/*.test.mjs) ;;
    browser) at_once=2 && run_node $(files tests/e2e/browser_*.test.mjs) ;;
    crash) at_once=2 && run_node $(files tests/crash/*.test.mjs) ;;
    package) run_node $(files tests/package/*.test.mjs) ;;
    *)
        echo "tests/check.sh: no suite '$suite'" >&2
        return 2
        ;;
    esac
}

# Called again by itself, for one suite under a time limit.
if [ "${CHECK_ONE:-}" ]; then
    suite=$1
    run_suite
    exit
fi

child=
trap 'trap - INT TERM; [ "$child" ] && kill -TERM "$child" 2>/dev/null; wait; exit 130' INT TERM
status=0
logs=
for suite in "$@"; do
    echo "== $suite"
    log=$out/$suite.tap
    logs="$logs $log"
    start=$(date +%s)
    CHECK_ONE=1 timeout -k 10 "$(limit_s "$suite")" "$0" "$build" "$suite" >"$log" &
    child=$!
    wait "$child"
    code=$?
    child=
    if [ $code -eq 124 ] || [ $code -eq 137 ]; then
        echo "not ok - suite $suite: ended after $(limit_s "$suite") s" >>"$log"
    elif [ $code -ne 0 ] && ! grep -q 'not ok' "$log"; then
        echo "not ok - suite $suite: exit status $code" >>"$log"
    fi
    case $suite in
    lint | unit | fuzz) grep -vE '^(ok|1\.\.)' "$log" ;;
    esac
    echo "== $suite: $(awk -f tests/tally.awk "$log"), $(($(date +%s) - start)) s, $log"
done

# shellcheck disable=SC2086 # a list of file names without spaces
total=$(awk -f tests/tally.awk $logs)
case $total in
*" 0 failed") ;;
*) status=1 ;;
esac
if [ $# -gt 1 ]; then
    case $total in
    "0 passed"*) status=1 ;;
    esac
    echo
    echo "$total"
fi
exit $status
