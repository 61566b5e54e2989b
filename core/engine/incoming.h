/*
 * What comes in, for applications that aren't C: each is called in the unit of the thing
 * itself, after the C handlers of it, on the loop's thread and behind the fence. What
 * they want done are steps of that unit.
 *
 * They see what C handlers see: no event that a packet middleware refused or that its
 * handler failed at, each connection once (recovered ones too), each disconnect once.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_INCOMING_H
#define SIOLITE_CORE_ENGINE_INCOMING_H

#include "core/engine/work.h"

/* The socket was made by this unit (or recovered: k->recovery), its CONNECT reply is
 * appended. */
void incoming_connect(struct work *w, struct work_socket *k);
/* `ev` asks for an ack only if no handler has given it. */
void incoming_event(struct work *w, struct work_socket *k, const struct call_event *ev);
/* The socket has ended; `rooms`: names, a JSON array, borrowed; NULL: none. In the unit
 * of the job that runs the disconnect handlers. */
void incoming_disconnect(struct work *w, struct work_socket *k, struct str reason,
                         const json_t *rooms);

/* A client answers the question of that row; if it counts is found out at the commit. */
void incoming_answer(struct work *w, struct work_socket *k, int64_t ask_seq);
/* A question with a name (view ask) has ended: all have answered, or the time is over. In
 * the unit of the job that ends it. */
void incoming_ask_end(struct work *w, int64_t ask_seq);
/* A user has come, or gone. */
void incoming_presence(struct work *w, int64_t presence_id, bool is_online);

#endif
