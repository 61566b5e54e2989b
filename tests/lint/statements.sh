#!/bin/sh
# SPDX-License-Identifier: MIT
#
# S5: every statement of schema/statements prepares against the newest schema, none scans a
# table unless its block says "-- scan: why", and each is named by exactly one C function.
set -u
dir=$1 # a scratch folder
ls schema/statements/*.sql >/dev/null 2>&1 || exit 0

migrations=$(find schema/migrations -name '*.sql' | sort)
views=$(find schema/views -name '*.sql' | sort)
# shellcheck disable=SC2086 # file names without spaces
{
    echo ".bail on"
    cat $migrations $views
} >"$dir/schema.sql"
rm -f "$dir/schema.db"
if ! sqlite3 "$dir/schema.db" <"$dir/schema.sql" >"$dir/schema.out" 2>&1; then
    echo "schema/migrations:1: S1 the schema does not load: $(head -n 1 "$dir/schema.out")"
    exit 0
fi

# Only the block at hand is affected by an error: no .bail.
awk -f tests/lint/statements.awk schema/statements/*.sql >"$dir/statements.sql"
sqlite3 "$dir/schema.db" <"$dir/statements.sql" 2>&1 | awk '
    /^@scan/ { may_scan = 1; next }
    /^@ / { block = $2; place = $3 ":" $4; may_scan = 0; next }
    /rror/ && /line|near|prepare/ { print place ": S5 " block ": " $0; next }
    /(^|[^A-Za-z])SCAN / && !/SCAN (CONSTANT ROW|[0-9]+ CONSTANT)|VIRTUAL TABLE/ && !may_scan {
        sub(/^[ |`-]*/, "")
        print place ": S5 " block ": " $0 "; say \"-- scan: why\" if it must"
    }'

# Which functions name a statement: STORE_STMT_<name> in store/.
ls store/*.c >/dev/null 2>&1 || exit 0
# shellcheck disable=SC2046 # file names without spaces
awk '
    FILENAME ~ /\.sql$/ { if (/^-- name: /) { place[$3] = FILENAME ":" FNR; if ($3 in count) print FILENAME ":" FNR ": S4 " $3 ": two blocks have this name"; count[$3] = 0 } next }
    /^[A-Za-z_][A-Za-z0-9_]*\(/ { fn = $0; sub(/\(.*/, "", fn) }
    {
        line = $0
        while (match(line, /STORE_STMT_[A-Za-z0-9_]+/)) {
            id = substr(line, RSTART + 11, RLENGTH - 11)
            line = substr(line, RSTART + RLENGTH)
            if (id in place && !((id, FILENAME, fn) in seen)) { seen[id, FILENAME, fn] = 1; count[id]++; by[id] = by[id] " " fn "()" }
        }
    }
    END {
        for (id in place) {
            if (count[id] == 0) print place[id] ": S5 " id ": no function uses it"
            if (count[id] > 1) print place[id] ": S5 " id ": several functions use it:" by[id]
        }
    }' schema/statements/*.sql $(find store -name '*.c')
