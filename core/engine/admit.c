/*
 * May a handshake begin? What is asked before a session exists, over HTTP and WebSocket
 * alike: the address's share of handshakes, the administrator's bans, then the
 * application (app_on_request).
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/engine/internal.h"

/* EIO-TOO-MANY */
enum eio_error
admit_handshake(struct engine *e, struct str remote, const struct request *q,
                struct buf *headers, char **text)
{
    if (!throttle_take(&e->handshakes, remote, e->cfg->handshakes_per_s,
                       clock_now_ms())) {
        log_info("engine", "handshake.throttled", LOG_S("remote", remote));
        return EIO_E_TOO_MANY;
    }
    if (rule_is_banned(e, remote)) {
        log_info("engine", "handshake.banned", LOG_S("remote", remote));
        *text = xstrdup("Banned");
        return EIO_E_FORBIDDEN;
    }
    return request_may_enter(e, q, headers, text) ? EIO_E_NONE : EIO_E_FORBIDDEN;
}
