/*
 * What the files of the web hook's worker share: hook.c takes events and has them posted,
 * hook_reply.c does what is answered.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_HOOK_WORKER_H
#define SIOLITE_CORE_ENGINE_HOOK_WORKER_H

#include "core/engine/hook.h"
#include "core/engine/work.h"

struct hook_call { /* an event, from its claim to the commit of its end */
    struct hook_call *next, **at;
    struct hook *h;
    struct store_hook row; /* as claimed; its strings are owned */
    bool is_posted;        /* engine_hook_reply is awaited */
    bool is_second;        /* its effects met a conflict once */
    struct buf body;       /* what is posted */
    struct buf effects;    /* what was answered: the inside of a JSON array */
    struct later later;
    struct timer timer;
    void (*again)(struct hook_call *c); /* what these two go on with */
};

struct hook {
    struct engine *e;
    const struct hook_ops *ops;
    struct hook_call *calls;
    size_t n_calls;
    bool is_dirty; /* the queue is to be looked at */
    struct timer timer;
    bool is_down;          /* the last POST failed */
    int64_t parked_log_ms; /* hook.parked was logged then */
    int64_t n_parked;      /* and not since, for so many */
};

/* ---- hook.c ---- */
void hook_open(struct engine *e, const struct hook_ops *ops);
void hook_turn(struct engine *e);    /* once a loop turn; ours or not */
void hook_look(struct engine *e);    /* something was committed */
bool hook_is_idle(struct engine *e); /* nothing is being posted */
void hook_stop(struct engine *e);    /* nothing is posted any more */
void hook_close(struct engine *e);   /* without its handles; frees all */
/* The call is over: its row is deleted, put back, or another's. */
void hook_call_end(struct hook_call *c);
/* Goes on with fn in the next turn, when the store can perhaps be read; or after ms. */
void hook_call_later(struct hook_call *c, void (*fn)(struct hook_call *c));
void hook_call_after(struct hook_call *c, int64_t ms, void (*fn)(struct hook_call *c));

/* ---- hook_body.c ---- */
/* The JSON that is posted. RC_BUSY: the store can't be read just now; RC_TOOBIG: binary
 * data that is named again and again. */
MUST_CHECK enum rc
hook_body(struct engine *e, const struct store_hook *row, struct buf *b);

/* It is about a socket: sio_id is one's id. */
bool hook_has_socket(const struct store_hook *row);

/* ---- hook_reply.c ---- */
/* It can't be posted at all. */
void hook_park(struct hook_call *c, const char *error);

#endif
