/*
 * See incoming.h. Whoever is to get what comes in adds its steps here.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/incoming.h"

void
incoming_connect(struct work *w, struct work_socket *k)
{
    (void)w, (void)k;
}

void
incoming_event(struct work *w, struct work_socket *k, const struct call_event *ev)
{
    (void)w, (void)k, (void)ev;
}

void
incoming_disconnect(struct work *w, struct work_socket *k, struct str reason,
                    const json_t *rooms)
{
    (void)w, (void)k, (void)reason, (void)rooms;
}
