/*
 * One run of a handler: what `struct app_call` and `struct app_to` are. Everything that a
 * handler borrows hangs on the call.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_CALL_H
#define SIOLITE_CORE_ENGINE_CALL_H

#include <stdalign.h>
#include <stddef.h>

#include "core/engine/work.h"

enum call_kind {
    CALL_EVENT,
    CALL_PACKET_MIDDLEWARE,
    CALL_CONNECT,
    CALL_DISCONNECT,
    CALL_MIDDLEWARE,
    CALL_LATER,
    CALL_SERVER_EVENT, /* of another process; no socket */
    CALL_OUTGOING,     /* app_on_outgoing: what the handler of another call emits */
    CALL_PRESENCE,     /* of a user; no socket */
    /* Nothing but what the request says: */
    CALL_REQUEST,         /* app_on_request */
    CALL_HEADERS,         /* app_on_headers */
    CALL_CONNECTION_ERROR /* app_on_connection_error */
};

/* Of a handler of requests. */
struct call_request {
    enum call_kind kind;
    const struct request *said;
    const struct request_error *error; /* CALL_CONNECTION_ERROR, else NULL */
    struct buf *headers;               /* what it adds; else NULL */
};

enum { CALL_SMALL_BYTES = 512 };
struct call_loan { /* memory that lives until the handler returns */
    struct call_loan *next;
};

struct call_answer {
    struct call_answer *next;
    struct str args, attachments; /* follow the struct */
    json_t *json;                 /* made when asked for */
};

enum to_scope { TO_SENDER, TO_OTHERS, TO_ALL };

struct name_list {
    struct str *p;
    size_t n, cap;
};

struct app_to {
    struct app_to *next;
    struct app_call *c;
    enum to_scope scope;
    const char *nsp;
    struct name_list rooms, except, users;
    unsigned flags;
};

struct app_call {
    struct work *w;
    struct work_socket *k; /* NULL: a continuation whose socket is unknown */
    enum call_kind kind;
    const char *nsp_name;
    const struct call_event *ev; /* NULL: no arguments */
    struct str reason;
    const struct call_request *request; /* NULL: it is not about one */
    bool has_ack, is_acked;
    char *retry_id; /* the event has a key: what its ack is found by; owned */
    int64_t ack_id;
    int64_t ack_process_id; /* the ack is this process's answer to app_server_ask (ack_id:
                               the question); 0: a client's */
    /* middleware, and continuations of app_hold */
    size_t number;
    bool is_held, is_refused, is_accepted, is_connecting;
    bool is_part;         /* of a group that the caller makes: event, connection */
    bool is_keeping_args; /* its continuations get the event too */
    bool is_over_limit;   /* the error is a limit that its client ran into */
    char *refusal, *refusal_data;
    /* continuations */
    const json_t *wrapper;
    int64_t ask_seq, n_expected;
    struct call_answer *answers, **answers_end;
    size_t n_answers;
    bool has_answers;

    enum rc error;
    char *error_text;
    struct call_loan *loans; /* what `small` has no room for */
    struct app_to *tos;
    struct str *args; /* lent, as `tos` are */
    size_t n_args;
    bool has_args;
    char *event;
    json_t **arg_json;
    json_t *auth, *data, *handshake;
    char *user, *remote;
    bool has_user, is_online;
    size_t n_small;
    alignas(max_align_t) char small[CALL_SMALL_BYTES]; /* the first loans */
};

/* The first error sticks. */
__attribute__((format(printf, 3, 4))) void
call_fail(struct app_call *c, enum rc rc, const char *fmt, ...);
void *call_lend(struct app_call *c, size_t n); /* zeroed; freed with the call */
char *call_lend_str(struct app_call *c, struct str s);
/* False, and the call fails: a request has no effects and reads nothing. */
bool call_may(struct app_call *c, const char *verb);
/* Runs one handler of requests; refusal leaves its text (owned by the caller). One that
 * fails has added no headers. */
enum call_verdict
call_request(struct work *w, const struct call_request *q, app_fn *fn, char **message);
/* False: the call has failed, or does so now because it speaks for a socket that is not
 * there yet: middleware can set but its data, user and rooms. `t` may be NULL. */
bool call_may_act(struct app_call *c, const struct app_to *t, const char *verb);
/* Runs the listeners for what a handler emits to namespaces of `n` (app_on_outgoing). */
void call_outgoing(struct app_call *c, const struct app_nsp *n, const char *nsp_name,
                   const struct call_event *ev);
/* Splits the event's arguments once. */
void call_args(struct app_call *c);

/* ---- relay.c: bodies of packets ---- */
#define BODY_DEPTH_MAX 16
struct body_level { /* a list or object that is open */
    bool is_object;
    size_t n_items; /* keys count too */
};
struct body {
    struct buf json; /* the array, open: no closing bracket yet */
    struct buf attachments;
    size_t n_attachments, depth;
    struct body_level level[BODY_DEPTH_MAX];
};
void body_init(struct body *b);
void body_fini(struct body *b);
void
body_add(struct body *b, struct str json); /* an item without placeholders of its own */
void body_add_text(struct body *b, struct str text); /* a string */
void
body_add_binary(struct body *b, struct str bytes); /* a placeholder and its attachment */
/* Items that came from a client: placeholders are numbered anew, their attachments come
 * along. */
void body_relay(struct body *b, struct str items, struct str attachments);
/* fmt as in app.h; RC_INVALID for an unknown letter or an unencodable value. */
MUST_CHECK enum rc
body_format(struct app_call *c, struct body *b, const char *fmt, va_list args);
/* Closes the array. `event`: which of the two kinds a packet of these arguments is. */
struct store_packet *body_packet(struct body *b, bool is_ack);

/* ---- later.c ---- */
/* The wrapper of a continuation (owned by the caller, free()). `state` is taken, may be
 * NULL. */
char *later_wrap(struct app_call *c, json_t *state);
/* Fills in the call what the wrapper holds. */
void later_unwrap(struct app_call *c, const json_t *wrapper);
/* Reads the answers of the ask that this call continues, once. */
void call_answers(struct app_call *c);

#endif
