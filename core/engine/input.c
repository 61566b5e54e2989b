/*
 * What a client sends: Engine.IO messages into Socket.IO packets, packets to their
 * handlers (socketio.md 1.6).
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

#include "core/engine/incoming.h"
#include "core/sio/json.h"

/* The client leaves a namespace; the handlers run as a job. */
/* SIO-DISCONNECT, SIO-EMPTY */
static void
leave(struct work *w, struct work_socket *k)
{
    w->changes_state = true;
    store_unit_socket_end(work_unit(w), k->socket_id, false,
                          str_of(sio_reason_text(SIO_R_CLIENT_NSP)), w->now_ms);
    k->own.is_gone = true;
}

static void
join(struct work *w, const struct work_socket *k, const struct sio_packet *p)
{
    struct buf auth;
    buf_init(&auth);
    w->is_1x |= w->protocol == 3 && p->is_bare_nsp;
    if (w->protocol == 3)
        connect_auth_of_query(&auth, p->query);
    if (k != NULL && w->protocol == 3 && str_eqz(p->nsp, "/"))
        ; /* joined by itself */
    else if (k != NULL)
        work_close(w, SIO_R_FORCED_SERVER_CLOSE); /* SIO-CONNECT-TWICE */
    else
        connect_begin(w, p->nsp, w->protocol == 3 ? buf_str(&auth) : p->body);
    buf_fini(&auth);
}

static void
packet(struct work *w, const struct sio_packet *p, struct str attachments)
{
    struct work_socket *k = work_socket_find(w, p->nsp);
    if (p->type == SIO_CONNECT) {
        join(w, k, p);
        return;
    }
    if (k == NULL && work_has_ended(w, p->nsp))
        return;                                      /* SIO-NSP-ENDED */
    if (k == NULL || p->type == SIO_CONNECT_ERROR) { /* SIO-NSP-UNKNOWN */
        work_close(w, SIO_R_FORCED_SERVER_CLOSE);
        return;
    }
    switch (p->type) {
    case SIO_EVENT:
    case SIO_BINARY_EVENT: {
        struct call_event ev = {p->event, p->args, attachments, p->has_ack_id, p->ack_id};
        w->e->counts.n[COUNT_EVENTS_IN]++;
        if (p->event.len > 0) /* a bare event has nothing to call (8.17) */
            call_event(w, k, &ev);
        return;
    }
    /* SIO-ACK-UNKNOWN */
    case SIO_ACK:
    case SIO_BINARY_ACK:
        w->e->counts.n[COUNT_ACKS_IN]++;
        if (!p->has_ack_id)
            return;
        store_unit_answer(work_unit(w), p->ack_id, k->socket_id, p->args, attachments);
        incoming_answer(w, k, p->ack_id);
        return;
    case SIO_DISCONNECT:
        leave(w, k);
        return;
    case SIO_CONNECT:
    case SIO_CONNECT_ERROR:
        return;
    }
}

static struct sio_limits
limits_of(const struct work *w)
{
    const struct cfg *cfg = w->e->cfg;
    return (struct sio_limits){cfg->n_attachments_max, cfg->json_depth_max,
                               cfg->event_name_bytes_max, w->protocol == 3};
}

static enum rc
decode(struct work *w, struct str text, struct sio_packet *p)
{
    struct sio_limits limits = limits_of(w);
    return sio_packet_decode(text, &limits, p);
}

/* The session's first message says by its looks which parser the client has
 * (SIO-MSGPACK). */
static void
choose_parser(struct work *w, bool is_binary, struct str data)
{
    w->can_choose_parser = false;
    if (!is_binary || !sio_msgpack_is_map(data))
        return;
    w->parser = SIO_PARSER_MSGPACK;
    store_unit_session_parser(work_unit(w), w->session_id, w->parser);
}

static void
msgpack(struct work *w, struct str data)
{
    struct sio_limits limits = limits_of(w);
    struct buf scratch = {0}, attachments = {0};
    struct sio_packet p;
    if (sio_msgpack_decode(data, &limits, &scratch, &p, &attachments) == RC_OK)
        packet(w, &p, buf_str(&attachments));
    else
        work_close(w, SIO_R_FORCED_CLOSE); /* SIO-PARSE */
    buf_fini(&scratch);
    buf_fini(&attachments);
}

/* The last attachment has come: the packet is whole. It stays where its handler could not
 * read (w->is_busy): the message will be tried again. */
static void
complete(struct work *w)
{
    struct partial *part = w->partial;
    struct sio_packet p;
    struct buf text = part->text, attachments = part->attachments;
    part->text = part->attachments = (struct buf){0};
    size_t n = 0, pos = 0;
    struct str a;
    while (store_packet_attachment(buf_str(&attachments), &pos, &a) == RC_OK)
        n++;
    if (decode(w, buf_str(&text), &p) != RC_OK ||
        sio_placeholders_check(p.body, n) != RC_OK)
        work_close(w, SIO_R_FORCED_CLOSE);
    else
        packet(w, &p, buf_str(&attachments));
    if (w->is_busy) {
        part->text = text;
        part->attachments = attachments;
        return;
    }
    buf_fini(&text);
    buf_fini(&attachments);
}

/* SIO-ATTACHMENTS */
static void
binary(struct work *w, struct str data)
{
    struct partial *part = w->partial;
    if (part->n_owed == 0) { /* SIO-BINARY-NOT-OWED */
        work_close(w, SIO_R_FORCED_CLOSE);
        return;
    }
    size_t len_before = part->attachments.len;
    store_packet_append_attachment(&part->attachments, data);
    part->is_changed = true;
    if (--part->n_owed == 0)
        complete(w);
    if (w->is_busy) {
        part->attachments.len = len_before;
        part->n_owed = 1;
    }
}

void
input_message(struct work *w, bool is_binary, struct str data)
{
    struct partial *part = w->partial;
    struct sio_packet p;
    if (w->close_reason != SIO_R_NONE || w->is_over || w->is_busy)
        return;
    w->e->counts.n[COUNT_BYTES_IN] += (int64_t)data.len;
    if (w->can_choose_parser)
        choose_parser(w, is_binary, data);
    if (w->parser == SIO_PARSER_MSGPACK) {
        if (is_binary)
            msgpack(w, data);
        else
            work_close(w, SIO_R_FORCED_CLOSE);
        return;
    }
    if (is_binary) {
        binary(w, data);
        return;
    }
    if (part->n_owed > 0 ||
        decode(w, data, &p) != RC_OK) { /* SIO-PARSE, SIO-TEXT-WHILE-OWED */
        work_close(w, SIO_R_FORCED_CLOSE);
        return;
    }
    if (p.type != SIO_BINARY_EVENT && p.type != SIO_BINARY_ACK) {
        packet(w, &p, STR_NONE);
        return;
    }
    buf_append_str(&part->text, data);
    part->n_owed = p.n_attachments;
    part->is_changed = true;
    if (part->n_owed == 0)
        complete(w);
}
