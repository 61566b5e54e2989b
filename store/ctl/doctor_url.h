/*
 * siolite doctor: what the checks through the URL share.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_STORE_CTL_DOCTOR_URL_H
#define SIOLITE_STORE_CTL_DOCTOR_URL_H

#include "store/ctl/doctor.h"

enum { DOCTOR_QUICK_MS = 3000, DOCTOR_MARGIN_MS = 5000 };

struct doctor_session { /* of Engine.IO, over polling */
    char eio_sid[64];   /* SECRET; "" = none */
    bool has_upgrade;   /* WebSocket is on offer */
    int64_t ping_interval_ms, max_payload_bytes;
};

struct doctor_url {
    struct doctor *d;
    struct doctor_http *http;
    struct doctor_session main; /* the one that most checks use */
};

/* ---- doctor_session.c ---- */
bool doctor_is_text(const struct doctor_reply *r, const char *text); /* 200 and it */
bool doctor_contains(struct str s, const char *text);
/* Starts a handshake, with this header line; the open packet of its answer into `s`. */
struct doctor_request *doctor_handshake(struct doctor_url *u, const char *origin);
bool doctor_read_open(struct doctor_session *s, struct str body);
/* Starts a GET (body.p NULL) or POST of the session. */
struct doctor_request *
doctor_session_start(struct doctor_url *u, const struct doctor_session *s,
                     struct str body);
/* Opens one; false: that fails, which is the caller's to say. */
bool doctor_session_open(struct doctor_url *u, struct doctor_session *s);
void doctor_session_close(struct doctor_url *u, const struct doctor_session *s);
/* One POST; is it answered with ok? */
bool doctor_post(struct doctor_url *u, const struct doctor_session *s, struct str body);
/* Polls until the application has greeted or refused; false: no such answer. */
bool doctor_skip_greeting(struct doctor_url *u, const struct doctor_session *s);
/* A CONNECT to a namespace that nobody has, of n_bytes if that is more; `answer` is what
 * its refusal contains. */
void
doctor_make_question(struct buf *question, char *answer, size_t size, size_t n_bytes);
/* Polls the main session until an answer contains `text`; how many ms it took, -1: it did
 * not come. `first` is a poll that is under way, or NULL; it is dropped. */
int64_t
doctor_poll_for(struct doctor_url *u, struct doctor_request *first, const char *text);
/* What a request without an answer, or with an unexpected one, was answered with. */
void doctor_describe(struct buf *b, const struct doctor_reply *r);

/* ---- doctor_cors.c ---- */
void doctor_check_cors(struct doctor_url *u);

/* ---- doctor_upgrade.c ---- */
/* Upgrades the session, which is used up by that; in the long form also waits whether the
 * WebSocket lives until the ping, while `held` (may be NULL) goes on. */
void doctor_check_upgrade(struct doctor_url *u);

#endif
