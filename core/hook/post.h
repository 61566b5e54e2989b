/*
 * POSTs to the web hook: libcurl as a guest in the uv loop, with connections that are
 * kept.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_HOOK_POST_H
#define SIOLITE_CORE_HOOK_POST_H

#include <uv.h>

#include "core/base/cfg.h"
#include "core/engine/hook.h"

struct poster;

/* `cfg` and the key are borrowed for life. NULL: libcurl can't be started. */
struct poster *poster_create(uv_loop_t *loop, const struct cfg *cfg, struct str secret);
/* From the next POST on. The configuration may have changed, too. */
void poster_configure(struct poster *p, struct str secret);
/* Ends all POSTs without a reply, and closes its handles: the loop must run until they
 * are. Accepts NULL. */
void poster_destroy(struct poster *p);
/* hook_ops.post, `arg` being the poster. */
void
poster_post(void *arg, struct hook_call *call, const char *event_id, struct str body);

#endif
