# Embeds the templates of `siolite conf`.
#
#   awk -f store/ctl/conf/conf.awk store/ctl/conf/*.in > ctl_conf.h
#
# CONF_TEMPLATES[] has a name and a text for each file; those whose name begins with an
# underscore are parts of others. store/ctl/conf_template.h says what a template may hold.
#
# SPDX-License-Identifier: MIT

function quote(line) {
    gsub(/\\/, "&&", line)
    gsub(/"/, "\\\"", line)
    gsub(/\t/, "\\t", line)
    gsub(/\?\?/, "?\\?", line)
    return "     \"" line "\\n\"\n"
}

FNR == 1 {
    name = FILENAME
    sub(/^.*\//, "", name)
    sub(/\.in$/, "", name)
    names[++n] = name
}

{ texts[name] = texts[name] quote($0) }

END {
    print "/* Made by store/ctl/conf/conf.awk. */"
    print "static const struct {\n    const char *name, *text;\n} CONF_TEMPLATES[] = {"
    for (i = 1; i <= n; i++)
        printf "    {\"%s\",\n%s    },\n", names[i], texts[names[i]]
    print "};"
}
