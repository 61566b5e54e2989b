/*
 * See history.h. The events hang on the row while it is handed to all who are due it, so
 * that they are read and encoded once a process.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/history.h"

#include <stdlib.h>

#include "core/base/clock.h"

struct kept { /* with the row, as frames are with others */
    struct store_wire head;
    struct due events;
};

static void
kept_destroy(struct store_wire *head)
{
    struct kept *kept = (struct kept *)head;
    due_clear(&kept->events);
    free(kept);
}

static void
on_event(void *arg, struct store_packet *p)
{
    due_add(arg, p);
}

/* They come the newest first. */
static void
reverse(struct due *d)
{
    for (size_t i = 0; i < d->n / 2; i++) {
        struct store_packet *p = d->p[i];
        d->p[i] = d->p[d->n - 1 - i];
        d->p[d->n - 1 - i] = p;
    }
}

/* SIO-HISTORY-BYTES, SIO-HISTORY-OFFSET */
static enum rc
read_events(struct engine *e, const struct store_packet *row, int64_t above_seq,
            struct due *out)
{
    const struct store_history_read read = {
        .row = row,
        .above_seq = above_seq,
        .now_ms = clock_now_ms(),
        .n_bytes_max = (size_t)e->cfg->max_payload_bytes,
    };
    enum rc rc = store_read_history(e->store, &read, on_event, out);
    if (rc != RC_OK) {
        due_clear(out);
        return rc;
    }
    reverse(out);
    if (out->n > 0)
        out->p[out->n - 1]->part_seq = 0; /* with it, all of the row is there */
    return RC_OK;
}

static enum rc
find_events(struct engine *e, struct store_packet *row, struct due **out)
{
    struct kept *kept = (struct kept *)row->wire;
    if (kept == NULL) {
        kept = xcalloc(1, sizeof *kept);
        enum rc rc = read_events(e, row, 0, &kept->events);
        if (rc != RC_OK) {
            free(kept);
            return rc;
        }
        kept->head.destroy = kept_destroy;
        row->wire = &kept->head;
    }
    *out = &kept->events;
    return RC_OK;
}

enum rc
history_add(struct engine *e, int64_t session_id, struct store_packet *row,
            int64_t above_seq, struct due *out)
{
    struct due some = {0}, *events = &some;
    bool has_joined = false;
    enum rc rc = store_read_has_joined(e->store, session_id, row, &has_joined);
    if (rc != RC_OK || !has_joined)
        return rc;
    rc = above_seq == 0 ? find_events(e, row, &events)
                        : read_events(e, row, above_seq, &some);
    for (size_t i = 0; rc == RC_OK && i < events->n; i++)
        due_add(out, events->p[i]);
    due_clear(&some);
    return rc;
}

enum rc
history_expand(struct engine *e, int64_t session_id, const struct store_packet *connect,
               struct due *d)
{
    struct due all = {0};
    enum rc rc = RC_OK;
    bool has_history = false;
    for (size_t i = 0; i < d->n && !has_history; i++)
        has_history = d->p[i]->kind == STORE_HISTORY;
    if (!has_history)
        return RC_OK;
    for (size_t i = 0; i < d->n && rc == RC_OK; i++) {
        struct store_packet *p = d->p[i];
        if (p->kind != STORE_HISTORY)
            due_add(&all, p);
        else
            rc = history_add(e, session_id, p,
                             connect != NULL && p->seq == connect->arg_id + 1 &&
                                     connect->ack_id > 0
                                 ? connect->ack_id
                                 : 0,
                             &all);
    }
    if (rc != RC_OK) {
        due_clear(&all);
        return rc;
    }
    due_clear(d);
    *d = all;
    return RC_OK;
}
