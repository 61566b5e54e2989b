# SPDX-License-Identifier: MIT
# awk -f words.awk FILE...   words that must not occur.
# N5: the bare identifier `sid`, in C and SQL, outside strings and comments.
# N2: typedef of a struct, a type of ours that ends in _t.
# D1: no SPDX line. T: marks of unfinished work.

function fail(rule, text) { printf "%s:%d: %s %s\n", FILENAME, FNR, rule, text }

function end_file() {
    if (name != "" && !has_spdx) printf "%s:1: D1 no SPDX-License-Identifier line\n", name
}

# The line without strings and comments; in_comment lasts over lines.
function code_of(line,    out, c, two, i, n, quote) {
    out = ""
    n = length(line)
    quote = ""
    for (i = 1; i <= n; i++) {
        c = substr(line, i, 1)
        two = substr(line, i, 2)
        if (in_comment) {
            if (two == "*/") { in_comment = 0; i++ }
        } else if (quote != "") {
            if (c == "\\" && !is_sql) i++
            else if (c == quote) { quote = ""; out = out " " }
        } else if (two == "/*") { in_comment = 1; i++; out = out " " }
        else if (two == (is_sql ? "--" : "//")) break
        else if (c == "\"" || c == "'") quote = c
        else out = out c
    }
    return out
}

FNR == 1 {
    end_file()
    name = FILENAME
    is_c = FILENAME ~ /\.[ch]$/
    is_sql = FILENAME ~ /\.sql$/
    has_spdx = in_comment = 0
}

/SPDX-License-Identifier: MIT/ { has_spdx = 1 }
/(^|[^A-Za-z0-9_])(TOD[O]|FIXM[E]|XX[X])([^A-Za-z0-9_]|$)/ { fail("T", "unfinished work is an issue, not a comment") }

is_c || is_sql {
    code = code_of($0)
    if (code ~ /(^|[^A-Za-z0-9_])sid([^A-Za-z0-9_]|$)/) fail("N5", "`sid`: say eio_sid, sio_id or session")
}
is_c {
    if (code ~ /typedef[ \t]+(struct|union)[ \t]/) fail("N2", "typedef of a struct")
    if (code ~ /^(struct|union|enum)[ \t]+[a-z0-9_]+_t[ \t{;]/) fail("N2", "a type that ends in _t")
}
END { end_file() }
