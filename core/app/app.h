/*
 * siolite/app.h: what an application is written against. An application is a shared
 * object that exports app_load(); all programs of an installation load it.
 *
 *     cc -shared -fPIC -o chat.so chat.c $(pkg-config --cflags siolite)
 *
 * Rules
 * - Handlers run on the loop of the process that got the packet, and never block (one
 *   that takes over 50 ms is logged).
 * - What a handler does are effects: they commit together after it returned, or not at
 *   all; nobody sees any of them before.
 * - A handler keeps nothing in process memory: the next packet of the same client may be
 *   handled by another process. What lasts is socket data, rooms, the application's own
 *   tables; whatever happens later continues BY NAME.
 * - Verbs return void: the first error sticks (app_error), drops all effects of the
 *   handler and is logged once. A statement (app_exec) that fails at the commit drops
 * those of its event; where it is part of a connection, that is refused.
 * - `struct app_call`, `struct app_to` and everything borrowed from them live until the
 *   handler returns.
 *
 * Threads: everything here on the thread that runs the handler. Prefix app_ (an exception
 * to house style N1).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_APP_H
#define SIOLITE_APP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define APP_ABI 1

struct app;      /* the registry, while app_load() runs */
struct app_nsp;  /* a namespace in it */
struct app_call; /* one run of a handler */
struct app_to;   /* a target, built step by step */
typedef void app_fn(struct app_call *c);

/* ---- yours ---- */

/* Registers handlers. `abi` is APP_ABI of the program that loads it: if that is not the
 * application's own, register nothing and return APP_ABI, so that both numbers can be
 * reported. 0: ready; anything else refuses to start. */
int app_load(struct app *a, int abi);

/* ---- registration, in app_load() only ---- */

/* "/chat"; a pattern is "~" and an extended regular expression: "~^/dyn-[0-9]+$": a
 * namespace of that name exists as soon as somebody asks for it. "/" exists even if
 * nobody registers it. */
struct app_nsp *app_nsp(struct app *a, const char *name);

/* The next three are about requests of Engine.IO, not about sockets. They know the
 * request only: app_method, app_header, app_query, app_query_param, app_handshake,
 * app_remote, app_transport, app_protocol, app_is_first; the id of a session is left out
 * of it. They have no effects, read no tables, and run in whichever process got the
 * request. */

/* Before a session exists, for each handshake over HTTP or WebSocket, in order: returning
 * lets it in, app_refuse answers 403 (WebSocket: 400) with its message, which stands
 * before anything else. Lines of app_add_header go with the answer, of a refusal too. One
 * that fails lets nobody in. */
void app_on_request(struct app *a, app_fn *fn);

/* For each request that is let in, handshakes too, in order, when it has come: a GET
 * before it is held, a POST, a WebSocket. Lines of app_add_header go with its answer,
 * whatever that will be: with the 101 of a WebSocket. One that fails adds none; the
 * answer goes out without them. */
void app_on_headers(struct app *a, app_fn *fn);

/* For each request that gets one of the errors of Engine.IO (EIO-ERROR in
 * docs/protocol.md), just before its answer: app_refusal_code, app_reason,
 * app_refusal_context. It changes nothing of it; one that fails neither. Anybody can
 * cause errors, so it should be short. */
void app_on_connection_error(struct app *a, app_fn *fn);

/* Connection middleware, in order: returning accepts, see app_refuse and app_hold. */
void app_use(struct app_nsp *n, app_fn *fn);

/* Packet middleware, before each event: app_refuse drops the event. */
void app_use_packet(struct app_nsp *n, app_fn *fn);

/* Recovered sockets too, see app_is_recovered; their rooms are back in a continuation. */
void app_on_connect(struct app_nsp *n, app_fn *fn);

/* The room keeps its last n events, 1 to 10000, and for ms (-1: for ever), for
 * app_join_history; also while nobody is in it. With one of *?[ in its name it is a
 * pattern (as of a shell) for such rooms: each from its first member on. */
void app_history(struct app_nsp *n, const char *room, int n_events, int64_t ms);

/* `event` NULL: any event without a handler of its own. */
void app_on_event(struct app_nsp *n, const char *event, app_fn *fn);

/* What another process tells this namespace by app_server_emit or app_server_ask; `event`
 * NULL: any without a handler of its own. Runs in each of them once, without a socket:
 * app_sender fails, app_others is app_all; app_ack answers app_server_ask. Plain CGI
 * programs, which end with their request, hear nothing. */
void app_on_server_event(struct app_nsp *n, const char *event, app_fn *fn);

/* For each app_emit and app_ask of a handler of this process to this namespace, in order,
 * while the verb runs: once an effect, whatever the number of its receivers, and before
 * it becomes a packet. app_event and the arguments are those of what is emitted; the rest
 * (app_id, app_sender …) is that of the handler that emits. It changes and stops nothing.
 * What it emits itself is not told again. Acks, and what SQL emits, are not told. */
void app_on_outgoing(struct app_nsp *n, app_fn *fn);

/* Once for each loss, also of a socket that may be recovered, right after its end: it is
 * no longer in app_count and app_fetch, and app_rooms gives the rooms that it was in. The
 * effects commit exactly once, also after a crash. */
void app_on_disconnect(struct app_nsp *n, app_fn *fn);

/* The first socket of a user (app_user) has come, or the last one has gone
 * (app_is_online): once each, alternating, also after a crash. Runs without a socket. */
void app_on_presence(struct app_nsp *n, app_fn *fn);

/* Continues app_ask, app_server_ask, app_after, app_then; the name does not begin with
 * '#'. */
void app_on_later(struct app_nsp *n, const char *name, app_fn *fn);

/* The application's own tables: run once in a transaction, when `version` is above the
 * one the database knows. */
void app_schema(struct app *a, int version, const char *sql);

/* A named statement with parameters :1 :2 …; an INSERT, UPDATE, DELETE for app_exec, a
 * SELECT for app_select. */
void app_sql(struct app *a, const char *name, const char *sql);

/* ---- the caller; strings are NUL-terminated, borrowed ---- */

/* The socket's public id; NULL in a continuation without a socket. */
const char *app_id(struct app_call *c);

/* As set by app_set_user; NULL: nobody. In on_presence: who has come or gone. */
const char *app_user(struct app_call *c);

/* In on_presence: has the user come, or gone? */
bool app_is_online(struct app_call *c);

/* In on_disconnect: why ("transport close" …); in on_connection_error: the error's
 * message; else NULL. */
const char *app_reason(struct app_call *c);

const char *app_nsp_name(struct app_call *c);

/* "polling" or "websocket", now; NULL when the session is over, or the request names
 * neither. */
const char *app_transport(struct app_call *c);

/* The event's name; NULL outside of events. */
const char *app_event(struct app_call *c);

/* Engine.IO revision, 4 or 3. */
int app_protocol(struct app_call *c);

bool app_is_recovered(struct app_call *c);

/* Of the handshake request: the client's address; a query parameter, a header (in any
 * case of letters), NULL if absent; all query parameters, an object of strings. */
const char *app_remote(struct app_call *c);
const char *app_query_param(struct app_call *c, const char *name);
const char *app_header(struct app_call *c, const char *name);
const json_t *app_query(struct app_call *c);

/* All that is known of it: {headers, query, url, address, secure, xdomain, issued (ms
 * since 1970)}. */
const json_t *app_handshake(struct app_call *c);

/* In on_request, on_headers, on_connection_error: the request's method; is it a
 * handshake, that is without the id of a session? Elsewhere NULL and false. */
const char *app_method(struct app_call *c);
bool app_is_first(struct app_call *c);

/* In on_connection_error: the error's code, 0 to 6; what is behind code 3 (and only
 * there), by the reference's names: "INVALID_ORIGIN", "TRANSPORT_HANDSHAKE_ERROR",
 * "TRANSPORT_MISMATCH", "PROTOCOL_MISMATCH". Elsewhere -1 and NULL. */
int app_refusal_code(struct app_call *c);
const char *app_refusal_context(struct app_call *c);

/* The CONNECT's payload, {} if none; kept as long as the socket. */
const json_t *app_auth(struct app_call *c);

/* As set by app_set_data, JSON null if never; own effects included. */
const json_t *app_data(struct app_call *c);

/* In a continuation: what app_ask, app_server_ask, app_after, app_then were given. */
const json_t *app_state(struct app_call *c);

/* The event's arguments: raw bytes until asked for. `i` from 0; false or NULL where
 * absent or of another kind. A string is also NUL-terminated, and may contain NULs; an
 * int is a number without fraction that fits; bytes are a binary attachment as this
 * argument; JSON is NULL too where jansson can't hold it (lone surrogates …). */
size_t app_n_args(struct app_call *c);
bool app_arg_str(struct app_call *c, size_t i, const char **s, size_t *len);
bool app_arg_int(struct app_call *c, size_t i, int64_t *v);
bool app_arg_num(struct app_call *c, size_t i, double *v);
bool app_arg_bool(struct app_call *c, size_t i, bool *v);
bool app_arg_bytes(struct app_call *c, size_t i, const void **p, size_t *len);
const json_t *app_arg_json(struct app_call *c, size_t i);
bool app_wants_ack(struct app_call *c);

/* ---- targets: chainable, each socket once ----
 *
 * Each verb changes the target and returns it; one target serves any number of effects.
 * In a continuation the sender is who sent the event; once it has gone, app_sender
 * reaches nobody and app_others all. */

/* The socket itself. */
struct app_to *app_sender(struct app_call *c);

/* The namespace without the sender; with app_in: those rooms without it. */
struct app_to *app_others(struct app_call *c);

/* The namespace; with app_in: those rooms, the sender too if it is in. */
struct app_to *app_all(struct app_call *c);

/* A room or a socket's id; several add up. */
struct app_to *app_in(struct app_to *t, const char *room);

/* A room whose members are left out. */
struct app_to *app_except(struct app_to *t, const char *room);

/* All sockets of this user. */
struct app_to *app_to_user(struct app_to *t, const char *user);

/* Another namespace. For app_emit also a pattern as it was registered ("~^/dyn-[0-9]+$"):
 * all namespaces that exist by it now. */
struct app_to *app_of(struct app_to *t, const char *nsp);

enum app_flag {
    APP_VOLATILE = 1, /* only to whom can be written to right now */
    APP_LOCAL = 2,    /* only to clients of this process */
    APP_UNCOMPRESSED = 4,
    APP_HANDSHAKES = 8 /* app_fetch: each with its "handshake", as app_handshake */
};
struct app_to *app_with(struct app_to *t, unsigned flags);

/* ---- effects ----
 *
 * `fmt` has a letter an argument:
 *
 *     s  const char *, NULL is null       S  const char *, size_t: text with its length
 *     i  int64_t                          B  const void *, size_t: binary
 *     f  double                           j  json_t *, taken, NULL is null
 *     b  int, as a boolean                J  const json_t *, borrowed, NULL is null
 *     n  null, no argument                A  size_t: the event's own arguments from there
 *                                            on, raw, attachments included
 *
 * In a continuation of app_ask or app_server_ask also:
 *
 *     R  size_t: all arguments of that answer, raw likewise
 *     L  no argument: one list of the first argument of each answer, else null
 *
 * Blanks count for nothing. [ ] make a list and { } an object of what is between them,
 * keys being s: "{ss si}", "id", id, "n", (int64_t)3. */

void app_emit(struct app_to *t, const char *event, const char *fmt, ...);

/* Emits and asks each receiver for an answer; when all answered, or after timeout_ms (-1:
 * never), `later` runs once, with app_answer() and the rest. `state` is taken, may be
 * NULL. A continuation, of this and of the next two, inherits the event's open ack. */
void app_ask(struct app_to *t, int64_t timeout_ms, const char *later, json_t *state,
             const char *event, const char *fmt, ...);

/* Tells all other processes, not this one: their app_on_server_event of this namespace.
 */
void app_server_emit(struct app_call *c, const char *event, const char *fmt, ...);

/* Asks all of them. Those that run now and are not about to end are expected to answer
 * (by app_ack in app_on_server_event, or in a continuation of it); when all have, or
 * after timeout_ms (0 or more), `later` runs once, as for app_ask. Who does not answer in
 * time, because it has no such handler, or has died, is missing from the answers. */
void app_server_ask(struct app_call *c, int64_t timeout_ms, const char *later,
                    json_t *state, const char *event, const char *fmt, ...);

/* Goes on after a time; durable, fires once. */
void app_after(struct app_call *c, int64_t ms, const char *later, json_t *state);

/* Goes on after this unit's commit. */
void app_then(struct app_call *c, const char *later, json_t *state);

/* The continuations of this handler get its event too: app_event, app_arg_…, 'A'. In a
 * continuation: pass it on. */
void app_keep_args(struct app_call *c);

/* Answers the event (or the one it continues); once; nothing happens if not asked to. */
void app_ack(struct app_call *c, const char *fmt, ...);

/* Connection middleware: it is decided later, by a continuation (app_after …), which
 * accepts or refuses. */
void app_hold(struct app_call *c);
void app_accept(struct app_call *c);

/* The client gets a CONNECT_ERROR; `data` is taken, may be NULL (in app_on_request it is
 * not sent). */
void app_refuse(struct app_call *c, const char *message, json_t *data);

/* In on_request and on_headers: one more line of the answer; it replaces none. A name is
 * a token of HTTP, a value has no control characters but tabs; both together are at most
 * 2000 bytes a request. Refused are the names of lines that the server writes itself or
 * that web servers act on: Access-Control-…, Cache-Control, Connection, Content-Encoding,
 * Content-Length, Content-Type, Date, Keep-Alive, Location, Retry-After, Sec-WebSocket-…,
 * Server, Status, Trailer, Transfer-Encoding, Upgrade, Vary, X-Accel-…,
 * X-LIGHTTPD-…, X-Sendfile…, X-XSS-Protection. The handler fails then. */
void app_add_header(struct app_call *c, const char *name, const char *value);

void app_join(struct app_to *t, const char *room);

/* Joins, and who was not in gets the events that the room has kept (app_history), in
 * their order, before anything newer; none twice and none left out in between. */
void app_join_history(struct app_to *t, const char *room);
void app_leave(struct app_to *t, const char *room);

/* `close`: the whole connection, not only this namespace. */
void app_disconnect(struct app_to *t, bool close);

/* `value` is taken. */
void app_set_data(struct app_call *c, json_t *value);

/* NULL: nobody. */
void app_set_user(struct app_call *c, const char *user);

/* The socket ends in so many ms (-1: no more), its client is told before (expiry_lead). A
 * later call takes the place of an earlier one. `close`: its whole connection. */
void app_set_expiry(struct app_call *c, int64_t ms, bool close);

/* An event for all sockets of a user in this namespace, those that come later too, until
 * the first one acknowledges it or expires_ms are over (-1: never); several in their
 * order. Binary arguments as in app_emit. A user for whom max_outbox events wait: the
 * effects are dropped. */
void app_outbox(struct app_call *c, const char *user, int64_t expires_ms,
                const char *event, const char *fmt, ...);

/* A named statement, within the commit, in its order among the effects. */
void app_exec(struct app_call *c, const char *stmt, const char *fmt, ...);

/* ---- reads: committed state; results owned by the caller ---- */

/* [[column, …], …]; NULL: app_error. */
json_t *app_select(struct app_call *c, const char *stmt, const char *fmt, ...);

/* The own socket's rooms, sorted, without its id; own effects included. */
json_t *app_rooms(struct app_call *c);

/* [{"id","user","rooms","data"}, …] of the sockets in it, by id; how many they are. */
json_t *app_fetch(struct app_to *t);
size_t app_count(struct app_to *t);

/* ---- continuation of app_ask, app_server_ask ---- */

size_t app_n_expected(struct app_call *c);
size_t app_n_answers(struct app_call *c);

/* Not everybody answered. */
bool app_is_timeout(struct app_call *c);

/* The array of the i-th answer's arguments, in order of arrival. */
const json_t *app_answer(struct app_call *c, size_t i);

/* ---- the error that sticks: 0 or an `enum rc`; with its text ---- */

int app_error(struct app_call *c);
const char *app_error_text(struct app_call *c);

#endif
