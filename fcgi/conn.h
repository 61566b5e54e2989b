/*
 * The connections of web servers: each carries one request at a time, most of them only
 * one.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_FCGI_CONN_H
#define SIOLITE_FCGI_CONN_H

#include <uv.h>

#include "core/base/cfg.h"
#include "core/engine/engine.h"

/* All connections of the process, on one loop. */
struct fcgi_conns;

struct fcgi_conns_options {
    uv_loop_t *loop;
    struct engine *engine;
    const struct cfg *cfg;       /* borrowed for life */
    size_t n_max;                /* told to web servers that ask */
    void (*on_close)(void *arg); /* one connection less; may be NULL */
    void *arg;
};

/* The bounds, from a configuration that has changed: for what comes from now on. */
void fcgi_conns_configure(struct fcgi_conns *cs);
MUST_CHECK enum rc
fcgi_conns_create(struct fcgi_conns **out, const struct fcgi_conns_options *o);
/* Takes a connected, non-blocking descriptor, and reads what is there already. */
void fcgi_conns_add(struct fcgi_conns *cs, int fd);
size_t fcgi_conns_count(const struct fcgi_conns *cs);
/* Every connection ends with the answer it is about to get; those that wait for a next
 * request end now. */
void fcgi_conns_drain(struct fcgi_conns *cs);
/* Ends those whose request isn't complete. Left are answers that a web server is slow to
 * take: `on_empty`, once, when these are out or have been waited for too long. */
void fcgi_conns_finish(struct fcgi_conns *cs, void (*on_empty)(void *arg), void *arg);
/* Closes all; the engine is told of requests that it has. The loop must run until the
 * handles are closed; then destroy. */
void fcgi_conns_close(struct fcgi_conns *cs);
void fcgi_conns_destroy(struct fcgi_conns *cs);

#endif
