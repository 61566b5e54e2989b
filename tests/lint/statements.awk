# SPDX-License-Identifier: MIT
# awk -f statements.awk FILE...   turns schema/statements/*.sql into input for the sqlite3
# shell: for each block "-- name: x" a mark with name and place, then its EXPLAIN QUERY PLAN.

function flush() { if (sql != "") printf "EXPLAIN QUERY PLAN\n%s\n", sql; sql = "" }

/^-- name: / {
    flush()
    block = $3
    printf ".print \"@ %s %s %d\"\n", block, FILENAME, FNR
    next
}
FNR == 1 && !/^-- name: / { flush(); block = "" }
/^-- scan: [^ ]/ { printf ".print \"@scan\"\n"; next }
/^[ \t]*--/ || /^[ \t]*$/ { next }
block != "" { sql = sql $0 "\n" }
END { flush() }
