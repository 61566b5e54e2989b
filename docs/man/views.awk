# The public views of schema/views/*.sql as a mdoc list: the comment above each view, its columns with the comment that
# stands beside each.
#
#   awk -f docs/man/views.awk schema/views/*.sql
#
# A column ends where its comma, or FROM, stands outside of all brackets and CASEs; a comment in it is its own, and lines that
# hold nothing else go on with the one before.
#
# SPDX-License-Identifier: MIT

function trim(s) {
    gsub(/^[ \t]+|[ \t]+$/, "", s)
    return s
}

# mdoc wants each sentence on a line of its own.
function lines_of(s,    out) {
    while (match(s, /[.!?] +[A-Z]/)) {
        out = out substr(s, 1, RSTART) "\n"
        s = substr(s, RSTART + RLENGTH - 1)
    }
    return out s
}

# Text as mdoc wants it: no control line, no escape.
function text(s) {
    gsub(/\\/, "\\e", s)
    s = lines_of(s)
    if (s ~ /^[.']/) s = "\\&" s
    return s
}

function end_column(    name) {
    name = trim(code)
    sub(/,$/, "", name)
    if (name == "") return
    if (!match(name, /[A-Za-z_]+$/)) return
    name = substr(name, RSTART)
    print ".It Cm " name
    if (trim(note) != "") print text(trim(note))
    code = note = ""
}

function depth_of(s,    n, word, rest) {
    gsub(/'[^']*'/, "", s)
    n = gsub(/\(/, "(", s) - gsub(/\)/, ")", s)
    rest = s
    while (match(rest, /[A-Za-z_]+/)) {
        word = substr(rest, RSTART, RLENGTH)
        rest = substr(rest, RSTART + RLENGTH)
        if (word == "CASE") n++
        if (word == "END") n--
    }
    return n
}

# The code of a line, its comment split off.
function split_line(line,    i, in_text, c) {
    comment = ""
    for (i = 1; i <= length(line); i++) {
        c = substr(line, i, 1)
        if (c == "'") in_text = !in_text
        if (!in_text && substr(line, i, 2) == "--") {
            comment = trim(substr(line, i + 2))
            return substr(line, 1, i - 1)
        }
    }
    return line
}

BEGIN { print ".Bl -tag -width Ds" }

/^-- -----/ || /^$/ { if (!in_view) about = ""; next }
/^--/ && !in_view { about = about " " trim(substr($0, 3)); next }

/^CREATE VIEW / {
    name = $3
    in_view = name !~ /^t_/
    is_open = 0
    depth = 0
    code = note = ""
    if (in_view) {
        print ".It Sy " name
        if (trim(about) != "") print text(trim(about))
        print ".Bl -tag -width Ds"
    }
    about = ""
    next
}

in_view && /^CREATE|^DROP|^BEGIN/ { in_view = 0 }
/^DROP VIEW/ { next } # stands between a view and its comment
!in_view { about = ""; next }

{
    line = split_line($0)
    at_end = line ~ /;[ \t]*$/
    if (!is_open && line ~ /^    SELECT /) {
        is_open = 1
        sub(/^    SELECT (DISTINCT )?/, "", line)
    }
    if (is_open && depth == 0 && line ~ /^    (FROM|WHERE|UNION)[ \t]/) {
        end_column()
        is_open = 2
    }
    is_last = is_open == 1 && depth == 0 && match(line, /^[a-z_., ]+ FROM /) # all in one line
    if (is_last) line = substr(line, 1, RLENGTH - 6)
    if (is_open == 1) {
        # "a, b, c" in one line: each is a column.
        while (depth == 0 && match(line, /^[ \t]*[a-z_.]+,[ \t]*[^ \t]/) && comment == "") {
            end_column()
            code = substr(line, 1, index(line, ","))
            line = substr(line, index(line, ",") + 1)
            end_column()
        }
        if (trim(line) != "") {
            if (depth == 0 && code ~ /,[ \t]*$/) end_column()
            code = code " " trim(line)
            depth += depth_of(line)
        }
        note = note " " comment
    }
    if (is_last) {
        end_column()
        is_open = 2
    }
    if (at_end) {
        if (is_open == 1) end_column()
        print ".El"
        in_view = 0
    }
}

END { print ".El" }
