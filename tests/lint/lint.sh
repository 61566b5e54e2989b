#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sh tests/lint/lint.sh BUILD_DIR: checks the rules that a script can check. TAP on stdout: a
# line "not ok - file:line: RULE what" for each violation, a line "ok" for each check that
# found none.
set -u
build=$1
scratch=$build/lint
mkdir -p "$scratch"

# What is in the tree, committed or not: files whose path matches one of the patterns.
files() {
    for pattern; do
        find . \( -path ./build -o -path ./run -o -path ./.git \) -prune -o \
            -type f -path "./$pattern" -print
    done | sed 's|^\./||' | sort
}
code=$(files '*.c' '*.h' | grep -v '^tests/bench/')
all_code=$(files '*.c' '*.h')
texts=$(files '*.c' '*.h' '*.sql' '*.awk' '*.sh' '*.bash' '*.mjs' '*.js' Makefile .ci/run)
shells=$(files '*.sh' '*.bash' .ci/run)

# check NAME COMMAND...: the command prints violations
n_failed=0
check() {
    what=$1
    shift
    "$@" >"$scratch/out" 2>"$scratch/err"
    if [ -s "$scratch/err" ]; then
        echo "not ok - $what: $(head -n 1 "$scratch/err")"
    elif [ -s "$scratch/out" ]; then
        sed 's/^/not ok - /' "$scratch/out"
    else
        echo "ok - $what"
        return
    fi
    n_failed=$((n_failed + 1))
}

format() {
    command -v clang-format >/dev/null || return 0
    for file in $code; do
        # The first place of a file is enough; `make format` mends all.
        clang-format --dry-run "$file" 2>&1 | sed -n \
            's/^\([^:]*:[0-9]*\):[0-9]*: warning: code should be clang-formatted.*/\1: F6 not as clang-format makes it/p;t done;b;:done;q'
    done
}

scripts() {
    command -v shellcheck >/dev/null || return 0
    # shellcheck disable=SC2086 # file names without spaces
    shellcheck -x -S warning -f gcc $shells | sed 's/: \([a-z]*\): /: shellcheck \1: /'
}

# The manual pages, as they are built.
pages() {
    command -v mandoc >/dev/null || return 0
    mandoc -T lint -W warning "$build"/man/*.[1-8]
}

# A clause that code or a test cites stands in docs/protocol.md (C4).
clauses() {
    [ -e docs/protocol.md ] || return 0
    id='(EIO|SIO)-[A-Z][A-Z0-9]*(-[A-Z0-9]+)*'
    sed -nE "s/^\| ($id) \|.*/\1/p" docs/protocol.md | sort >"$scratch/clauses"
    uniq -d "$scratch/clauses" | sed 's/^/docs\/protocol.md: C4 two clauses /'
    # shellcheck disable=SC2086 # file names without spaces
    grep -rnoE --include='*.[ch]' --include='*.mjs' "\b$id\b" core fcgi ws store tests >"$scratch/cited"
    awk -F: 'NR == FNR { known[$1] = 1; next } !($3 in known) { print $1 ":" $2 ": C4 docs/protocol.md has no clause " $3 }
        { by[$3, $1 ~ /^tests\//] = 1 }
        END { for (c in known) {
            if (!((c, 0) in by)) print "docs/protocol.md: C4 no code cites " c
            if (!((c, 1) in by)) print "docs/protocol.md: C4 no test cites " c } }' "$scratch/clauses" "$scratch/cited"
}

# shellcheck disable=SC2086 # lists of file names without spaces
{
    [ -n "$all_code" ] && check "L4 layers" awk -f tests/lint/layers.awk tests/lint/layers.txt $all_code
    [ -n "$code" ] && check "F2 sizes" awk -f tests/lint/size.awk $code
    check "N2 N5 D1 words" awk -f tests/lint/words.awk $texts
    check "S5 statements" sh tests/lint/statements.sh "$scratch"
    check "F6 format" format
    check "C4 clauses" clauses
    check "scripts" scripts
    check "D3 manual pages" pages
}
[ $n_failed = 0 ]
