/*
 * Triggers of an application in SQL on the views that tell it what comes in.
 *
 * SQLite compiles all triggers of a view when one of them may fire. So one that needs a
 * table which is not there would fail every INSERT: it is replaced by one that has the
 * same WHEN and says what is wrong (store_app_mend).
 *
 * Loop thread, before units run; store_app_mend() on the store thread too.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "store/internal.h"
#include "store/script.h"

static const char *const VIEWS[] = {"connection", "event", "disconnect", "answer",
                                    "presence"};
enum { N_VIEWS = sizeof VIEWS / sizeof *VIEWS };

struct trigger {
    char *name, *view, *sql; /* owned */
    char *error;             /* owned; NULL: it compiles */
};
struct triggers {
    struct trigger *v;
    size_t n;
};

/* sqlite3_exec() of a text that sqlite3_mprintf() made. */
static enum rc
exec_take(struct store_conn *c, char *sql, struct buf *err)
{
    enum rc rc = sql ? conn_exec(c, sql, err) : RC_NOMEM;
    sqlite3_free(sql);
    return rc;
}

static void
triggers_fini(struct triggers *t)
{
    for (size_t i = 0; i < t->n; i++) {
        free(t->v[i].name);
        free(t->v[i].view);
        free(t->v[i].sql);
        free(t->v[i].error);
    }
    free(t->v);
    *t = (struct triggers){0};
}

static enum rc
triggers_read(struct store_conn *c, struct triggers *out)
{
    sqlite3_stmt *q = conn_stmt(c, STORE_STMT_app_triggers);
    enum rc rc;
    *out = (struct triggers){0};
    while ((rc = conn_step(q)) == RC_OK) {
        out->v = xrealloc(out->v, (out->n + 1) * sizeof *out->v);
        out->v[out->n++] = (struct trigger){.name = str_dup(conn_column(q, 0)),
                                            .view = str_dup(conn_column(q, 1)),
                                            .sql = str_dup(conn_column(q, 2))};
    }
    if (rc == RC_NOTFOUND)
        return RC_OK;
    triggers_fini(out);
    return rc;
}

static enum rc
drop(struct store_conn *c, const struct trigger *t)
{
    return exec_take(c, sqlite3_mprintf("DROP TRIGGER \"%w\"", t->name), NULL);
}

static unsigned
bit_of(const char *view)
{
    for (unsigned i = 0; i < N_VIEWS; i++)
        if (strcmp(VIEWS[i], view) == 0)
            return 1u << i; /* enum store_incoming */
    return 0;
}

enum rc
store_app_note_triggers(struct store_conn *c)
{
    struct triggers t;
    enum rc rc = triggers_read(c, &t);
    if (rc != RC_OK)
        return rc;
    c->incoming = 0;
    for (size_t i = 0; i < t.n; i++)
        c->incoming |= bit_of(t.v[i].view);
    triggers_fini(&t);
    return RC_OK;
}

bool
store_app_is_incoming(struct str view)
{
    for (size_t i = 0; i < N_VIEWS; i++)
        if (str_eq_nocase(view, VIEWS[i]))
            return true;
    return false;
}

enum rc
store_app_drop_triggers(struct store_conn *c)
{
    struct triggers all;
    enum rc rc = triggers_read(c, &all);
    for (size_t i = 0; rc == RC_OK && i < all.n; i++)
        rc = drop(c, &all.v[i]);
    triggers_fini(&all);
    return rc;
}

/* ---- triggers that do not compile ---- */

/* Does an INSERT into the view compile? */
static bool
compiles(struct store_conn *c, const char *view, struct buf *why)
{
    sqlite3_stmt *q = NULL;
    char *sql = sqlite3_mprintf("INSERT INTO \"%w\" DEFAULT VALUES", view);
    int n = sqlite3_prepare_v2(c->db, sql, -1, &q, NULL);
    if (n != SQLITE_OK && why)
        buf_append_z(why, sqlite3_errmsg(c->db));
    sqlite3_finalize(q);
    sqlite3_free(sql);
    return n == SQLITE_OK;
}

/* Does it compile without the view's other triggers, as `sql`? Nothing stays changed. */
static enum rc
compiles_alone(struct store_conn *c, const struct triggers *all, size_t which,
               const char *sql, bool *out, struct buf *why)
{
    enum rc rc = conn_exec(c, "SAVEPOINT alone", NULL), end;
    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; i < all->n && rc == RC_OK; i++)
        if (strcmp(all->v[i].view, all->v[which].view) == 0)
            rc = drop(c, &all->v[i]);
    if (rc == RC_OK) {
        *out = conn_exec(c, sql, why) == RC_OK;
        *out = *out && compiles(c, all->v[which].view, why);
    }
    end = conn_exec(c, "ROLLBACK TO alone; RELEASE alone", NULL);
    return rc == RC_OK ? end : rc;
}

/* By the refusing trigger: the same WHEN, and nothing but the error of the one that does
 * not compile. Where its WHEN is what does not compile, it is only dropped. */
static enum rc
replace(struct store_conn *c, const struct triggers *all, size_t which)
{
    const struct trigger *t = &all->v[which];
    struct store_script_trigger parts;
    bool can_refuse = false;
    enum rc rc = RC_OK;
    char *refusing = NULL, *text = sqlite3_mprintf("trigger %s: %s", t->name, t->error);
    if (store_script_trigger(str_of(t->sql), &parts))
        refusing = sqlite3_mprintf("%.*sBEGIN SELECT RAISE(ABORT, %Q); END",
                                   (int)parts.body, t->sql, text);
    if (refusing)
        rc = compiles_alone(c, all, which, refusing, &can_refuse, NULL);
    if (rc == RC_OK)
        rc = drop(c, t);
    if (rc == RC_OK && can_refuse)
        rc = conn_exec(c, refusing, NULL);
    sqlite3_free(refusing);
    sqlite3_free(text);
    return rc;
}

static enum rc
find_broken(struct store_conn *c, struct triggers *all, const char *view)
{
    enum rc rc = RC_OK;
    for (size_t i = 0; i < all->n && rc == RC_OK; i++) {
        struct buf why = {0};
        bool is_fine = true;
        if (strcmp(all->v[i].view, view) != 0)
            continue;
        rc = compiles_alone(c, all, i, all->v[i].sql, &is_fine, &why);
        if (rc == RC_OK && !is_fine)
            all->v[i].error = str_dup(buf_str(&why));
        buf_fini(&why);
    }
    return rc;
}

static enum rc
mend_all(struct store_conn *c, struct triggers *all, store_broken_fn *fn, void *arg,
         size_t *n)
{
    enum rc rc = RC_OK;
    for (size_t i = 0; i < N_VIEWS && rc == RC_OK; i++)
        if (!compiles(c, VIEWS[i], NULL))
            rc = find_broken(c, all, VIEWS[i]);
    for (size_t i = 0; i < all->n && rc == RC_OK; i++) {
        if (!all->v[i].error)
            continue;
        ++*n;
        rc = replace(c, all, i);
        if (rc == RC_OK)
            fn(arg, str_of(all->v[i].name), str_of(all->v[i].error));
    }
    if (rc == RC_OK && *n)
        rc = conn_done(conn_stmt(c, STORE_STMT_app_file_broken));
    return rc;
}

enum rc
store_app_mend(struct store_conn *c, store_broken_fn *fn, void *arg, size_t *n)
{
    struct triggers all;
    enum rc rc = triggers_read(c, &all);
    *n = 0;
    if (rc != RC_OK)
        return rc;
    rc = mend_all(c, &all, fn, arg, n);
    triggers_fini(&all);
    return rc;
}
