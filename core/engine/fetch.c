/*
 * Reads of handlers: the committed state, as of the fence; of the own socket with the
 * unit's own effects.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/target.h"

/* ---- rooms ---- */

static void
on_name(void *arg, struct str name)
{
    json_array_append_new(arg, json_stringn(name.p ? name.p : "", name.len));
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(json_string_value(*(json_t *const *)a),
                  json_string_value(*(json_t *const *)b));
}

static json_t *
sorted(json_t *names)
{
    size_t n = json_array_size(names);
    json_t **p = xmalloc((n + 1) * sizeof *p);
    for (size_t i = 0; i < n; i++)
        p[i] = json_incref(json_array_get(names, i));
    qsort(p, n, sizeof *p, compare_names);
    json_array_clear(names);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(names, p[i]);
    free(p);
    return names;
}

static void
remove_name(json_t *names, const char *name)
{
    for (size_t i = 0; i < json_array_size(names); i++)
        if (strcmp(json_string_value(json_array_get(names, i)), name) == 0) {
            json_array_remove(names, i);
            return;
        }
}

json_t *
app_rooms(struct app_call *c)
{
    json_t *names = json_array();
    if (c->k == NULL) {
        call_fail(c, RC_INVALID, "app_rooms: no socket");
        return names;
    }
    if (c->k->socket_id > 0) {
        enum rc rc = store_read_rooms(c->w->e->store, c->k->socket_id, on_name, names);
        if (rc != RC_OK && rc != RC_NOTFOUND)
            call_fail(c, rc, "app_rooms: can't be read");
    }
    for (const struct work_room *r = c->k->own.rooms; r != NULL; r = r->next) {
        remove_name(names, r->name);
        if (r->is_in)
            json_array_append_new(names, json_string(r->name));
    }
    return sorted(names);
}

/* ---- sockets of a target ---- */

struct fetched_ids {
    int64_t socket_id, session_id;
};

struct fetched {
    json_t *list;
    struct fetched_ids *ids;
    size_t n, cap;
};

static void
on_fetched(void *arg, const struct store_socket *s)
{
    struct fetched *f = arg;
    if (f->n == f->cap) {
        f->cap = f->cap ? f->cap * 2 : 16;
        f->ids = xrealloc(f->ids, f->cap * sizeof *f->ids);
    }
    f->ids[f->n++] = (struct fetched_ids){s->socket_id, s->session_id};
    if (f->list == NULL)
        return;
    json_t *o = json_object();
    json_t *data = s->data.len > 0 ? json_loadb(s->data.p, s->data.len,
                                                JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL)
                                   : NULL;
    json_object_set_new(o, "id", json_stringn(s->sio_id.p, s->sio_id.len));
    json_object_set_new(
        o, "user", s->user.len > 0 ? json_stringn(s->user.p, s->user.len) : json_null());
    json_object_set_new(o, "rooms", json_array());
    json_object_set_new(o, "data", data ? data : json_null());
    json_array_append_new(f->list, o);
}

static enum rc
fetch(struct app_to *t, struct fetched *f)
{
    struct store_target target = target_of(t);
    enum rc rc = store_read_target(t->c->w->e->store, &target, on_fetched, f);
    if (rc != RC_OK && rc != RC_NOTFOUND)
        call_fail(t->c, rc, "the sockets can't be read");
    return rc;
}

/* What the list of sockets does not have. */
static void
complete(struct app_to *t, const struct fetched_ids *ids, json_t *o)
{
    struct store *store = t->c->w->e->store;
    struct str json, remote;
    enum rc rc =
        store_read_rooms(store, ids->socket_id, on_name, json_object_get(o, "rooms"));
    if ((rc == RC_OK || rc == RC_NOTFOUND) && (t->flags & APP_HANDSHAKES)) {
        rc = store_read_handshake(store, ids->session_id, &json, &remote);
        if (rc == RC_OK)
            json_object_set_new(o, "handshake",
                                json_loadb(json.p, json.len, JSON_ALLOW_NUL, NULL));
    }
    if (rc != RC_OK && rc != RC_NOTFOUND)
        call_fail(t->c, rc, "app_fetch: rooms or handshakes can't be read");
}

json_t *
/* SIO-FETCH */
app_fetch(struct app_to *t)
{
    struct fetched f = {.list = json_array()};
    if (t->c->error == RC_OK && fetch(t, &f) == RC_OK)
        for (size_t i = 0; i < f.n; i++)
            complete(t, &f.ids[i], json_array_get(f.list, i));
    free(f.ids);
    return f.list;
}

size_t
app_count(struct app_to *t)
{
    struct fetched f = {0};
    if (t->c->error == RC_OK && fetch(t, &f) != RC_OK)
        f.n = 0;
    free(f.ids);
    return f.n;
}

/* ---- application SQL ---- */

#define VALUES_MAX 64

/* Values of fmt; strings are borrowed from the arguments or lent by the call. */
static bool
values(struct app_call *c, const char *verb, const char *fmt, va_list args,
       struct store_value *v, size_t *n)
{
    for (*n = 0; *fmt != '\0' && *n < VALUES_MAX; fmt++, (*n)++) {
        struct store_value *x = &v[*n];
        *x = (struct store_value){.type = STORE_TEXT};
        switch (*fmt) {
        case 's': {
            const char *s = va_arg(args, const char *);
            x->type = s ? STORE_TEXT : STORE_NULL;
            x->s = str_of(s);
            break;
        }
        case 'S':
        case 'B':
            x->type = *fmt == 'B' ? STORE_BLOB : STORE_TEXT;
            x->s.p = va_arg(args, const void *);
            x->s.len = va_arg(args, size_t);
            break;
        case 'i':
            x->type = STORE_INT;
            x->i = va_arg(args, int64_t);
            break;
        case 'b':
            x->type = STORE_INT;
            x->i = va_arg(args, int) != 0;
            break;
        case 'f':
            x->type = STORE_REAL;
            x->d = va_arg(args, double);
            break;
        case 'n':
            x->type = STORE_NULL;
            break;
        case 'j': {
            json_t *j = va_arg(args, json_t *);
            char *text = j ? json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
            json_decref(j);
            x->type = text ? STORE_TEXT : STORE_NULL;
            x->s = text ? str_of(call_lend_str(c, str_of(text))) : STR_NONE;
            free(text);
            break;
        }
        default:
            call_fail(c, RC_INVALID, "%s: unknown format letter '%c'", verb, *fmt);
            return false;
        }
    }
    return true;
}

void
app_exec(struct app_call *c, const char *stmt, const char *fmt, ...)
{
    struct store_value v[VALUES_MAX];
    size_t n;
    va_list args;
    va_start(args, fmt);
    bool is_ok = values(c, "app_exec", fmt, args, v, &n);
    va_end(args);
    if (!is_ok || !call_may(c, "app_exec") || c->error != RC_OK)
        return;
    c->w->changes_state = true;
    store_unit_exec(work_unit(c->w), stmt, v, n);
}

static json_t *
json_of(const struct store_value *v)
{
    switch (v->type) {
    case STORE_NULL:
        return json_null();
    case STORE_INT:
        return json_integer(v->i);
    case STORE_REAL:
        return json_real(v->d);
    case STORE_TEXT:
    case STORE_BLOB:
        break;
    }
    json_t *text = json_stringn(v->s.p ? v->s.p : "", v->s.len);
    return text ? text : json_null();
}

static void
on_row(void *arg, const struct store_value *v, size_t n)
{
    json_t *row = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(row, json_of(&v[i]));
    json_array_append_new(arg, row);
}

json_t *
app_select(struct app_call *c, const char *stmt, const char *fmt, ...)
{
    struct store_value v[VALUES_MAX];
    size_t n;
    va_list args;
    va_start(args, fmt);
    bool is_ok = values(c, "app_select", fmt, args, v, &n);
    va_end(args);
    if (!is_ok || !call_may(c, "app_select") || c->error != RC_OK)
        return NULL;
    struct buf err;
    buf_init(&err);
    json_t *rows = json_array();
    enum rc rc = store_app_select(c->w->e->store, stmt, v, n, on_row, rows, &err);
    if (rc != RC_OK) {
        call_fail(c, rc, "app_select(%s): %.*s", stmt, STR_ARG(buf_str(&err)));
        json_decref(rows);
        rows = NULL;
    }
    buf_fini(&err);
    return rows;
}
