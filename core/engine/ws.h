/*
 * A WebSocket session, for the files that make it up: ws_open.c (it begins), upgrade.c
 * (it takes over from polling), ws.c (what comes in), ws_send.c (what goes out, and the
 * heartbeat).
 *
 *     OPENING ──created──────────────────► OPEN ──► CLOSED
 *
 *     WAITING ──2probe──► PROBING ──claimed, 3probe──► PROBED
 *     PROBED ──5──► UPGRADING ──committed──► OPEN
 *
 * OPENING: the session row is being made; nothing is read.
 *
 * WAITING: an upgrade that has said nothing yet; anything but a probe ends it, polling
 * goes on.
 *
 * PROBED: this process is upgrade owner; polling still carries everything.
 *
 * UPGRADING: `5` came; messages wait.
 *
 * OPEN: the lease is ours in generation `gen`; only we send.
 *
 * CLOSED: the connection is being closed or gone; freed when no unit of it is under way.
 *
 * Invariants:
 *
 * 1. A message is handled only while no unit of this session that changes more than
 * packets waits for its commit, so a handler sees the effects of the messages before it.
 *
 * 2. Packets go the short way only while no unit of this session is under way, so none
 * overtakes another.
 *
 * 3. What follows a CONNECT reply leaves in a write of its own, CONNECT_GAP_MS later
 * (`held`). The reference has this gap too, by its wait for the drain, and clients that
 * await one message after another rely on it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_WS_H
#define SIOLITE_CORE_ENGINE_WS_H

#include "core/eio/payload.h"
#include "core/engine/work.h"

enum ws_state {
    WS_OPENING,
    WS_WAITING,
    WS_PROBING,
    WS_PROBED,
    WS_UPGRADING,
    WS_OPEN,
    WS_CLOSED
};

struct message { /* of the inbox */
    struct message *next;
    bool is_binary;
    size_t len;
    char data[];
};

struct engine_ws {
    struct engine_ws *next, **at;
    struct engine *e;
    void *conn; /* NULL: the front has let go of it */
    enum ws_state state;
    uint8_t protocol;
    uint8_t parser;         /* enum sio_parser; of an upgrade: known when it is OPEN */
    bool can_choose_parser; /* no message came yet (input.c) */
    bool is_base64;         /* it takes no binary messages */
    bool is_joining; /* revision 3: it has not joined `/` yet, the store was busy */
    bool is_pinged, is_extended, is_paused; /* is_extended: the wait for the pong, once */
    uint32_t n_units;                       /* under way */
    uint32_t n_state_units; /* of these, those that change more than packets */
    int64_t gen;
    int64_t cursor_seq; /* UPGRADING: where polling came to */
    int64_t ping_ms, connect_due_ms;
    int64_t due_ms; /* of the pong; of the upgrade until it is OPEN */
    struct sub sub;
    struct timer timer, gap_timer; /* gap_timer is armed while packets are held */
    struct due held;
    struct store_packet *replay_of; /* CONNECT whose missed rows could not be read yet */
    struct later later;
    struct partial *partial;
    char *eio_sid; /* SECRET; owned; revision 3: part of its socket ids; else only of an
                      upgrade whose session is still to be found */
    struct message *inbox, **inbox_end;
    size_t n_inbox_bytes;
    enum sio_reason
        gone_reason; /* the peer has left, messages of it still wait; SIO_R_NONE: no */
};

/* ---- ws.c ---- */
struct engine_ws *ws_create(struct engine *e, void *conn);
/* Ends our part: the lease if it is ours (reason), the upgrade if it was under way. The
 * connection follows in ws_turn. */
void ws_end(struct engine_ws *w, enum sio_reason reason);
/* Frees it, if it is closed, let go of by the front, and no unit of it is under way. */
void ws_release(struct engine_ws *w);
/* What the session's packets look like from now on. */
void ws_set_parser(struct engine_ws *w, enum sio_parser parser, bool can_choose);
/* Revision 3: the session joins `/` by itself, now or in ws_turn. */
void ws_join_main(struct engine_ws *w);
/* What was put off: the end, the inbox. */
void ws_turn(struct later *l);

/* ---- ws_open.c ---- */
/* WAITING: finds the session that is to be upgraded, or ends. False: the store can't be
 * read just now. */
bool ws_find_session(struct engine_ws *w);
/* WAITING: ends it if another one was faster, or it is too late; else looks again in a
 * while. */
void ws_wait(struct engine_ws *w);

/* ---- ws_send.c ---- */
extern const struct sub_ops ws_ops;
void ws_send_frames(struct engine_ws *w, struct frame *f);
void ws_send_text(struct engine_ws *w, const char *text);
void ws_event(struct sub *s, struct store_packet *p, struct frame *f);
/* The connection ends: what was held goes before. */
void ws_flush_held(struct engine_ws *w);
void ws_on_gap_end(struct timer *t);
void ws_arm(struct engine_ws *w);
void ws_plan_ping(struct engine_ws *w, int64_t now_ms);
void ws_on_timer(struct timer *t);

/* ---- upgrade.c ---- */
/* False: to be tried again, nothing was done. */
bool ws_upgrade_packet(struct engine_ws *w, const struct eio_packet *p);
/* UPGRADING and committed: what polling had not sent yet goes out, then the session is
 * OPEN. */
void ws_caught_up(struct engine_ws *w);

#endif
