/*
 * Verbs as JSON: {"emit": {"room": "lobby", "event": "said", "args": ["hi"]}} becomes an
 * INSERT into the public view `emit`, a member a column. For the HTTP API and the answers
 * of the web hook. It works on text, so numbers of any size go out as they came in.
 *
 *     true, false    1, 0
 *     null           as if the member weren't there
 *     args, data     JSON of any kind, as text
 *     room, except_room: a list   rooms, except_rooms
 *     {"$binary": "<base64>"} anywhere in args   binary data (binary.h)
 *
 * What is wrong with a verb or with a value is said by the view, when the unit runs.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_ACTION_H
#define SIOLITE_CORE_ENGINE_ACTION_H

#include "store/unit.h"

/* What a verb is given that does not say it itself; len 0: nothing. */
struct action_scope {
    struct str nsp;
    struct str socket;   /* for verbs about one socket, where no other target is given */
    struct str event_id; /* for ack */
    struct str ask_name; /* for ask: what it is called if it does not say */
    int64_t n_attachments_max; /* of one packet, more are refused; 0: no limit */
};
#define ACTION_VERB_SIZE 48 /* no verb has a name as long */
/* The name of the verb, and its members: the text of an object that is scanned. `action`
 * is JSON text: an object with one member. RC_INVALID, and one line in err. */
MUST_CHECK enum rc action_parse(struct str action, char verb[ACTION_VERB_SIZE],
                                struct str *members, struct buf *err);
/* Appends its step. RC_INVALID, and one line in err that names verb and member: nothing
 * was appended. */
MUST_CHECK enum rc action_add(struct store_unit *u, const char *verb, struct str members,
                              const struct action_scope *scope, struct buf *err);

#endif
