# SPDX-License-Identifier: MIT
# awk -f size.awk FILE...   F2: at most 900 lines a file and 80 a function, signature not
# counted. A function that says in a comment "F2: why" in it or right above may be longer.

function end_file() {
    if (n_lines > 900) printf "%s:900: F2 the file has %d lines, 900 are the limit\n", name, n_lines
}
FNR == 1 { end_file(); name = FILENAME; start = 0; excuse = 0 }
{ n_lines = FNR }
/^[A-Za-z_][A-Za-z0-9_]*\(/ { function_name = $0; sub(/\(.*/, "", function_name) }
/F2: / { excuse = FNR }
/^\{/ { start = FNR }
/^\}/ {
    if (start && FNR - start + 1 > 80 && !(excuse && excuse >= start - 6))
        printf "%s:%d: F2 %s() has %d lines, 80 are the limit\n", FILENAME, start, function_name, FNR - start + 1
    start = 0
}
END { end_file() }
