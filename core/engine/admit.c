/*
 * May a handshake begin? What is asked before a session exists, over HTTP and WebSocket
 * alike: the address's share of handshakes, then the application (app_on_request).
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/engine/work.h"

static enum eio_error
ask_app(struct engine *e, const struct engine_request *r, const struct eio_param *params,
        size_t n_params, const struct eio_request *q, char **text)
{
    struct work w = {
        .e = e,
        .now_ms = clock_now_ms(),
        .protocol = q->protocol,
        .transport = q->transport,
        .has_transport = true,
    };
    struct buf json = {0};
    bool is_refused = false;
    session_handshake_encode(&json, r, params, n_params);
    for (const struct app_handler *h = e->app.on_request; h != NULL && !is_refused;
         h = h->next)
        is_refused =
            call_request(&w, h->fn, buf_str(&json), r->remote, text) == CALL_REFUSED;
    buf_fini(&json);
    work_fini(&w);
    return is_refused ? EIO_E_FORBIDDEN : EIO_E_NONE;
}

/* EIO-TOO-MANY, EIO-REQUEST */
enum eio_error
admit_handshake(struct engine *e, const struct engine_request *r,
                const struct eio_param *params, size_t n_params,
                const struct eio_request *q, char **text)
{
    if (!throttle_take(&e->handshakes, r->remote, e->cfg->handshakes_per_s,
                       clock_now_ms())) {
        log_info("engine", "handshake.throttled", LOG_S("remote", r->remote));
        return EIO_E_TOO_MANY;
    }
    if (rule_is_banned(e, r->remote)) {
        log_info("engine", "handshake.banned", LOG_S("remote", r->remote));
        *text = xstrdup("Banned");
        return EIO_E_FORBIDDEN;
    }
    if (e->app.on_request == NULL)
        return EIO_E_NONE;
    return ask_app(e, r, params, n_params, q, text);
}
