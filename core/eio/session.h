/*
 * The states of an Engine.IO session, as stored in t_lease: one table, pure. Two
 * processes share the machine, so each transition is one UPDATE … WHERE state = :from in
 * the store; this function says which transitions exist (A1, A5).
 *
 *      handshake
 *          |
 *          v        2probe             5
 *       POLLING ------------> PROBING ---> WEBSOCKET
 *          ^  \__ timeout, close __|_ other _/  |
 *          |________________________|           |
 *           (late or dead sidecar)              |
 *          \_____________ close _______________/ ----> CLOSED
 *
 * POLLING: a GET carries packets; nobody else sends.
 *
 * PROBING: a sidecar answered a probe and is upgrade owner; polling still carries all
 * packets, a GET ends within 100 ms.
 *
 * WEBSOCKET: the sidecar that owns the generation is the only sender.
 *
 * CLOSED: final. No unit of this session commits any more.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_EIO_SESSION_H
#define SIOLITE_CORE_EIO_SESSION_H

#include <stdbool.h>

enum eio_state {
    EIO_S_POLLING = 0,
    EIO_S_PROBING = 1,
    EIO_S_WEBSOCKET = 2,
    EIO_S_CLOSED = 3
};
enum eio_event { EIO_EV_PROBE, EIO_EV_UPGRADE, EIO_EV_UPGRADE_LOST, EIO_EV_CLOSE };

/* The next state, or `state` itself with *is_allowed false when the event does not exist
 * there. */
enum eio_state
eio_session_next(enum eio_state state, enum eio_event event, bool *is_allowed);

#endif
