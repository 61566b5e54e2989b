/*
 * siolite app-check: is a file an application in SQL?
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>

#include "store/ctl/ctl.h"

static void
print_result(const struct ctl *c, const char *file, struct str err)
{
    struct buf b = {0};
    buf_append_z(&b, "{\"file\":");
    buf_append_json(&b, str_of(file), false);
    buf_append_f(&b, ",\"is_ok\":%s,\"errors\":[", err.len ? "false" : "true");
    for (bool is_first = true; err.len; is_first = false) {
        size_t end = str_index(err, '\n');
        buf_append_z(&b, is_first ? "" : ",");
        buf_append_json(&b, str_slice(err, 0, end), false);
        err = str_slice(err, end + 1, err.len);
    }
    buf_append_z(&b, "]}");
    if (c->is_json)
        printf("%.*s\n", STR_ARG(buf_str(&b)));
    buf_fini(&b);
}

static int
run_app_check(struct ctl *c)
{
    const char *file = c->n_words ? c->words[0] : c->cfg.app;
    struct buf err = {0};
    int status = 0;
    if (!file[0])
        return ctl_usage(c, "no FILE is given, and the configuration has no app");
    enum rc rc = store_app_check(file, &err);
    if (rc != RC_OK) {
        if (!err.len)
            buf_append_f(&err, "%s: %s", file, rc_text(rc));
        if (err.p[err.len - 1] == '\n')
            err.len--;
        status = CTL_FAILED;
        fprintf(stderr, "%.*s\n", STR_ARG(buf_str(&err)));
    } else if (!c->is_json) {
        printf("%s: ok\n", file);
    }
    print_result(c, file, rc == RC_OK ? STR_NONE : buf_str(&err));
    buf_fini(&err);
    return status;
}

const struct ctl_command ctl_app_check = {
    .name = "app-check",
    .words = "[FILE]",
    .n_words_max = 1,
    .help = "Checks an application in SQL, that of the configuration if no FILE is given",
    .run = run_app_check,
};
