/*
 * A unit: the effects of one POST body, one WebSocket message, one job or one internal
 * step; they commit together or not at all. Built on the loop's thread as a list of steps
 * that can be replayed; run by the store thread.
 *
 * A guard is a step that stops the unit when it finds zero rows: nothing of the unit is
 * done then, on_done gets RC_CONFLICT. Guards come first.
 *
 * A socket that this unit creates has no id yet: STORE_NEW_SOCKET(n) stands for the n-th
 * one (from 0) in later steps.
 *
 * All strings are copied, all ids are those of the tables. Deadlines are CLOCK_BOOTTIME
 * ms.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_STORE_UNIT_H
#define SIOLITE_STORE_UNIT_H

#include "store/store.h"

#define STORE_NEW_SOCKET(n) (-1 - (int64_t)(n))
#define STORE_NEVER_MS INT64_MAX

struct store_unit;

/* What a unit did, valid in on_done. */
struct store_lease_result { /* session_create, poll_claim, poll_once, upgrade_* */
    int64_t session_id, gen, cursor_seq, upgrade_id;
};
struct store_job { /* a job that this unit created, owned by this process: the engine
                      keeps its timer */
    int64_t job_id, gen, due_ms;
    char *name; /* continuation, or "disconnect"; owned by whoever holds the struct */
    int64_t socket_id; /* 0: none */
    char *args;        /* JSON; owned likewise */
};
struct store_ride_result { /* poll_ride; gen 0: it did not come about */
    int64_t gen, cursor_seq;
};
struct store_result {
    enum rc rc; /* OK; CONFLICT: a guard found zero rows; INVALID: application SQL failed
                   (text in `error`); IO, TOOBIG … */
    struct store_lease_result lease;
    struct store_ride_result ride;
    const int64_t *new_socket_ids;
    size_t n_new_sockets;
    const struct store_job *jobs;
    size_t n_jobs;
    int64_t last_seq;  /* of the unit's newest row, 0 if none */
    bool has_more;     /* jobs_claim, bury, forget: a slice was full, more may be left */
    const char *error; /* "" if none; one line, for the log */
    size_t n_failed;   /* INVALID: the number of the step that failed, from 0 */
};
/* The unit is destroyed after the call. */
typedef void store_done_fn(void *arg, const struct store_result *r);

struct store_unit *store_unit_create(void);
void
store_unit_destroy(struct store_unit *u); /* one that is not submitted; accepts NULL */
size_t store_unit_n_steps(const struct store_unit *u);
/* Takes back all steps from number `n` on: a handler failed, its effects are dropped. */
void store_unit_truncate(struct store_unit *u, size_t n);
/* What one handler wants counts together or not at all: where a step of a group fails
 * that may (application SQL; RC_INVALID, RC_TOOBIG), the group is left out, the rest of
 * the unit stands. The view app_error and the log tell of it. */
struct store_group;
struct store_group_info { /* for the view; len 0: NULL */
    struct str what;      /* "event", "connection" …, or the name of a handler */
    struct str nsp, sio_id, event;
    int64_t session_id; /* not 0: it makes a socket, whose connection is refused where it
                           is left out: the job "refuse" does it, args
                           {"session":…,"nsp":…,"message":…[,"data":a text of JSON]} */
};
/* May one of the steps from number `from` on fail (true also where it was taken back)? */
bool store_unit_may_fail(const struct store_unit *u, size_t from);
/* Makes one of the steps from number `from` on; it may contain groups. With `needs` it is
 * left out, too, where that group is. NULL: none of the steps may fail, and `needs` is
 * NULL: there is nothing to be done. */
struct store_group *
store_unit_group(struct store_unit *u, size_t from, struct store_group *needs,
                 const struct store_group_info *info);
/* The store takes the unit; on_done may be NULL. */
void store_unit_submit(struct store *st, struct store_unit *u, store_done_fn *on_done,
                       void *arg);

/* Ends the block that one of these steps has begun: store_unit_presence,
 * store_unit_retry. */
void store_unit_block_end(struct store_unit *u);

/* ---- guards ---- */
/* POST (design 4.3): the session is open, polling, and post_gen unchanged; then post_gen
 * grows. */
void store_unit_guard_post(struct store_unit *u, int64_t session_id, int64_t post_gen);
/* WebSocket: open, owned by this process in this generation. */
void store_unit_guard_ws(struct store_unit *u, int64_t session_id, int64_t gen);
/* A polling session whose death is due: a pong that was committed meanwhile saves it. */
void store_unit_guard_due(struct store_unit *u, int64_t session_id, int64_t now_ms);
/* The job is still ours in this generation; it is deleted. */
void store_unit_guard_job(struct store_unit *u, int64_t job_id, int64_t gen);
/* The session is open. */
void store_unit_guard_session(struct store_unit *u, int64_t session_id);
/* A key that was not used within the last hour; what was answered is kept for as long
 * (store_read_once). */
struct store_once {
    struct str key;
    struct str print; /* tells what was asked for under the key; len 0: nobody looks */
    struct str answer;
    int64_t now_ms;
};
void store_unit_guard_once(struct store_unit *u, const struct store_once *o);

/* ---- sessions; each of these is a guard too ---- */
struct store_session_new {
    struct str eio_sid;
    int protocol;
    bool is_websocket; /* owned by this process from the start (gen 1), no cursor kept */
    struct str remote;
    struct str handshake;            /* JSON object */
    int64_t now_ms, ping_ms, due_ms; /* due_ms: death of a polling session; the first
                                        CONNECT is due at connect_due_ms */
    int64_t connect_due_ms;
};
void store_unit_session_create(struct store_unit *u, const struct store_session_new *s);
/* gen: as read, with the cursor; dead_id: the owner as read and found dead, else 0;
 * poll_ms: when the poll came. */
void store_unit_poll_claim(struct store_unit *u, int64_t session_id, int64_t gen,
                           int64_t dead_id, int64_t poll_ms);
/* Commit before answer (design 4.2). is_ping: this answer carries the ping. */
void store_unit_poll_answer(struct store_unit *u, int64_t session_id, int64_t gen,
                            int64_t cursor_seq, bool is_ping);
void store_unit_poll_once(struct store_unit *u, int64_t session_id, int64_t gen,
                          int64_t dead_id, int64_t cursor_seq, bool is_ping);
void store_unit_upgrade_claim(struct store_unit *u, int64_t session_id, int64_t dead_id,
                              int64_t due_ms, int64_t now_ms);
void store_unit_upgrade_commit(struct store_unit *u, int64_t session_id);
void store_unit_upgrade_reset(struct store_unit *u, int64_t session_id, int64_t seen_id);
/* A GET of a session that the server closed: first what is due (cursor_seq moves), then
 * that it is closed, once. */
void store_unit_session_told(struct store_unit *u, int64_t session_id, int64_t cursor_seq,
                             bool is_told);

/* ---- sessions, not guards ---- */
/* Closes the lease, ends its open sockets (store_unit_socket_end), appends the close row.
 * A session that is closed already, also by this unit, stays as it is. poll_ms: when the
 * poll came that is the cause, else 0; the row's arg_id. */
void store_unit_session_close(struct store_unit *u, int64_t session_id, struct str reason,
                              bool is_recoverable, int64_t now_ms, int64_t poll_ms);
/* The answer to a poll that is parked in this process rides with the unit that makes it:
 * if nobody has changed the lease since (gen), it is free again and the cursor stands
 * behind the last row that was appended so far. The last step. It does not come about,
 * and the unit stands, where the rows since `seen` are not all of this process and known
 * to its steps, take more than n_bytes_max, or don't go out as they are (a recovered
 * socket, a room's history). */
struct store_ride {
    int64_t session_id, gen;
    struct store_seen seen; /* when nothing was due to the poll */
    int64_t n_bytes_max;
};
void store_unit_poll_ride(struct store_unit *u, const struct store_ride *r);
void store_unit_caught_up(struct store_unit *u, int64_t session_id, int64_t gen,
                          int64_t last_seq);
/* New heartbeat times after a pong (is_pinged false) or another sign of life; due_ms as
 * above. */
void store_unit_heartbeat(struct store_unit *u, int64_t session_id, int64_t ping_ms,
                          bool is_pinged, int64_t due_ms);
/* What the client's first message has shown its packets to be (the engine's number; 0
 * from the start). */
void store_unit_session_parser(struct store_unit *u, int64_t session_id, int parser);
/* How often the text of a revision 3 client is encoded over polling: 1 or 2. */
void store_unit_session_utf8(struct store_unit *u, int64_t session_id, int utf8);
/* A binary packet of which attachments are still owed; text len 0: none any more. */
void store_unit_partial(struct store_unit *u, int64_t session_id, struct str text,
                        struct str attachments);

/* ---- sockets ---- */
struct store_socket_new {
    int64_t session_id;
    struct str nsp; /* created if it is new */
    struct str sio_id;
    struct str recovery_pid; /* SECRET; len 0: none */
    struct str data;         /* JSON, len 0: null */
    struct str auth; /* the CONNECT's payload, JSON object; kept as long as the socket
                        (t_socket.auth) */
    struct str
        reply; /* body of the CONNECT reply row, which begins the namespace interval */
    int64_t now_ms;
    int64_t due_ms; /* new death of a polling session, now that the connect deadline is
                       gone; 0: as it is */
};
/* The n-th call makes STORE_NEW_SOCKET(n). Also clears the session's connect deadline. */
void store_unit_socket_create(struct store_unit *u, const struct store_socket_new *s);
/* A socket that was lost goes on in another session (connection state recovery). A guard:
 * it is as store_read_recovery saw it, and the log still reaches back to the offset. Its
 * rooms are as they were; its CONNECT row carries the offset (arg_id) and the rooms
 * (to_keys): whoever delivers it sends what was missed. */
struct store_recover {
    struct str recovery_pid; /* SECRET */
    int64_t socket_id, old_session_id, session_id;
    int64_t offset_seq; /* rows above it are replayed … */
    int64_t part_seq;   /* … and of the next one, a STORE_HISTORY, only what is behind
                           this; 0: all */
    struct str reply;   /* body of the CONNECT row */
    struct str reason;  /* of the loss, where nobody had noticed it yet */
    int64_t now_ms, due_ms; /* as in store_socket_new */
};
void store_unit_recover(struct store_unit *u, const struct store_recover *r);
/* Ends a socket: lost (may be recovered, if it has a recovery id) or gone; makes the job
 * "disconnect" {"reason":…,"rooms":[…]} that runs its handlers. One that has ended
 * already is left as it is. */
void store_unit_socket_end(struct store_unit *u, int64_t socket_id, bool is_lost,
                           struct str reason, int64_t now_ms);
void
store_unit_socket_data(struct store_unit *u, int64_t socket_id, struct str data_json);
void store_unit_socket_user(struct store_unit *u, int64_t socket_id,
                            struct str user); /* len 0: nobody */

/* A lost socket can't be recovered any more. */
void store_unit_socket_drop(struct store_unit *u, int64_t socket_id);

/* ---- users ---- */
/* It is told that the user has come, or gone: to the rooms of presence_room, and by what
 * follows in the unit. Begins a block: it is left out where that was told before, or is
 * not so any more. */
void store_unit_presence(struct store_unit *u, int64_t presence_id, bool is_online);

/* A room that keeps its last events, or with one of *?[ in its name a pattern of GLOB for
 * such rooms. */
struct store_history_rule {
    struct str nsp, room;
    int64_t n;      /* so many, 1 to 10000 */
    int64_t keep_s; /* and so long; 0: for ever */
};
/* The namespace exists. */
void store_unit_history_rule(struct store_unit *u, const struct store_history_rule *rule);

/* ---- retries ---- */
struct store_retry {
    struct str client;     /* whose; SECRET */
    struct str event, key; /* JSON */
    struct str event_id;   /* by what an ack calls it: "<sio_id>:<ack_id>" */
    int64_t socket_id, ack_id;
};
/* An event that is handled once. Begins a block: it is left out where the event is known;
 * then its ack goes out again, or will go to this socket. */
void store_unit_retry(struct store_unit *u, const struct store_retry *r);
/* The ack of such an event, to whoever has sent it last; where it was forgotten
 * meanwhile, to this socket. Takes the packet. */
void store_unit_retry_answer(struct store_unit *u, struct str event_id, int64_t socket_id,
                             int64_t ack_id, struct store_packet *p);

/* ---- targets: names are looked up at the commit (design 3.3) ---- */
struct store_target {
    struct str nsp; /* must exist, or the step does nothing; SESSION: may be empty (nsp_id
                       NULL) */
    enum store_to to; /* NSP: all of it; ROOM: `rooms`; SOCKET, SESSION: `id` */
    int64_t id;
    const struct str
        *rooms; /* names: a room, a socket's public id, or both; each socket once */
    size_t n_rooms;
    const struct str *users; /* with ROOM: all sockets of these users too */
    size_t n_users;
    const struct str *except; /* names */
    size_t n_except;
    int64_t skip_id; /* a socket; 0: none */
};

/* ---- log ---- */
/* Takes the reference of `p` (kind, ack_id, flags, body, attachments are set; the target
 * is filled in here). Nobody there: no row. made_ms is set by the store. */
void store_unit_packet(struct store_unit *u, const struct store_target *t,
                       struct store_packet *p);
/* Set operations: one control row and its members, on who is there at that seq. `room` is
 * created if it is new. */
void store_unit_join(struct store_unit *u, const struct store_target *t, struct str room);
/* The same, and who was not in gets what the room keeps. */
void store_unit_join_history(struct store_unit *u, const struct store_target *t,
                             struct str room);
void
store_unit_leave(struct store_unit *u, const struct store_target *t, struct str room);
/* Ends each socket of the target after a DISCONNECT to its client; is_close: all sockets
 * of its session, and the session. */
void store_unit_disconnect(struct store_unit *u, const struct store_target *t,
                           struct str reason, bool is_close, int64_t now_ms);

/* ---- later ---- */
void store_unit_job(struct store_unit *u, int64_t due_ms, struct str name,
                    int64_t socket_id, struct str args);
/* An event that asks each receiver for an answer: the row, t_ask, one t_answer a
 * receiver, and the job `name` at due_ms (or STORE_NEVER_MS) with args
 * {"ask":seq,"state":…}. Nobody there: the job is due at once. */
void
store_unit_ask(struct store_unit *u, const struct store_target *t, struct store_packet *p,
               int64_t due_ms, struct str name, int64_t socket_id, struct str state);
/* An answer; strangers, duplicates and late ones are ignored. The last one makes the job
 * due now, in this commit, and owned by this process: it is then among result->jobs. */
void store_unit_answer(struct store_unit *u, int64_t ask_seq, int64_t socket_id,
                       struct str body, struct str attachments);
/* A question that was INSERTed (view ask) is over: its job is due. The answers stay. */
void store_unit_ask_end(struct store_unit *u, int64_t ask_seq);
/* A server event (STORE_SERVER) that asks each other process for an answer: those that
 * run, are no short-lived programs, and don't end. The rest as store_unit_ask. */
void store_unit_server_ask(struct store_unit *u, struct str nsp, struct store_packet *p,
                           int64_t due_ms, struct str name, int64_t socket_id,
                           struct str state);
/* As store_unit_answer, of a process. */
void store_unit_server_answer(struct store_unit *u, int64_t ask_seq, int64_t process_id,
                              struct str body, struct str attachments);
/* Takes over jobs that nobody alive owns and that are due by `now_ms` (at most n): they
 * are then in result->jobs. */
void store_unit_jobs_claim(struct store_unit *u, int64_t now_ms, size_t n);

/* ---- sweeping; each does a bounded slice ---- */
/* The leases of a dead process: WebSocket sessions are closed (reason), polls are freed;
 * its process row goes when none is left, its jobs lose their owner. */
void store_unit_bury(struct store_unit *u, int64_t process_id, struct str reason,
                     bool is_recoverable, int64_t now_ms, size_t n);
/* Lost sockets whose recovery window is over become gone; old ended rows are forgotten.
 */
void store_unit_forget(struct store_unit *u, int64_t now_ms, size_t n);

/* ---- counters ---- */
/* Adds to a counter of the view `metric` (docs/metrics.md); labels: 'a="b"', or none. */
void
store_unit_count(struct store_unit *u, struct str name, struct str labels, int64_t n);

/* ---- the web hook (store/hook.c) ---- */
enum store_hook_kind { /* t_hook.kind: file format */
                       STORE_HOOK_CONNECT = 0,
                       STORE_HOOK_EVENT = 1,
                       STORE_HOOK_DISCONNECT = 2,
                       STORE_HOOK_ACK = 3,
                       STORE_HOOK_PRESENCE = 4
};
struct store_hook_new {
    enum store_hook_kind kind;
    struct str event_id; /* unique, kept through all tries */
    struct str sio_id, nsp;
    int64_t socket_id;      /* 0: a connection that waits, or waited in vain; no socket */
    int64_t session_id;     /* a connection that waits; else 0 */
    struct str body;        /* JSON; what is in it is the engine's business */
    struct str attachments; /* length-prefixed */
    int64_t ack_id;         /* an event: the ack it waits for; an ack: the question */
    bool has_ack_id;
};
/* Queues it behind those of its socket. No room: it is dropped, counted and logged. */
void store_unit_hook_put(struct store_unit *u, const struct store_hook_new *h);
/* The same where no open socket has this id: so that the receiver hears of the end of
 * what it takes for connected. Whatever the room. */
void store_unit_hook_vain(struct store_unit *u, const struct store_hook_new *h);
/* A connection that waits: if it is still there at due_ms, the job STORE_JOB_HOOK_EXPIRE
 * runs with job_args. One of the same session and namespace that waits already: nothing
 * happens. No room: `refusal` is sent to the session instead; it is taken. */
#define STORE_JOB_HOOK_EXPIRE "hook.expire"
void
store_unit_hook_hold(struct store_unit *u, const struct store_hook_new *h, int64_t due_ms,
                     struct str job_args, struct store_packet *refusal);
/* Guards. Takes a row that is due, as read with this generation, which then grows by one;
 * a try is counted. After lease_len_ms others may take it, though this process lives. */
void store_unit_hook_claim(struct store_unit *u, int64_t hook_id, int64_t gen,
                           int64_t lease_len_ms);
/* It is still ours in this generation; it is deleted, and the next one of its socket is
 * due. */
void store_unit_guard_hook(struct store_unit *u, int64_t hook_id, int64_t gen);
/* It is tried again at due_ms. is_told: the receiver may have got it. */
void store_unit_hook_retry(struct store_unit *u, int64_t hook_id, int64_t gen,
                           int64_t due_ms, bool is_told, struct str error);
/* It is given up, and kept to be looked at (the newest of them); the next one is due. */
void store_unit_hook_park(struct store_unit *u, int64_t hook_id, int64_t gen,
                          struct str error);
/* A connection that waits is given up; if the receiver may know of it, the end of the
 * socket is queued under vain_id (len 0: it is not). */
void store_unit_hook_expire(struct store_unit *u, struct str event_id, struct str error,
                            struct str vain_id, struct str vain_body);

/* ---- application SQL ---- */
enum store_value_type { STORE_NULL, STORE_INT, STORE_REAL, STORE_TEXT, STORE_BLOB };
struct store_value {
    enum store_value_type type;
    int64_t i;
    double d;
    struct str s; /* text or blob; borrowed */
    bool is_json; /* of a row of a view: the text is JSON, by the view's definition */
};
/* A statement named at load (store_app_add); it may fail: then its group is left out, or
 * the unit fails (RC_INVALID). */
void store_unit_exec(struct store_unit *u, const char *name,
                     const struct store_value *values, size_t n);

/* ---- verbs ---- */
struct store_field {
    struct str name; /* of a column */
    struct store_value value;
};
/* INSERT INTO one of the public views that are verbs (schema/views/): emit, room_join,
 * kick … Its failure fails the unit (RC_INVALID), and result->error is the view's own
 * text, or "emit.colour: no such field; allowed: …", "emit.room: given twice", "shout: no
 * such verb; allowed: …". */
void store_unit_action(struct store_unit *u, const char *view,
                       const struct store_field *fields, size_t n);
/* Is there such a verb, and has it this column? */
bool store_verb_exists(const char *verb);
bool store_verb_has(const char *verb, const char *column);

/* ---- what comes in, for the triggers of an application in SQL (store_app_has) ----
 *
 * INSERTs into the views connection, event, disconnect. Each may fail, and wants a group.
 * A socket that has gone meanwhile has no events. */
struct store_incoming_event {
    int64_t socket_id;
    bool has_ack_id;
    int64_t ack_id;
    struct str event;       /* its name, as a text */
    struct str args;        /* raw JSON, without the brackets */
    struct str attachments; /* as in struct store_packet */
};
/* The application may refuse it: that is a failure of its group (job "refuse"). */
void store_unit_incoming_connection(struct store_unit *u, int64_t socket_id);
void
store_unit_incoming_event(struct store_unit *u, const struct store_incoming_event *ev);
/* Right behind the store_unit_answer() of the same; nothing where that did not count. */
void store_unit_incoming_answer(struct store_unit *u, int64_t ask_seq, int64_t socket_id);
void store_unit_incoming_ask_end(struct store_unit *u, int64_t ask_seq);
void
store_unit_incoming_presence(struct store_unit *u, int64_t presence_id, bool is_online);
/* rooms: JSON array. */
void store_unit_incoming_disconnect(struct store_unit *u, int64_t socket_id,
                                    struct str reason, struct str rooms);

#endif
