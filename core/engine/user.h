/*
 * Users: what is told of them, and when their sockets expire (docs/users.md).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_USER_H
#define SIOLITE_CORE_ENGINE_USER_H

#include "core/engine/work.h"

/* What jobs of these names do, in their unit; RC_BUSY: the store can't be read just now.
 * is_bare: without handlers. */
#define USER_JOB_PRESENCE "#presence"
#define USER_JOB_EXPIRY "#expiry"
MUST_CHECK enum rc user_run_presence(struct work *w, const json_t *args, bool is_bare);
MUST_CHECK enum rc user_run_expiry(struct work *w, const struct work_socket *k);

/* What app_set_expiry was told in a middleware, now that the socket is there. */
void user_apply_expiry(struct work *w, const struct work_socket *k);

#endif
