/*
 * The web hook between the engine, which takes events from the queue and applies what is
 * answered, and siolite-hook (core/hook), which posts them.
 *
 *     engine                                  core/hook
 *     ------                                  ---------
 *     claims the next event of a socket
 *     post(call, id, JSON)        ────────►   signs, POSTs
 *     engine_hook_reply(call, …)  ◄────────   what came back, or why nothing did
 *     effects and the end of the event
 *     in one commit; or tries again later
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_HOOK_H
#define SIOLITE_CORE_ENGINE_HOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"

struct hook_call; /* an event that is being posted */

struct hook_ops {
    void *arg;
    /* `event_id` and `body` are borrowed until engine_hook_reply(call), which may not be
     * called before this returns. */
    void (*post)(void *arg, struct hook_call *call, const char *event_id,
                 struct str body);
};

#define HOOK_ANSWER_BYTES_MAX (4 << 20)
struct hook_reply {
    int status;        /* of HTTP; 0: there was none */
    struct str body;   /* borrowed for the call */
    bool is_too_big;   /* the body was longer than HOOK_ANSWER_BYTES_MAX */
    const char *error; /* status 0: why, one line */
    bool is_told;      /* the receiver may have got the event */
};
/* Once for each post. */
void engine_hook_reply(struct hook_call *call, const struct hook_reply *r);

#endif
