/*
 * Events that a client may send again (docs/users.md): with a key they are handled once.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_RETRY_H
#define SIOLITE_CORE_ENGINE_RETRY_H

#include "core/engine/work.h"

enum retry_kind {
    RETRY_NONE,  /* it has no key */
    RETRY_FIRST, /* to be handled; what follows in the unit, up to store_unit_block_end(),
                    is left out where somebody was faster */
    RETRY_AGAIN, /* it was handled: nothing is left to be done */
    RETRY_BUSY   /* the store can't be read just now */
};
enum retry_kind
retry_begin(struct work *w, struct work_socket *k, const struct call_event *ev);

/* By what the ack of an event is found: "<sio_id>:<ack_id>"; owned by the caller. */
char *retry_event_id(const struct work_socket *k, int64_t ack_id);

#endif
