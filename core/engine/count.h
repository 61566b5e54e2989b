/*
 * What this process counted since it last told the store, for the view `metric` and
 * /metrics. Counting is one addition; the sums over all processes stand in the database.
 *
 * To add a counter: a line in COUNT_LIST, and its help text in schema/views/metric.sql.
 *
 * Loop thread.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_COUNT_H
#define SIOLITE_CORE_ENGINE_COUNT_H

#include <stdint.h>

struct engine;
struct store_unit;

#define COUNT_LIST(X)                                                                    \
    X(EVENTS_IN, "socket_io_events_received_total", "")                                  \
    X(EVENTS_OUT, "socket_io_events_sent_total", "")                                     \
    X(ACKS_IN, "siolite_acks_received_total", "")                                        \
    X(BYTES_IN, "siolite_received_bytes_total", "")                                      \
    X(PACKETS_OUT, "siolite_packets_sent_total", "")                                     \
    X(BYTES_OUT, "siolite_sent_bytes_total", "")                                         \
    X(UPGRADES, "siolite_upgrades_total", "")                                            \
    X(RECOVERIES, "siolite_recoveries_total", "")                                        \
    X(HANDLER_FAILED, "siolite_handler_failures_total", "")                              \
    X(HANDLER_SLOW, "siolite_handler_slow_total", "")                                    \
    X(HEALTH, "siolite_health_checks_total", "")                                         \
    X(HTTP_2XX, "siolite_http_answers_total", "class=\"2xx\"")                           \
    X(HTTP_3XX, "siolite_http_answers_total", "class=\"3xx\"")                           \
    X(HTTP_4XX, "siolite_http_answers_total", "class=\"4xx\"")                           \
    X(HTTP_5XX, "siolite_http_answers_total", "class=\"5xx\"")

enum count_id {
#define X(name, metric, labels) COUNT_##name,
    COUNT_LIST(X)
#undef X
        COUNT_N
};

enum { COUNT_REASONS = 16 }; /* numbers of enum sio_reason are below it */

struct counts { /* since the last count_flush() */
    int64_t n[COUNT_N];
    int64_t n_ends[COUNT_REASONS]; /* sockets that ended, by reason; 0: another text */
};

/* An answer with this HTTP status. */
void count_status(struct counts *c, int status);
/* A step for each counter that moved; they begin at 0 again. What a failed unit carried
 * is lost. */
void count_flush(struct counts *c, struct store_unit *u);

#endif
