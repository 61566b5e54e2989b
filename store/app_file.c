/*
 * Applications in SQL: the file into the database. Its triggers: app_trigger.c.
 *
 * 1. A file is applied in one transaction, by whichever process starts first; the others
 * find its hash.
 * 2. The triggers on incoming views are exactly those of the file: all others are dropped
 * before.
 *
 * Loop thread, before units run.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "store/open.h"
#include "store/script.h"
#include "store/step.h"

enum { FILE_MAX_BYTES = 1 << 20 };

/* What is applied, and where errors stand in it. */
struct app_file {
    const char *name;
    struct buf text;
    char hash[17];
    struct buf *err;
};

static void
hash_text(struct app_file *f)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < f->text.len; i++)
        hash = (hash ^ (unsigned char)f->text.p[i]) * 0x100000001b3u;
    (void)snprintf(f->hash, sizeof f->hash, "%016" PRIx64, hash);
}

static enum rc
read_file(struct app_file *f)
{
    FILE *in = fopen(f->name, "re");
    const char *why = NULL;
    size_t n;
    if (in == NULL) {
        buf_append_f(f->err, "%s: %s", f->name, strerror(errno));
        return errno == ENOENT ? RC_NOTFOUND : RC_IO;
    }
    do {
        n = fread(buf_reserve(&f->text, 65536), 1, 65536, in);
        f->text.len += n;
    } while (n > 0 && f->text.len <= FILE_MAX_BYTES);
    if (ferror(in))
        why = "can't be read";
    else if (f->text.len > FILE_MAX_BYTES)
        why = "is larger than 1 MB";
    else if (!str_is_utf8(buf_str(&f->text)) || memchr(f->text.p, 0, f->text.len))
        why = "is no text in UTF-8";
    fclose(in);
    if (why)
        buf_append_f(f->err, "%s: %s", f->name, why);
    hash_text(f);
    return why ? RC_INVALID : RC_OK;
}

static void
append_place(struct app_file *f, size_t offset)
{
    buf_append_f(f->err, "%s:%zu: ", f->name,
                 store_script_line(buf_str(&f->text), offset));
}

static int
authorize(void *arg, int action, const char *a, const char *b, const char *schema,
          const char *trigger)
{
    switch (action) {
    case SQLITE_CREATE_TEMP_INDEX:
    case SQLITE_CREATE_TEMP_TABLE:
    case SQLITE_CREATE_TEMP_TRIGGER:
    case SQLITE_CREATE_TEMP_VIEW:
        return SQLITE_DENY;
    default:
        return store_app_authorize(arg, action, a, b, schema, trigger);
    }
}

static enum rc
run_part(struct store_conn *c, struct app_file *f, const struct store_script_part *p)
{
    sqlite3_stmt *q = NULL;
    size_t offset = p->offset;
    int n, at;
    sqlite3_set_authorizer(c->db, authorize, NULL);
    n = sqlite3_prepare_v2(c->db, p->sql.p, (int)p->sql.len, &q, NULL);
    sqlite3_set_authorizer(c->db, NULL, NULL);
    if (n != SQLITE_OK && (at = sqlite3_error_offset(c->db)) > 0)
        offset += (size_t)at;
    if (n == SQLITE_OK && q)
        do
            n = sqlite3_step(q);
        while (n == SQLITE_ROW);
    if (conn_rc(n) != RC_OK) {
        append_place(f, offset);
        buf_append_z(f->err, n == SQLITE_AUTH ? "transactions, ATTACH, PRAGMA and TEMP "
                                                "are not for an application"
                                              : sqlite3_errmsg(c->db));
    }
    sqlite3_finalize(q);
    return conn_rc(n);
}

/* Triggers on incoming views stand for what the file says now, whatever their section. */
static bool
is_always(const struct store_script_part *p)
{
    struct store_script_trigger t;
    if (p->version == 0)
        return true;
    if (store_script_trigger(p->sql, &t))
        return store_app_is_incoming(t.table);
    return false;
}

/* The section that statements belong to, while they are gone through. */
struct section {
    int version;
    bool is_applied; /* it was, before */
};

static enum rc
enter_section(struct store_conn *c, struct section *s, int version)
{
    enum rc rc = RC_OK;
    if (s->version == version)
        return RC_OK;
    if (s->version && !s->is_applied)
        rc = store_app_add_version(c, s->version);
    s->version = version;
    s->is_applied = false;
    if (rc == RC_OK && version)
        rc = store_app_has_version(c, version, &s->is_applied);
    return rc;
}

static enum rc
run_file(struct store_conn *c, struct app_file *f)
{
    struct store_script script;
    struct store_script_part p;
    struct section section = {0};
    struct buf why = {0};
    enum rc rc;
    store_script_init(&script, buf_str(&f->text));
    while ((rc = store_script_next(&script, &p, &why)) == RC_OK) {
        rc = enter_section(c, &section, p.version);
        if (rc == RC_OK && (!section.is_applied || is_always(&p)))
            rc = run_part(c, f, &p);
        if (rc != RC_OK)
            break;
    }
    if (rc == RC_NOTFOUND)
        rc = enter_section(c, &section, 0);
    if (why.len) {
        append_place(f, p.offset);
        buf_append_str(f->err, buf_str(&why));
    }
    buf_fini(&why);
    return rc;
}

static size_t
find_trigger(const struct app_file *f, struct str name)
{
    struct store_script script;
    struct store_script_part p;
    struct store_script_trigger t;
    struct buf unused = {0};
    size_t offset = 0;
    store_script_init(&script, buf_str(&f->text));
    while (store_script_next(&script, &p, &unused) == RC_OK)
        if (store_script_trigger(p.sql, &t) && str_eq(t.name, name))
            offset = p.offset;
    buf_fini(&unused);
    return offset;
}

static void
on_broken(void *arg, struct str trigger, struct str error)
{
    struct app_file *f = arg;
    if (f->err->len)
        buf_append_c(f->err, '\n');
    append_place(f, find_trigger(f, trigger));
    buf_append_f(f->err, "trigger %.*s: %.*s", STR_ARG(trigger), STR_ARG(error));
}

/* In an open transaction. *n_broken: lines that triggers got in err, with RC_OK. */
static enum rc
apply(struct store_conn *c, struct app_file *f, size_t *n_broken)
{
    sqlite3_stmt *put;
    enum rc rc = store_app_drop_triggers(c);
    if (rc == RC_OK)
        rc = run_file(c, f);
    if (rc != RC_OK)
        return rc;
    put = conn_stmt(c, STORE_STMT_app_file_put);
    conn_bind_str(put, STORE_PARAM_app_file_put_hash, str_of(f->hash));
    rc = conn_done(put);
    return rc == RC_OK ? store_app_mend(c, on_broken, f, n_broken) : rc;
}

static enum rc
is_applied(struct store_conn *c, const struct app_file *f, bool *out)
{
    sqlite3_stmt *q = conn_stmt(c, STORE_STMT_app_file_read);
    enum rc rc = conn_step(q);
    *out = rc == RC_OK && str_eqz(conn_column(q, 0), f->hash) &&
           sqlite3_column_int(q, 1) != 0;
    sqlite3_reset(q);
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

/* The lines in err become rows and log lines. */
static enum rc
tell_broken(struct store_conn *c, struct buf *err)
{
    struct str rest = buf_str(err);
    enum rc rc = RC_OK;
    while (rest.len && rc == RC_OK) {
        struct str line = str_slice(rest, 0, str_index(rest, '\n'));
        rest = str_slice(rest, line.len + 1, rest.len);
        log_error("app", "trigger.broken", LOG_S("error", line));
        rc = store_app_error(c, &(struct store_group_info){.what = STR("trigger")}, line);
    }
    buf_clear(err);
    return rc;
}

/* Under the write lock. */
static enum rc
apply_once(struct store *st, struct app_file *f)
{
    struct store_conn *c;
    size_t n_broken = 0;
    bool is_done = false;
    enum rc rc = store_setup_begin(st, &c), end;
    if (rc != RC_OK)
        return rc;
    rc = is_applied(c, f, &is_done); /* by another process, meanwhile */
    if (rc == RC_OK && !is_done)
        rc = apply(c, f, &n_broken);
    if (rc == RC_OK && n_broken)
        rc = tell_broken(c, f->err);
    if (rc == RC_OK)
        rc = store_app_note_triggers(c);
    unsigned incoming = c->incoming;
    end = store_setup_end(st, rc == RC_OK);
    if (rc == RC_OK && end == RC_OK) /* else the old triggers are still there */
        store_reader(st)->incoming = incoming;
    if (rc == RC_OK && end == RC_OK && !is_done)
        log_info("app", "file.applied", LOG_Z("file", f->name));
    return rc == RC_OK ? end : rc;
}

enum rc
store_app_apply(struct store *st, const char *file, struct buf *err)
{
    struct app_file f = {.name = file, .err = err};
    enum rc rc = read_file(&f);
    bool is_done = false;
    if (rc != RC_OK)
        goto out;
    if (is_applied(store_reader(st), &f, &is_done) != RC_OK || !is_done ||
        store_app_note_triggers(store_reader(st)) != RC_OK)
        rc = apply_once(st, &f);
    if (rc != RC_OK && !err->len)
        buf_append_f(err, "%s: %s", file, rc_text(rc));
out:
    buf_fini(&f.text);
    return rc;
}

void
store_app_leave(struct store *st)
{
    store_reader(st)->incoming = 0;
}

bool
store_app_has(struct store *st, enum store_incoming what)
{
    return store_reader(st)->incoming & what;
}

enum rc
store_app_check(const char *file, struct buf *err)
{
    struct app_file f = {.name = file, .err = err};
    struct store_conn c = {0};
    struct cfg cfg;
    size_t n_broken = 0;
    enum rc rc = read_file(&f);
    if (rc != RC_OK)
        goto out;
    cfg_init(&cfg);
    rc = conn_open(&c, ":memory:", CONN_WRITE, &cfg, err);
    cfg_fini(&cfg);
    if (rc != RC_OK)
        goto out;
    rc = store_open_schema(&c, 0, err);
    if (rc == RC_OK)
        rc = apply(&c, &f, &n_broken);
    if (rc == RC_OK && n_broken)
        rc = RC_INVALID;
    conn_close(&c);
out:
    buf_fini(&f.text);
    return rc;
}

enum rc
store_app_outdate(struct store_conn *c)
{
    return conn_done(conn_stmt(c, STORE_STMT_app_file_forget));
}
