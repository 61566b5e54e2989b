/*
 * GETs of the HTTP API: rows of the public views as JSON.
 *
 *     is_…             true or false, though the view has 1 or 0
 *     args, data, …    the JSON itself; binary data as binary.h spells it
 *
 * A question may be waited for: the request is parked, without a thread or a read of its
 * own, until something was committed.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/engine/api.h"
#include "core/engine/binary.h"
#include "core/sio/json.h"

enum {
    LIMIT = 100,
    LIMIT_MAX = 1000,
    OFFSET_MAX = 1000000000,
    WAIT_S_MAX = 60,
    LOOK_MS = 10, /* between two looks of who waits */
    LOOK_LATE_MS = 1000
};
#define ANSWER_BYTES_MAX ((size_t)8 << 20)

static const struct api_view VIEWS[] = {
    {"socket", "socket nsp user data session_id is_recovered ", "socket nsp user "},
    {"member", "nsp room socket user data ", "nsp room socket user "},
    {"room", "nsp room n_members ", "nsp room "},
    {"presence", "user nsp is_online n_sockets since seen ", "user nsp is_online "},
    {"ask",
     "name nsp room rooms except_room except_rooms event args timeout_ms n_expected "
     "n_answered state asked forgotten ",
     "name state "},
    {"answer", "name socket is_answered n args ", "name socket is_answered "},
    {"outbox", "id user nsp event args expires_at state made_at sent_at acked_at answer ",
     "user nsp event state "},
};

const struct api_view *
api_view_find(struct str name)
{
    for (size_t i = 0; i < sizeof VIEWS / sizeof *VIEWS; i++)
        if (str_eqz(name, VIEWS[i].name))
            return &VIEWS[i];
    return NULL;
}

static bool
has_word(struct str list, struct str word)
{
    while (list.len > 0)
        if (str_eq(str_cut(&list, ' '), word))
            return true;
    return false;
}

/* ---- rows as JSON ---- */

struct rows {
    struct buf *b;
    const struct api_view *view;
    size_t n, limit;
    bool is_more;
};

static const struct store_value *
value_of(const struct store_field *row, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(row[i].name, name))
            return &row[i].value;
    return NULL;
}

/* JSON as it is; what isn't JSON after all is a text. */
static void
append_raw(struct buf *b, struct str json, struct str attachments)
{
    enum sio_json_kind kind;
    struct str value, rest;
    size_t begin = b->len;
    if (sio_json_scan(json, SIO_JSON_DEPTH_MAX, &kind, &value, &rest) != RC_OK ||
        sio_json_skip_space(rest).len > 0) {
        buf_append_json(b, json, false);
    } else if (binary_spell(b, value, attachments, ANSWER_BYTES_MAX) != RC_OK) {
        b->len = begin;
        buf_append_z(b, "null");
    }
}

static void
append_value(struct buf *b, struct str name, const struct store_value *v,
             struct str attachments)
{
    if (v == NULL || v->type == STORE_NULL || v->type == STORE_BLOB)
        buf_append_z(b, "null");
    else if (v->type == STORE_INT && str_has_prefix(name, STR("is_")))
        buf_append_z(b, v->i ? "true" : "false");
    else if (v->type == STORE_INT)
        buf_append_int(b, v->i);
    else if (v->type == STORE_REAL)
        buf_append_f(b, "%.15g", v->d);
    else if (v->is_json)
        append_raw(b, v->s, attachments);
    else
        buf_append_json(b, v->s, false);
}

/* The members of an object, without its braces. */
static void
append_row(struct buf *b, const struct api_view *view, const struct store_field *row,
           size_t n)
{
    const struct store_value *binary = value_of(row, n, STR("attachments"));
    struct str list = str_of(view->columns);
    const char *comma = "";
    while (list.len > 0) {
        struct str name = str_cut(&list, ' ');
        buf_append_f(b, "%s\"%.*s\":", comma, STR_ARG(name));
        append_value(b, name, value_of(row, n, name), binary ? binary->s : STR_NONE);
        comma = ",";
    }
}

/* One row more than wanted tells that there are more. */
static void
on_item(void *arg, const struct store_field *row, size_t n)
{
    struct rows *r = arg;
    if (r->n == r->limit || r->b->len > ANSWER_BYTES_MAX)
        r->is_more = true;
    if (r->is_more)
        return;
    if (r->n++ > 0)
        buf_append_c(r->b, ',');
    buf_append_c(r->b, '{');
    append_row(r->b, r->view, row, n);
    buf_append_c(r->b, '}');
}

/* ---- what is asked for ---- */

struct wanted {
    struct store_field filter[API_PARAMS_MAX];
    size_t n_filter;
    int64_t limit, offset, wait_s;
};

static bool
refuse(struct engine_http *h, struct str name, const char *what, const char *more)
{
    struct buf text = {0};
    buf_append_f(&text, "%.*s: %s%s", STR_ARG(name), what, more);
    api_answer_error(h, API_E_INVALID, name, -1, buf_str(&text));
    buf_fini(&text);
    return false;
}

static bool
take_number(struct engine_http *h, const struct eio_param *p, int64_t min, int64_t max,
            int64_t *out)
{
    char range[64];
    if (str_to_int(p->value, min, max, out) == RC_OK)
        return true;
    (void)snprintf(range, sizeof range, "%lld to %lld", (long long)min, (long long)max);
    return refuse(h, p->name, "must be a whole number from ", range);
}

static bool
take_filter(struct engine_http *h, const struct eio_param *p, struct wanted *w)
{
    struct store_value v = {.type = STORE_TEXT, .s = p->value};
    if (str_has_prefix(p->name, STR("is_"))) {
        v = (struct store_value){.type = STORE_INT, .i = str_eqz(p->value, "true")};
        if (!v.i && !str_eqz(p->value, "false"))
            return refuse(h, p->name, "must be true or false", "");
    }
    w->filter[w->n_filter++] = (struct store_field){.name = p->name, .value = v};
    return true;
}

static bool
is_repeated(const struct api_call *c, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (str_eq(c->params[j].name, c->params[i].name))
            return true;
    return false;
}

/* False: it is answered. */
static bool
read_params(struct engine_http *h, struct wanted *w)
{
    const struct api_call *c = h->api;
    bool is_ok = true;
    *w = (struct wanted){.limit = LIMIT};
    if (c->too_many.len > 0)
        return refuse(h, c->too_many, "is one parameter too many", "");
    for (size_t i = 0; is_ok && i < c->n_params; i++) {
        const struct eio_param *p = &c->params[i];
        if (is_repeated(c, i))
            is_ok = refuse(h, p->name, "given twice", "");
        else if (c->what == API_ASK && str_eqz(p->name, "wait"))
            is_ok = take_number(h, p, 0, WAIT_S_MAX, &w->wait_s);
        else if (c->what == API_ROWS && str_eqz(p->name, "limit"))
            is_ok = take_number(h, p, 1, LIMIT_MAX, &w->limit);
        else if (c->what == API_ROWS && str_eqz(p->name, "offset"))
            is_ok = take_number(h, p, 0, OFFSET_MAX, &w->offset);
        else if (c->what == API_ROWS && has_word(str_of(c->view->filters), p->name))
            is_ok = take_filter(h, p, w);
        else if (c->what == API_ROWS)
            is_ok = refuse(h, p->name, "no such parameter; allowed: limit offset ",
                           c->view->filters);
        else
            is_ok = refuse(h, p->name, "no such parameter",
                           c->what == API_ASK ? "; allowed: wait" : "");
    }
    return is_ok;
}

/* ---- reading ---- */

static void read_again(struct later *l);

/* What isn't RC_OK: it is answered, or tried again. */
static void
fail(struct engine_http *h, enum rc rc, struct buf *err)
{
    if (rc == RC_BUSY)
        api_again(h, read_again);
    else
        api_answer_error(h, API_E_UNAVAILABLE, STR_NONE, -1,
                         err->len > 0 ? buf_str(err) : str_of(rc_text(rc)));
}

/* Rows of a view, one at least asked for, into a list. */
static enum rc
read_rows(struct engine_http *h, struct rows *r, const struct store_field *filter,
          size_t n_filter, size_t offset, struct buf *err)
{
    struct store_view_read v = {.view = str_of(r->view->name),
                                .filter = filter,
                                .n_filter = n_filter,
                                .limit = r->limit + 1,
                                .offset = offset};
    return store_read_view(h->e->store, &v, on_item, r, err);
}

static void
read_list(struct engine_http *h, const struct wanted *w)
{
    struct buf b = {0}, err = {0};
    struct rows r = {.b = &b, .view = h->api->view, .limit = (size_t)w->limit};
    buf_append_z(&b, "{\"items\":[");
    enum rc rc = read_rows(h, &r, w->filter, w->n_filter, (size_t)w->offset, &err);
    buf_append_f(&b, "],\"is_more\":%s}\n", r.is_more ? "true" : "false");
    if (rc == RC_OK)
        api_answer_json(h, buf_str(&b));
    else
        fail(h, rc, &err);
    buf_fini(&b);
    buf_fini(&err);
}

/* ---- one socket ---- */

struct rooms {
    struct buf *b;
    const char *comma;
};

static void
on_room(void *arg, const struct store_field *row, size_t n)
{
    struct rooms *r = arg;
    const struct store_value *room = value_of(row, n, STR("room"));
    buf_append_z(r->b, r->comma);
    buf_append_json(r->b, room->s, false);
    r->comma = ",";
}

struct one {
    struct buf *b;
    const struct api_view *view;
    bool is_found, is_open;
};

static void
on_one(void *arg, const struct store_field *row, size_t n)
{
    struct one *o = arg;
    const struct store_value *state = value_of(row, n, STR("state"));
    append_row(o->b, o->view, row, n);
    o->is_found = true;
    o->is_open = state != NULL && str_eqz(state->s, "open");
}

/* The row whose column `name` is the id. */
static enum rc
read_one(struct engine_http *h, struct one *o, const char *name, struct buf *err)
{
    struct store_field f = {.name = str_of(name),
                            .value = {.type = STORE_TEXT, .s = buf_str(&h->api->id)}};
    struct store_view_read v = {
        .view = str_of(o->view->name), .filter = &f, .n_filter = 1, .limit = 1};
    return store_read_view(h->e->store, &v, on_one, o, err);
}

static enum rc
read_socket(struct engine_http *h, struct one *o, struct buf *err)
{
    struct rooms rooms = {.b = o->b, .comma = ""};
    struct store_field f = {.name = STR("socket"),
                            .value = {.type = STORE_TEXT, .s = buf_str(&h->api->id)}};
    struct store_view_read v = {.view = STR("member"),
                                .filter = &f,
                                .n_filter = 1,
                                .limit = (size_t)h->e->cfg->n_rooms_max};
    enum rc rc = read_one(h, o, "socket", err);
    buf_append_z(o->b, ",\"rooms\":[");
    if (rc == RC_OK)
        rc = store_read_view(h->e->store, &v, on_room, &rooms, err);
    buf_append_c(o->b, ']');
    return rc;
}

/* ---- a question ---- */

static enum rc
read_question(struct engine_http *h, struct one *o, struct buf *err)
{
    struct rows r = {.b = o->b, .view = api_view_find(STR("answer")), .limit = LIMIT_MAX};
    struct store_field f = {.name = STR("name"),
                            .value = {.type = STORE_TEXT, .s = buf_str(&h->api->id)}};
    enum rc rc = read_one(h, o, "name", err);
    buf_append_z(o->b, ",\"answers\":[");
    if (rc == RC_OK)
        rc = read_rows(h, &r, &f, 1, 0, err);
    buf_append_f(o->b, "],\"is_more\":%s", r.is_more ? "true" : "false");
    return rc;
}

static void
on_timer(struct timer *t)
{
    struct engine_http *h =
        (struct engine_http *)((char *)t - offsetof(struct engine_http, timer));
    h->api->is_looking = false;
    api_read(h);
}

/* Until something was committed, and not for ever. */
static void
park(struct engine_http *h, int64_t now_ms)
{
    struct api_call *c = h->api;
    int64_t due_ms = now_ms + LOOK_LATE_MS;
    if (c->at == NULL) {
        c->next = h->e->api_waits;
        c->at = &h->e->api_waits;
        if (c->next != NULL)
            c->next->at = &c->next;
        h->e->api_waits = c;
    }
    h->state = HTTP_PARKED;
    h->timer.fn = on_timer;
    timers_arm(&h->e->timers, &h->timer, due_ms < c->until_ms ? due_ms : c->until_ms);
}

void
api_woken(struct engine *e)
{
    for (struct api_call *c = e->api_waits; c != NULL; c = c->next) {
        if (c->is_looking)
            continue;
        c->is_looking = true;
        timers_arm(&e->timers, &c->h->timer, clock_now_ms() + LOOK_MS);
    }
}

/* How long it may be held, as a poll may be. */
static enum rc
choose_end(struct engine_http *h, int64_t wait_s, int64_t now_ms)
{
    int64_t max_seq, hold_ms;
    enum rc rc = store_read_begin(h->e->store, &max_seq);
    if (rc != RC_OK)
        return rc;
    hold_ms = hold_choose(h->e);
    store_read_end(h->e->store);
    h->api->until_ms = now_ms + (wait_s * 1000 < hold_ms ? wait_s * 1000 : hold_ms);
    return RC_OK;
}

/* ---- the request ---- */

static enum rc
read_all(struct engine_http *h, const struct wanted *w, struct one *o, struct buf *err)
{
    struct api_call *c = h->api;
    int64_t max_seq, now_ms = clock_now_ms();
    enum rc rc = RC_OK;
    if (c->what == API_ASK && c->until_ms == 0)
        rc = choose_end(h, w->wait_s, now_ms);
    if (rc == RC_OK)
        rc = store_read_begin(h->e->store, &max_seq);
    if (rc != RC_OK)
        return rc;
    buf_append_c(o->b, '{');
    rc = c->what == API_ASK ? read_question(h, o, err) : read_socket(h, o, err);
    store_read_end(h->e->store);
    buf_append_z(o->b, "}\n");
    return rc;
}

static void
read_thing(struct engine_http *h, const struct wanted *w)
{
    const struct api_call *c = h->api;
    const char *name = c->what == API_ASK ? "ask" : "socket";
    struct buf b = {0}, err = {0};
    struct one o = {.b = &b, .view = api_view_find(str_of(name))};
    int64_t now_ms = clock_now_ms();
    enum rc rc = read_all(h, w, &o, &err);
    if (rc != RC_OK) {
        fail(h, rc, &err);
    } else if (!o.is_found) {
        buf_append_f(&err, "%s: there is none of this name, or no more", name);
        api_answer_error(h, API_E_NOT_FOUND, str_of(name), -1, buf_str(&err));
    } else if (o.is_open && now_ms < c->until_ms && !h->e->is_draining) {
        park(h, now_ms);
    } else {
        api_answer_json(h, buf_str(&b));
    }
    buf_fini(&b);
    buf_fini(&err);
}

static void
read_again(struct later *l)
{
    struct engine_http *h =
        (struct engine_http *)((char *)l - offsetof(struct engine_http, later));
    if (h->answer == NULL)
        http_free(h);
    else
        api_read(h);
}

void
api_read(struct engine_http *h)
{
    struct wanted w;
    if (!read_params(h, &w))
        return;
    if (h->api->what == API_ROWS)
        read_list(h, &w);
    else
        read_thing(h, &w);
}

void
api_gone(struct engine_http *h)
{
    http_free(h);
}

void
api_drain(struct engine_http *h)
{
    if (h->state == HTTP_PARKED)
        api_read(h);
}
