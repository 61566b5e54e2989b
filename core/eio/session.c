/*
 * The transitions of a session. The drawing and what each state guarantees are in
 * session.h.
 *
 * Pure; any process, any thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/eio/session.h"

enum eio_state
eio_session_next(enum eio_state state, enum eio_event event, bool *is_allowed)
{
    bool ignored;
    if (is_allowed == 0)
        is_allowed = &ignored;
    *is_allowed = true;
    switch (event) {
    case EIO_EV_PROBE:
        if (state == EIO_S_POLLING)
            return EIO_S_PROBING;
        break;
    case EIO_EV_UPGRADE:
        if (state == EIO_S_PROBING)
            return EIO_S_WEBSOCKET;
        break;
    case EIO_EV_UPGRADE_LOST:
        if (state == EIO_S_PROBING)
            return EIO_S_POLLING;
        break;
    case EIO_EV_CLOSE:
        if (state != EIO_S_CLOSED)
            return EIO_S_CLOSED;
        break;
    }
    *is_allowed = false;
    return state;
}
