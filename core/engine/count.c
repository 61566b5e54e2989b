/*
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/count.h"

#include "core/base/buf.h"
#include "core/sio/packet.h"
#include "store/unit.h"

static const struct {
    const char *metric, *labels;
} METRICS[COUNT_N] = {
#define X(name, metric, labels) {metric, labels},
    COUNT_LIST(X)
#undef X
};

void
count_status(struct counts *c, int status)
{
    static const enum count_id CLASSES[] = {COUNT_HTTP_2XX, COUNT_HTTP_3XX,
                                            COUNT_HTTP_4XX, COUNT_HTTP_5XX};
    if (status >= 200 && status < 600)
        c->n[CLASSES[status / 100 - 2]]++;
}

static void
flush_ends(struct counts *c, struct store_unit *u)
{
    struct buf labels = {0};
    for (int i = 0; i < COUNT_REASONS; i++) {
        if (c->n_ends[i] == 0)
            continue;
        buf_clear(&labels);
        buf_append_f(&labels, "reason=\"%s\"",
                     i == SIO_R_NONE ? "other" : sio_reason_text((enum sio_reason)i));
        store_unit_count(u, STR("socket_io_disconnect_total"), buf_str(&labels),
                         c->n_ends[i]);
    }
    buf_fini(&labels);
}

void
count_flush(struct counts *c, struct store_unit *u)
{
    for (int i = 0; i < COUNT_N; i++)
        if (c->n[i] != 0)
            store_unit_count(u, str_of(METRICS[i].metric), str_of(METRICS[i].labels),
                             c->n[i]);
    flush_ends(c, u);
    *c = (struct counts){0};
}
