/*
 * What a row STORE_HISTORY stands for: the events that a room has kept, for those who
 * have joined it (store/history.c).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_HISTORY_H
#define SIOLITE_CORE_ENGINE_HISTORY_H

#include "core/engine/internal.h"

/* Adds the events of the row that are due to the session, in order; above_seq: only those
 * behind that one. RC_BUSY: the store can't be read just now, nothing is added. */
MUST_CHECK enum rc
history_add(struct engine *e, int64_t session_id, struct store_packet *row,
            int64_t above_seq, struct due *out);
/* Puts the events in the place of each such row. `connect`: whose replay it is; NULL: of
 * nobody. RC_BUSY: nothing has changed. */
MUST_CHECK enum rc history_expand(struct engine *e, int64_t session_id,
                                  const struct store_packet *connect, struct due *d);

#endif
