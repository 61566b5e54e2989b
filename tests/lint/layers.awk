# SPDX-License-Identifier: MIT
# awk -f layers.awk layers.txt FILE...   L4: every #include is one that layers.txt allows.
# F1: ours are included by their path from the root, and a .c includes its own header first.

function fail(rule, text) { printf "%s:%d: %s %s\n", FILENAME, FNR, rule, text }
function folder(path) { sub(/\/[^\/]*$/, "", path); return path }

FILENAME ~ /layers\.txt$/ {
    if (/^#/ || NF == 0) next
    if ($1 == "header") { for (i = 3; i <= NF; i++) owner[$i] = $2; next }
    known[$1] = 1
    allowed[$1, $1] = 1
    for (i = 3; i <= NF; i++) allowed[$1, $i] = 1
    next
}

FNR == 1 {
    from = folder(FILENAME)
    n_includes = 0
    own = FILENAME
    sub(/\.c$/, ".h", own)
    has_own = own != FILENAME && (getline unused < own) >= 0
    close(own)
    if (!(from in known)) fail("L4", "layers.txt does not know the folder " from)
}

/^[ \t]*#[ \t]*include[ \t]*[<"]/ {
    line = $0
    match(line, /[<"][^>"]*[>"]/)
    quote = substr(line, RSTART, 1)
    path = substr(line, RSTART + 1, RLENGTH - 2)
    n_includes++
    if (path in owner) to = owner[path]
    else if (quote == "<") next
    else if (path !~ /\//) { fail("F1", "\"" path "\": includes start at the root"); next }
    else to = folder(path)
    if (n_includes == 1) first = path
    if (has_own && n_includes > 1 && path == own && first != own)
        fail("F1", "its own header comes first")
    # A test may include the .c that it tests.
    if (path ~ /\.c$/ && from !~ /^tests\//) fail("F1", "includes a .c file")
    if (!((from, "*") in allowed) && !((from, to) in allowed))
        fail("L4", from " may not include " path " (" to ")")
}
