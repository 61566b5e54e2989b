/*
 * The lws context and its callback; see server.h.
 *
 * lws gets a request of our own making (adopt), whose answer it sends at once, within the
 * call: so the real request is still at hand when ESTABLISHED comes. Each setting below
 * was chosen for a measured reason: no validity timer (its sorted list makes accepting
 * quadratic), a small receive buffer (memory of idle connections), large sends.
 *
 * Sidecar, loop thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ws/server.h"

#include <stdio.h>
#include <string.h>

#include "core/base/log.h"

enum {
    RX_BUFFER = 1024,   /* of each connection; 4096 would double an idle one's memory */
    SERV_BUFFER = 8192, /* of the process: for reading, and for the 101 */
    HEAD_BUFFER = 1024, /* for the head that ws_server_adopt() makes */
    SUBPROTOCOL_MAX = 512,
    END_BYTES = 16, /* of the 101 that lws still writes behind our lines */
};

struct ws_adopting {
    const struct ws_request *request;
    const char *deflate_params; /* NULL: not negotiated */
    struct str headers;
};

/* No parameters for lws to negotiate: on_add_headers() writes them. */
static const struct lws_ext_options NO_OPTIONS[] = {{NULL, EXTARG_NONE}};

static int
on_extension(struct lws_context *context, const struct lws_extension *extension,
             struct lws *lws, enum lws_extension_callback_reasons reason, void *user,
             void *in, size_t len)
{
    (void)context;
    (void)extension;
    (void)lws;
    (void)user;
    (void)len;
    if (reason == LWS_EXT_CB_CONSTRUCT && in)
        *(const struct lws_ext_options **)in = NO_OPTIONS;
    return 0;
}

/* Adds to the 101: the extension's parameters behind its name, the first subprotocol
 * offered, as the reference, and the engine's lines. */
static void
on_add_headers(const struct ws_adopting *a, struct lws_process_html_args *args)
{
    struct str subprotocol = a->request->subprotocol, lines = a->headers;
    char *p = args->p, *end = args->p + args->max_len - END_BYTES;
    if (a->deflate_params)
        p += sprintf(p - 2, "%s\r\n", a->deflate_params) - 2; /* over the CRLF */
    if (subprotocol.len && subprotocol.len <= SUBPROTOCOL_MAX)
        p += sprintf(p, "Sec-WebSocket-Protocol: %.*s\r\n", STR_ARG(subprotocol));
    while (lines.len) { /* whole lines, as many as fit */
        struct str line = str_slice(lines, 0, str_index(lines, '\n') + 1);
        lines = str_slice(lines, line.len, lines.len);
        if (end - p < (ptrdiff_t)line.len) {
            log_warn("ws", "response.headers", LOG_Z("reason", "too long"),
                     LOG_S("header", str_slice(line, 0, str_index(line, ':'))));
            continue;
        }
        memcpy(p, line.p, line.len);
        p += line.len;
    }
    args->p = p;
}

static int
on_lws(struct lws *lws, enum lws_callback_reasons reason, void *user, void *in,
       size_t len)
{
    struct ws_server *s = lws_context_user(lws_get_context(lws));
    struct ws_conn *c = user;
    switch ((int)reason) {
    case LWS_CALLBACK_ADD_HEADERS:
        if (s->adopting)
            on_add_headers(s->adopting, in);
        break;
    case LWS_CALLBACK_ESTABLISHED:
        if (s->adopting == NULL || s->engine == NULL)
            return -1;
        ws_conn_on_established(c, &s->conns, lws, &s->adopting->request->engine,
                               s->adopting->deflate_params != NULL);
        break;
    case LWS_CALLBACK_RECEIVE:
        ws_conn_on_receive(c, in, len);
        break;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        ws_conn_on_writeable(c);
        break;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        ws_conn_on_closing(c, true);
        break;
    case LWS_CALLBACK_WS_SERVER_DROP_PROTOCOL:
        ws_conn_on_closing(c, false);
        break;
    case LWS_CALLBACK_CLOSED:
        ws_conn_on_closed(c);
        break;
    case LWS_CALLBACK_HTTP:
        return -1; /* cannot be: no plain request reaches lws */
    default:
        break;
    }
    return 0;
}

static void
on_lws_log(int level, const char *line)
{
    struct str text = str_of(line);
    /* 4.1.6 calls its normal course in lws_adopt_socket_vhost_readbuf() and at its end an
     * error. */
    if (strstr(line, "calling service") || strstr(line, "lws_libuv_stop"))
        return;
    while (text.len && (unsigned char)text.p[text.len - 1] <= ' ')
        text.len--;
    log_at(level & LLL_ERR ? LOG_ERROR : LOG_WARN, "ws", "lws", LOG_S("text", text));
}

enum rc
ws_server_open(struct ws_server *s, uv_loop_t *loop, const struct cfg *cfg)
{
    struct lws_context_creation_info info = {0};
    s->cfg = cfg;
    s->loops[0] = loop;
    s->retry =
        (struct lws_retry_bo){.secs_since_valid_ping = 1}; /* and hangup 0: no timer */
    s->protocols[0] = (struct lws_protocols){
        .name = "siolite",
        .callback = on_lws,
        .per_session_data_size = sizeof(struct ws_conn),
        .rx_buffer_size = RX_BUFFER,
        .tx_packet_size = WS_BATCH,
    };
    s->extensions[0] = (struct lws_extension){
        .name = "permessage-deflate",
        .callback = on_extension,
        .client_offer = "permessage-deflate",
    };
    info.port = CONTEXT_PORT_NO_LISTEN_SERVER;
    info.protocols = s->protocols;
    info.extensions = cfg->ws_compression_bytes > 0 ? s->extensions : NULL;
    info.retry_and_idle_policy = &s->retry;
    info.pt_serv_buf_size = SERV_BUFFER;
    info.max_http_header_data = HEAD_BUFFER;
    info.foreign_loops = s->loops;
    info.pcontext = &s->lws;
    info.user = s;
    info.gid = -1;
    info.uid = -1;
    info.options = LWS_SERVER_OPTION_LIBUV;
    lws_set_log_level(LLL_ERR | LLL_WARN, on_lws_log);
    ws_conns_open(&s->conns, loop, cfg);
    ws_handshakes_open(&s->handshakes, s, loop);
    s->lws = lws_create_context(&info);
    if (s->lws == NULL)
        return RC_IO;
    s->conns.lws = s->lws;
    s->vhost = lws_get_vhost_by_name(s->lws, "default");
    return s->vhost ? RC_OK : RC_IO;
}

void
ws_server_set_engine(struct ws_server *s, struct engine *engine)
{
    s->engine = s->conns.engine = engine;
}

void
ws_server_adopt(struct ws_server *s, int fd, const struct ws_request *r,
                struct str headers)
{
    char head[HEAD_BUFFER];
    struct ws_adopting adopting = {.request = r, .headers = headers};
    bool is_deflate =
        s->conns.deflate && ws_deflate_accept(r->extensions, &adopting.deflate_params);
    int len = snprintf(
        head, sizeof head,
        "GET / HTTP/1.1\r\nHost: -\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %.*s\r\n%s\r\n",
        STR_ARG(r->key),
        is_deflate ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : "");
    if (!is_deflate)
        adopting.deflate_params = NULL;
    s->adopting = &adopting;
    /* Closes the descriptor if it fails. */
    (void)lws_adopt_socket_vhost_readbuf(s->vhost, fd, head, (size_t)len);
    s->adopting = NULL;
}

void
ws_server_close(struct ws_server *s)
{
    ws_handshakes_close(&s->handshakes);
    if (s->lws)
        lws_context_destroy(s->lws);
    ws_conns_close(&s->conns);
}
