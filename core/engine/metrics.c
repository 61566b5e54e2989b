/*
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/metrics.h"

#include <string.h>

#include "core/engine/token.h"

#define PROMETHEUS_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define JSON_TYPE "application/json"

static void
answer_json(struct engine_http *h, int status, const char *state, const char *why)
{
    struct buf b = {0};
    buf_append_f(&b, "{\"status\":\"%s\"", state);
    if (why != NULL) {
        buf_append_z(&b, ",\"message\":");
        buf_append_json(&b, str_of(why), false);
    }
    buf_append_z(&b, "}\n");
    http_answer(h, status, JSON_TYPE, buf_str(&b), false);
    buf_fini(&b);
}

/* ---- metrics ---- */

static void
answer_metrics(struct engine_http *h)
{
    struct buf text = {0};
    enum rc rc = store_read_metrics(h->e->store, &text);
    if (rc == RC_OK)
        http_answer(h, 200, PROMETHEUS_TYPE, buf_str(&text), true);
    else
        answer_json(h, 503, "failing", "the database can't be read just now");
    buf_fini(&text);
}

/* ---- which one ---- */

static bool
is_name(const struct engine *e, const struct engine_request *r, const char *name)
{
    size_t len = strlen(e->cfg->path);
    return str_has_prefix(r->path, str_of(e->cfg->path)) &&
           str_eqz(str_slice(r->path, len, r->path.len), name);
}

bool
metrics_take(struct engine_http **h, const struct engine_request *r)
{
    const struct engine *e = (*h)->e;
    bool is_health = is_name(e, r, "/health");
    if (e->cfg->metrics_token[0] == '\0' || (!is_health && !is_name(e, r, "/metrics")))
        return false;
    if (!token_is_good(r, e->cfg->metrics_token)) {
        answer_json(*h, 401, "refused", "send metrics_token as Authorization: Bearer");
    } else if (!str_eqz(r->method, "GET")) {
        answer_json(*h, 405, "refused", "only GET");
    } else if (is_health) {
        (*h)->is_health = true;
        return true;
    } else {
        answer_metrics(*h);
    }
    *h = NULL;
    return true;
}

/* ---- health ---- */

/* What was counted has been committed: the database takes writes. */
static void
on_written(void *arg, const struct store_result *r)
{
    struct engine_http *h = arg;
    const struct engine *e = h->e;
    if (r->rc != RC_OK)
        answer_json(h, 503, "failing", r->error[0] ? r->error : rc_text(r->rc));
    else if (e->is_draining)
        answer_json(h, 503, "draining", "this program is about to end");
    else if (e->cfg->is_websocket && !store_has_sidecar(e->store))
        answer_json(h, e->cfg->is_polling ? 200 : 503,
                    e->cfg->is_polling ? "degraded" : "failing",
                    "no sidecar is alive: there are no WebSockets");
    else
        answer_json(h, 200, "ok", NULL);
}

void
metrics_health(struct engine_http *h)
{
    struct store_unit *u = store_unit_create();
    h->e->counts.n[COUNT_HEALTH]++; /* so that there is something to write */
    count_flush(&h->e->counts, u);
    h->state = HTTP_BUSY;
    engine_submit(h->e, u, on_written, h);
}
