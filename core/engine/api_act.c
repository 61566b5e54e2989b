/*
 * POSTs to the HTTP API: verbs, in one unit, so all of them happen or none.
 *
 * With an Idempotency-Key the unit keeps the answer under the key, too: who sends the
 * same again gets that answer, and nothing happens a second time. What was refused is not
 * kept: nothing had happened.
 *
 * SPDX-License-Identifier: MIT
 */
#include <inttypes.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/rnd.h"
#include "core/engine/api.h"
#include "core/sio/json.h"

enum {
    ACTIONS_MAX = 1000,
    DEPTH_AROUND = 3 /* of args: the list, the action, its members */
};

/* ---- the verbs of a body ---- */

struct walk { /* over them, in order */
    const struct api_call *c;
    enum sio_json_kind kind;
    struct str value, rest; /* the body; what is left of it */
    size_t n, n_asks;       /* verbs, and questions among them, so far */
    const char *made;       /* what questions are called that do not say */
    /* the present one */
    char verb[ACTION_VERB_SIZE];
    struct str members;
    char ask_name[RND_ID_LEN + 16];
};

static struct walk
walk_begin(const struct api_call *c, enum sio_json_kind kind, struct str value,
           const char *made)
{
    struct walk w = {.c = c, .kind = kind, .value = value, .made = made};
    if (kind == SIO_JSON_ARRAY)
        w.rest = str_slice(value, 1, value.len - 1);
    return w;
}

static enum rc
take_verb(struct walk *w, struct buf *err)
{
    if (w->kind != SIO_JSON_OBJECT) {
        buf_append_f(err, "%s: must be an object of fields", w->c->verb);
        return RC_INVALID;
    }
    (void)snprintf(w->verb, sizeof w->verb, "%s", w->c->verb);
    w->members = w->value;
    return RC_OK;
}

/* RC_NOTFOUND: there are no more. RC_INVALID: number w->n is no action. */
static enum rc
walk_next(struct walk *w, struct buf *err)
{
    enum sio_json_kind kind;
    struct str action = w->value;
    bool is_list = w->kind == SIO_JSON_ARRAY && w->c->what == API_ACTIONS;
    enum rc rc;
    if (is_list ? sio_json_next(&w->rest, &kind, &action) != RC_OK : w->n > 0)
        return RC_NOTFOUND;
    if (w->c->what == API_VERB)
        rc = take_verb(w, err);
    else
        rc = action_parse(action, w->verb, &w->members, err);
    if (rc != RC_OK)
        return rc;
    w->n++;
    if (strcmp(w->verb, "ask") == 0) {
        if (w->n_asks++ == 0)
            (void)snprintf(w->ask_name, sizeof w->ask_name, "%s", w->made);
        else
            (void)snprintf(w->ask_name, sizeof w->ask_name, "%s-%zu", w->made, w->n_asks);
    }
    return RC_OK;
}

/* ---- the answer, which is known before ---- */

/* A question's name, as JSON. */
static void
append_name(struct buf *asks, const struct walk *w)
{
    enum sio_json_kind kind = SIO_JSON_NULL;
    struct str name = STR_NONE;
    if (sio_json_member(w->members, "name", &kind, &name) != RC_OK)
        kind = SIO_JSON_NULL;
    if (asks->len > 0)
        buf_append_c(asks, ',');
    if (kind == SIO_JSON_NULL)
        buf_append_json(asks, str_of(w->ask_name), false);
    else
        buf_append_str(asks, name); /* is it no text, the view refuses it */
}

static enum rc
make_answer(struct walk w, struct api_call *c, int64_t *index, struct buf *err)
{
    struct buf asks = {0};
    enum rc rc;
    while ((rc = walk_next(&w, err)) == RC_OK && w.n <= ACTIONS_MAX)
        if (strcmp(w.verb, "ask") == 0)
            append_name(&asks, &w);
    if (rc == RC_NOTFOUND && w.n > 0)
        rc = RC_OK;
    else if (rc == RC_NOTFOUND || rc == RC_OK)
        buf_append_f(err, "must be an action, or a list of 1 to %d", ACTIONS_MAX);
    else
        *index = (int64_t)w.n;
    buf_append_f(&c->answer, "{\"done\":%zu,\"asks\":[%.*s]}\n", w.n,
                 STR_ARG(buf_str(&asks)));
    buf_fini(&asks);
    return err->len > 0 ? RC_INVALID : RC_OK;
}

static enum rc
add_steps(struct walk w, struct engine_http *h, struct store_unit *u, int64_t *index,
          struct buf *err)
{
    enum rc rc;
    while ((rc = walk_next(&w, err)) == RC_OK) {
        struct action_scope scope = {.ask_name = str_of(w.ask_name),
                                     .n_attachments_max = h->e->cfg->n_attachments_max};
        *index = (int64_t)w.n - 1;
        rc = action_add(u, w.verb, w.members, &scope, err);
        if (rc != RC_OK)
            return rc;
    }
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

/* ---- what became of it ---- */

/* FNV-1a: which request it was, for its sender's own good. */
static void
print_request(struct api_call *c, struct str body)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < body.len; i++)
        hash = (hash ^ (unsigned char)body.p[i]) * 0x100000001b3u;
    buf_append_f(&c->print, "%s %016" PRIx64, c->verb, hash);
}

/* The key was used: the same answer, if it is the same request. */
static void
answer_again(struct later *l)
{
    struct engine_http *h =
        (struct engine_http *)((char *)l - offsetof(struct engine_http, later));
    struct api_call *c = h->api;
    struct str print, answer;
    enum rc rc = h->answer == NULL
                     ? RC_NOTFOUND
                     : store_read_once(h->e->store, buf_str(&c->key), &print, &answer);
    if (h->answer == NULL) {
        http_free(h);
    } else if (rc == RC_BUSY) {
        api_again(h, answer_again);
    } else if (rc != RC_OK) { /* forgotten just now */
        api_answer_error(h, API_E_UNAVAILABLE, STR_NONE, -1, STR("try again"));
    } else if (!str_eq(print, buf_str(&c->print))) {
        api_answer_error(h, API_E_KEY_REUSED, STR("Idempotency-Key"), -1,
                         STR("Idempotency-Key: was used for another request"));
    } else {
        api_add_header(h, "Idempotency-Replayed: true\r\n");
        api_answer_json(h, answer);
    }
}

static void
on_done(void *arg, const struct store_result *r)
{
    struct engine_http *h = arg;
    struct api_call *c = h->api;
    size_t n_guards = c->key.len > 0;
    struct str text = str_of(r->error[0] != '\0' ? r->error : rc_text(r->rc));
    switch (r->rc) {
    case RC_OK:
        api_answer_json(h, buf_str(&c->answer));
        return;
    case RC_CONFLICT:
        answer_again(&h->later);
        return;
    case RC_INVALID:
        if (r->n_failed < n_guards) { /* not what was asked for */
            log_error("engine", "api.failed", LOG_S("error", text));
            api_answer_error(h, API_E_UNAVAILABLE, STR_NONE, -1, text);
            return;
        }
        api_answer_invalid(h, c->is_list ? (int64_t)(r->n_failed - n_guards) : -1, text);
        return;
    case RC_TOOBIG:
        api_answer_error(h, API_E_TOO_LARGE, STR_NONE, -1, text);
        return;
    case RC_NOMEM:
    case RC_NOTFOUND:
    case RC_BUSY:
    case RC_IO:
        log_error("engine", "api.failed", LOG_Z("code", rc_text(r->rc)),
                  LOG_Z("error", r->error));
        api_answer_error(h, API_E_UNAVAILABLE, STR_NONE, -1, text);
        return;
    }
}

static void
guard_once(struct api_call *c, struct store_unit *u)
{
    struct store_once o = {.key = buf_str(&c->key),
                           .print = buf_str(&c->print),
                           .answer = buf_str(&c->answer),
                           .now_ms = clock_now_ms()};
    store_unit_guard_once(u, &o);
}

/* ---- the request ---- */

/* The one JSON value of the body; false: it is answered. */
static bool
scan(struct engine_http *h, struct str body, enum sio_json_kind *kind, struct str *value)
{
    struct str rest;
    enum rc rc =
        sio_json_scan(body, h->e->cfg->json_depth_max + DEPTH_AROUND, kind, value, &rest);
    if (rc == RC_OK && sio_json_skip_space(rest).len == 0)
        return true;
    api_answer_error(h, API_E_JSON, STR_NONE, -1,
                     rc == RC_TOOBIG
                         ? STR("the body is nested deeper than max_json_depth")
                         : STR("the body is not JSON in UTF-8"));
    return false;
}

void
api_act(struct engine_http *h, struct str body)
{
    struct api_call *c = h->api;
    enum sio_json_kind kind;
    struct str value;
    struct buf err = {0};
    char made[RND_ID_LEN + 1];
    int64_t index = -1;
    if (!scan(h, body, &kind, &value))
        return;
    rnd_id(made);
    c->is_list = c->what == API_ACTIONS && kind == SIO_JSON_ARRAY;
    struct walk w = walk_begin(c, kind, value, made);
    struct store_unit *u = store_unit_create();
    enum rc rc = make_answer(w, c, &index, &err);
    if (rc == RC_OK && c->key.len > 0) {
        print_request(c, body);
        guard_once(c, u);
    }
    if (rc == RC_OK)
        rc = add_steps(w, h, u, &index, &err);
    if (rc == RC_OK) {
        h->state = HTTP_BUSY;
        engine_submit(h->e, u, on_done, h);
    } else {
        store_unit_destroy(u);
        api_answer_invalid(h, c->is_list ? index : -1, buf_str(&err));
    }
    buf_fini(&err);
}
