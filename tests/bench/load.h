/*
 * What the files of the load generator share.
 *
 *     sio_load.c (options, phases, report) ─► load_session.c ─┬─► load_ws.c ───┬─►
 * load_conn.c (sockets, epoll) └─► load_http.c ─┘
 *
 * Bytes come back the same way: load_conn.c gives what it received to load_ws_feed() or
 * load_http_feed(), these give Engine.IO packets to load_session_packet(). One thread,
 * one epoll set, no timer but the phases.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_TESTS_BENCH_LOAD_H
#define SIOLITE_TESTS_BENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <zlib.h>

#include "core/base/buf.h"

enum {
    LOAD_RECV_MAX = 1 << 18,
    LOAD_MESSAGE_MAX = 1 << 20,
    LOAD_STAMP = 32, /* what begins each message: 8 session, 8 number, 16 time, all hex */
    LOAD_BROADCASTS = 1 << 16, /* that may be under way */
    LOAD_PIDS = 64,
};

enum load_mode { LOAD_CONNECT, LOAD_ECHO, LOAD_BROADCAST };
enum load_transport { LOAD_WEBSOCKET, LOAD_POLLING, LOAD_UPGRADE };
enum load_phase { LOAD_CONNECTING, LOAD_WARMUP, LOAD_MEASURING, LOAD_DRAINING };

struct load_options {
    enum load_mode mode;
    enum load_transport transport;
    int n_conns, n_at_once, message_bytes, window, n_active, n_senders;
    double rate, warmup_s, duration_s, hold_s, timeout_s;
    const char *nsp, *event, *auth, *label, *deflate_offer, *unix_path;
    struct buf headers; /* "Name: value\r\n" lines */
    bool has_offset, is_deflate, is_no_keepalive, has_children;
    int n_sources, n_pids, pids[LOAD_PIDS];
    char host[256], path[512];
    int port;
};

/* ---- figures (load_stat.c) ---- */

enum { LOAD_STEPS = 64, LOAD_BUCKETS = LOAD_STEPS * 48 };

/* Log-linear: 64 steps a power of two. */
struct load_hist {
    uint64_t buckets[LOAD_BUCKETS], n, max, min;
    double sum;
};

struct load_usage { /* of the server's processes */
    double user_s, sys_s;
    long rss_kb, pss_kb;
    int n_processes;
};

uint64_t load_now_ns(void);
void load_hist_add(struct load_hist *h, uint64_t ns);
void load_hist_print(const char *name,
                     const struct load_hist *h); /* a JSON member, microseconds */
struct load_usage load_usage_get(const struct load_options *o);

/* ---- the run ---- */

struct load {
    struct load_options o;
    int epoll_fd;
    struct sockaddr_storage to;
    socklen_t to_len;
    uint32_t n_sockets; /* so far: the source addresses take turns */
    struct load_session *sessions;
    int n_started, n_opening, n_up, n_failed;
    enum load_phase phase;
    uint64_t progress_ns; /* when something last moved */

    char *message; /* 42["event"," then the stamp, padding and "] */
    size_t prefix_len, name_len, message_len;
    uint32_t broadcast_seq;
    uint32_t *n_missing;    /* receipts of each broadcast under way, by number */
    uint64_t *broadcast_ns; /* when it was sent */
    int n_broadcasts;       /* under way */

    struct load_hist connect, latency, full;
    uint64_t n_sent, n_received, n_sent_measured, n_received_measured;
    uint64_t n_bad, n_closed, n_http_errors, n_disorder, n_pings;
    char first_error[160];

    z_stream deflater,
        inflater; /* the inflater: of connections without context takeover */
    bool has_inflater, is_deflated_seen;
    char *recv_buffer, *frame_buffer, *deflate_buffer, *inflate_buffer, *chunk_buffer;
};

/* Something that must not be; the first text is kept. */
__attribute__((format(printf, 2, 3))) void load_bad(struct load *l, const char *fmt, ...);
__attribute__((format(printf, 1, 2), noreturn)) void load_die(const char *fmt, ...);

/* ---- connections (load_conn.c) ---- */

enum load_conn_kind { LOAD_CONN_HTTP, LOAD_CONN_WS };
enum load_conn_state {
    LOAD_CONN_DOWN, /* no socket; also after its end, while events may still name it */
    LOAD_CONN_DIALING,
    LOAD_CONN_HANDSHAKE, /* WebSocket: the request is out */
    LOAD_CONN_OPEN,
};
enum load_http_request { LOAD_HTTP_NONE, LOAD_HTTP_GET, LOAD_HTTP_POST };

struct load_conn {
    struct load_session *session;
    enum load_conn_kind kind;
    enum load_conn_state state;
    int fd;
    enum load_http_request request; /* the one under way */
    bool wants_write, closes_after, is_dead;
    bool can_deflate, no_takeover, is_fragment_deflated;
    uint8_t fragment_opcode; /* 0: no message is half received */
    struct buf in, out, fragments;
    size_t n_out_sent;
    z_stream *inflater;
};

struct load_conn *load_conn_create(struct load_session *s, enum load_conn_kind kind);
/* Connects; false: not possible, said by load_bad(). */
bool load_conn_dial(struct load *l, struct load_conn *c);
void load_conn_send(struct load *l, struct load_conn *c, const void *p, size_t n);
void
load_conn_hang_up(struct load_conn *c); /* closes the socket; it may be dialled again */
void load_conn_end(
    struct load_conn **at); /* for good: memory goes, the struct stays for late events */
void load_conn_pump(struct load *l, int timeout_ms);

/* ---- transports: both take bytes and return how many they used, 0 for "more needed"
 * ---- */

void load_ws_open(struct load *l, struct load_session *s, bool is_upgrade);
void
load_ws_frame(struct load *l, struct load_conn *c, int opcode, const char *p, size_t n);
size_t load_ws_feed(struct load *l, struct load_conn *c, char *p, size_t n);

void load_http_get(struct load *l, struct load_session *s);
void load_http_post(struct load *l, struct load_session *s, struct load_conn **at,
                    struct str body);
/* `is_end`: the peer has closed, there is no more. */
size_t
load_http_feed(struct load *l, struct load_conn *c, char *p, size_t n, bool is_end);

/* ---- sessions (load_session.c) ---- */

enum load_session_state {
    LOAD_NEW,
    LOAD_OPENING,  /* handshake sent */
    LOAD_JOINING,  /* CONNECT sent */
    LOAD_PROBING,  /* upgrade: 2probe is on its way */
    LOAD_FLUSHING, /* upgrade: 3probe came, the last GET is under way */
    LOAD_UP,
    LOAD_DEAD,
};

struct load_session {
    uint32_t id;
    enum load_session_state state;
    bool wants_get;
    char eio_sid[64];
    struct load_conn *ws, *get, *post;
    struct buf queue; /* packets that wait for a POST */
    uint32_t n_sent, n_received;
    uint64_t start_ns;
};

void load_session_start(struct load *l, struct load_session *s);
void load_session_end(struct load *l, struct load_session *s);
void load_session_packet(struct load *l, struct load_session *s, char *p, size_t n);
/* A poll or a POST was answered. */
void load_session_answered(struct load *l, struct load_session *s,
                           enum load_http_request request, char *p, size_t n);
/* Starts whatever request the session wants to have under way. */
void load_session_poll(struct load *l, struct load_session *s);
/* One message, its latency counted from `from_ns`. */
void
load_session_emit(struct load *l, struct load_session *s, uint32_t seq, uint64_t from_ns);
void load_broadcast(struct load *l, uint64_t from_ns);

#endif
