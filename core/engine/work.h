/*
 * One unit in the making: the packets of one POST, one WebSocket message, or one job, the
 * handlers that they run, and what these want done. The session's sockets are seen as of
 * the fence, with the unit's own effects on them.
 *
 * The short way (design 6.3): as long as all effects are packets to the sender's own
 * WebSocket in this process, they are only noted; if it stays so until the end they are
 * sent at once, without a row.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_WORK_H
#define SIOLITE_CORE_ENGINE_WORK_H

#include "core/engine/internal.h"

struct work_room { /* an own effect on a room of this socket */
    struct work_room *next;
    char *name;
    bool is_in, is_history; /* is_history: joined with it */
};

struct recovery { /* a lost socket that a CONNECT brings back */
    int64_t socket_id, session_id, offset_seq, part_seq;
    char *pid; /* SECRET, owned */
};

/* What this unit has done to a socket so far: its handlers see it before the commit. */
struct work_own {
    bool is_gone;   /* ended */
    int64_t n_asks; /* questions to it */
    bool has_data, has_user, has_expiry;
    json_t *data;       /* owned */
    char *user;         /* owned */
    int64_t expires_ms; /* -1: never */
    bool is_expiry_close;
    struct work_room *rooms; /* owned */
};

struct work_socket {
    struct work_socket *next;
    int64_t socket_id; /* STORE_NEW_SOCKET(n) while this unit creates it; 0: not accepted
                          yet (middleware) */
    int64_t nsp_id;    /* 0: new */
    char *nsp_name, *sio_id; /* owned, unless is_borrowed */
    bool is_borrowed;        /* from the WebSocket's own socket, for this message */
    bool is_inline;          /* the struct is a part of its work */
    const struct app_nsp *app;
    struct work_own own;
    struct recovery *recovery; /* owned; NULL: a new socket, or one that is there */
    struct store_group
        *group; /* this unit's that makes it, if that may fail; else NULL */
    char *auth; /* JSON of a CONNECT that is being handled, owned; NULL: ask the store */
};

/* A binary packet of which attachments are still owed: the session's state between
 * messages. */
struct partial {
    struct buf text, attachments;
    int64_t n_owed;
    bool is_changed;
};
void partial_fini(struct partial *p);
/* What the session had received when its last POST ended: it may go on in another
 * process, or over WebSocket. */
MUST_CHECK enum rc
partial_load(struct partial *p, struct engine *e, const struct store_session *s);

struct work_direct { /* a packet on the short way */
    struct store_packet *p;
    const struct work_socket *to;
};

struct work {
    struct engine *e;
    int64_t now_ms;
    int64_t session_id; /* 0: a job without a session */
    int protocol;
    enum sio_parser parser;
    bool can_choose_parser; /* the session's first message is to come */
    bool is_1x; /* revision 3: a packet has shown it to be a 1.x client (eio3.md 3.3) */
    enum eio_transport transport;
    bool has_transport;  /* the session is still open */
    const char *eio_sid; /* SECRET; revision 3: part of the socket ids */
    int64_t due_ms;      /* polling: death by heartbeat, which counts once a namespace was
                            joined; 0: WebSocket */
    struct work_socket *sockets;
    const struct sub
        *sub;     /* WebSocket: its sockets, looked up when asked for; else NULL */
    size_t n_new; /* sockets created by this unit */
    struct partial *partial;
    struct store_unit *u; /* NULL until something must be committed */
    size_t n_guard;       /* steps that the guard made */
    bool may_go_direct;
    bool has_own;       /* a packet to a socket that the session had before */
    bool changes_state; /* more than packets: the session's next message waits for the
                           commit */
    struct work_direct *direct; /* `first_direct` until it is full */
    size_t n_direct, cap_direct;
    struct work_direct first_direct[2];
    struct work_socket first_socket; /* of `sockets`, in use if is_inline */
    bool is_busy; /* a handler could not read just now: nothing of this counts, try again
                   */
    enum sio_reason close_reason; /* SIO_R_NONE: the session goes on */
    bool is_over; /* a handler ends the session: what follows is not looked at */
    void (*guard)(struct work *w); /* adds the unit's guard when `u` comes to be */
    int64_t guard_id, guard_gen;
};

void work_fini(struct work *w);
/* Where the effects of a handler begin. */
struct work_mark {
    bool has_unit;
    size_t n_steps, n_direct;
};
struct work_mark work_mark(const struct work *w);
/* The number of the first step since then; there is a unit. */
size_t work_step_of(const struct work *w, const struct work_mark *m);
/* May one of the effects since then fail at the commit, or does its socket's making? */
bool work_may_fail(const struct work *w, const struct work_mark *m,
                   const struct work_socket *k);
/* The unit, for a step that is no direct packet: creates it with its guard, moves noted
 * direct packets into it. */
struct store_unit *work_unit(struct work *w);
/* A deep copy, to go back to where a handler fails: restore frees what came since, and
 * takes the copy; fini frees a copy that was not needed. */
void work_own_save(const struct work_socket *k, struct work_own *copy);
void work_own_restore(struct work_socket *k, struct work_own *copy);
void work_own_fini(struct work_own *own);
struct work_socket *work_socket_add(struct work *w, int64_t socket_id,
                                    const char *nsp_name, struct str sio_id);
struct work_socket *
work_socket_find(struct work *w, struct str nsp_name); /* open ones; NULL */
/* Has this unit ended the session's socket there? */
bool work_has_ended(const struct work *w, struct str nsp_name);
/* An own effect, or what is known otherwise; work_rooms_note: all of a JSON array. */
struct work_room *work_room_note(struct work_socket *k, const char *room, bool is_in);
void work_rooms_note(struct work_socket *k, const json_t *names);
size_t work_n_sockets(const struct work *w); /* open ones */
/* A packet to one socket of this session: the short way if it may. Takes the packet. */
void work_send(struct work *w, const struct work_socket *k, struct store_packet *p);
/* A packet to the session itself (CONNECT_ERROR, DISCONNECT): stays due when its socket
 * has ended. Takes the packet. */
void work_send_session(struct work *w, const char *nsp_name, struct store_packet *p);
/* The session's sockets as the store has them; RC_BUSY as store/read.h. */
MUST_CHECK enum rc work_load_sockets(struct work *w);
/* The session is to be closed when the unit commits; nothing more of it is handled. The
 * first reason stays. */
void work_close(struct work *w, enum sio_reason reason);

/* ---- input.c ---- */
/* One Engine.IO message of the session. After work_close nothing happens any more. */
void input_message(struct work *w, bool is_binary, struct str data);

/* ---- connect.c ---- */
void connect_begin(struct work *w, struct str nsp_name, struct str auth);
/* Revision 3: a new session joins `/` by itself (eio3.md 5.3). */
void connect_main(struct work *w);
/* The query of a namespace (`/x?a=b`) as the auth payload of an old client. */
void connect_auth_of_query(struct buf *b, struct str query);
/* Goes on after app_hold: the middleware number `from` and those after it; decision:
 * accept or refuse was called. */
void connect_resume(struct work *w, struct work_socket *k, size_t from);
void connect_error(struct work *w, const char *nsp_name, const char *message,
                   const char *data_json);
/* All effects since then make the socket: where one fails at the commit, the connection
 * is refused. */
void connect_group(struct work *w, const struct work_mark *m, struct work_socket *k,
                   const char *what);
/* The packet of it, owned by the caller. */
struct store_packet *connect_refusal(const struct work *w, const char *nsp_name,
                                     const char *message, const char *data_json);
/* Everybody has agreed: the socket, its CONNECT reply, on_connect. */
void connect_accept(struct work *w, struct work_socket *k);

/* ---- later.c ---- */
/* A connection that waits: what makes it go on, perhaps in another process. `number`: of
 * the middleware that holds it. */
json_t *
later_wrap_connection(const struct work *w, const struct work_socket *k, size_t number);
struct work_socket *
later_unwrap_connection(struct work *w, const char *nsp_name, const json_t *o);

/* ---- call.c ---- */
/* A disconnect or other continuation, and events; the effects land in `w`. A handler that
 * fails leaves none. */
struct call_event {
    struct str event, args; /* raw JSON, see sio_packet */
    struct str attachments; /* length-prefixed */
    bool has_ack_id;
    int64_t ack_id;
};
void call_event(struct work *w, struct work_socket *k, const struct call_event *ev);
/* Runs the disconnect handlers of the socket's namespace. */
void call_disconnect(struct work *w, struct work_socket *k, struct str reason);
void call_connect(struct work *w, struct work_socket *k);
enum call_verdict { CALL_ACCEPTED, CALL_REFUSED, CALL_HELD };
/* Runs one connection middleware; refusal leaves its text and data (owned by the caller).
 */
enum call_verdict call_middleware(struct work *w, struct work_socket *k, app_fn *fn,
                                  size_t number, char **message, char **data_json);
void
call_server_event(struct work *w, const struct nsp *nsp, const struct call_event *ev);
/* Runs the presence handlers of a namespace. */
void
call_presence(struct work *w, const char *nsp_name, const char *user, bool is_online);
struct call_later { /* what a continuation is given; see job.c for the wrapper's JSON */
    const char *name;
    const json_t *wrapper; /* borrowed */
    int64_t ask_seq;       /* 0: not an ask */
};
void call_later(struct work *w, struct work_socket *k, const struct call_later *l);

/* ---- hook_queue.c: the web hook is told, by steps of the unit ---- */
/* Has the connection to wait for the web hook's answer? Then it goes on when that comes
 * (hook.c), or is refused after hook_connect_wait. */
bool hook_hold(struct work *w, struct work_socket *k);
void hook_recovered(struct work *w, struct work_socket *k);
void hook_event(struct work *w, struct work_socket *k, const struct call_event *ev);
void hook_disconnect(struct work *w, struct work_socket *k, struct str reason,
                     const json_t *rooms);
void hook_ask_end(struct work *w, int64_t ask_seq);
void hook_presence(struct work *w, int64_t presence_id, const char *nsp_name,
                   const char *user, bool is_online);
/* What is said of a connection that the receiver may know of, and that was not accepted.
 */
#define HOOK_VAIN_BODY "{\"reason\":\"never connected\",\"rooms\":[]}"
/* The job STORE_JOB_HOOK_EXPIRE: nothing was answered in time. */
MUST_CHECK enum rc hook_expire(struct work *w, const json_t *args);

#endif
