/*
 * Configuration: one table (name, type, default, bounds, one sentence) makes the parser,
 * --help, the man page section and the sample file (house style O3). An option that is
 * not in the table does not exist.
 *
 * The file: `key = value`, `#` comments, sizes with k/M, times with ms/s/m; an unknown
 * key or a bad value is an error that names file, line, key and what is allowed.
 * `header(NAME) = VALUE` may be repeated.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_BASE_CFG_H
#define SIOLITE_CORE_BASE_CFG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/base/buf.h"

enum cfg_synchronous { CFG_SYNC_OFF = 0, CFG_SYNC_NORMAL = 1, CFG_SYNC_FULL = 2 };
enum cfg_origin { CFG_ORIGIN_REFUSE = 0, CFG_ORIGIN_ALLOW = 1 };
enum cfg_hook_event {
    CFG_HOOK_CONNECT = 1,
    CFG_HOOK_EVENT = 2,
    CFG_HOOK_DISCONNECT = 4,
    CFG_HOOK_ACK = 8,
    CFG_HOOK_PRESENCE = 16
};
enum cfg_abort { CFG_ABORT_LENIENT = 0, CFG_ABORT_STRICT = 1 };

/* All strings are owned by the struct, never NULL ("" = not set). Read-only once the
 * programs run. */
struct cfg {
    char *database, *app, *path;   /* path without trailing slash: "/socket.io" */
    char *nsp;                     /* space-separated namespaces and ~patterns */
    bool is_slash_needed;          /* add_trailing_slash: the bare path is not ours */
    char *fcgi_listen, *ws_listen; /* "" = inherited descriptor; "HOST:PORT" or "/path" */
    char *ws_tls_cert, *ws_tls_key; /* files; "" = no TLS */
    bool is_polling, is_websocket;  /* transports= */
    int64_t ping_interval_ms, ping_timeout_ms, upgrade_timeout_ms, connect_timeout_ms;
    int64_t max_payload_bytes; /* a POST body, a WebSocket message */
    int64_t n_attachments_max;
    int64_t hold_ms;                     /* -1 = auto */
    int64_t n_held_max;                  /* -1 = auto */
    int64_t max_queue_bytes;             /* what may wait for one WebSocket */
    int64_t ring_rows, ring_bytes;       /* the newest rows kept in memory */
    int64_t log_rows_max, log_bytes_max; /* hard cap of the log; who is below it ends */
    enum cfg_synchronous synchronous;
    int log_level; /* enum log_level */
    bool is_eio3, is_jsonp, is_upgrade_allowed;
    char *cors_origin, *cors_methods, *cors_allowed_headers, *cors_exposed_headers;
    bool is_cors_credentials;
    int64_t cors_max_age_s; /* -1 = not sent */
    enum cfg_origin foreign_origin;
    char *cookie;                   /* "" = none; "io; Path=/; HttpOnly; SameSite=Lax" */
    int64_t http_compression_bytes; /* threshold; 0 = off */
    int64_t ws_compression_bytes;   /* threshold; 0 = off */
    enum cfg_abort aborted_poll;
    char *initial_packet; /* "" = none */
    int64_t recovery_ms;  /* 0 = off */
    bool is_recovery_skip_middleware;
    bool is_cleanup_nsp, is_serve_client;
    char *client_dir;    /* of the JavaScript client; "" = beside the program */
    char *metrics_token; /* SECRET; space-separated */
    char *api_token, *api_token_file; /* SECRET, space-separated; "" = not given */
    char *trusted_proxy;              /* space-separated addresses */
    char *extra_headers;              /* "Name: value\r\n" lines from header(NAME)= */
    char *hook_url, *hook_secret, *hook_secret_file; /* SECRET; "" = no hook, not given */
    unsigned hook_events;                            /* enum cfg_hook_event */
    int64_t hook_timeout_ms, hook_connect_wait_ms, hook_retry_ms;
    int64_t hook_concurrency;
    int64_t hook_queue_rows, hook_queue_bytes, hook_socket_rows;
    int64_t n_nsp_max, n_rooms_max, n_pending_acks_max, event_name_bytes_max,
        json_depth_max;
    int64_t empty_session_ms; /* how long a session may live without a namespace */
    int64_t handshakes_per_s; /* per address; 0 = unlimited */
    int64_t expiry_lead_ms;   /* 0 = not announced */
    char *expiry_event;
    int64_t presence_linger_ms, presence_keep_ms, outbox_keep_ms, n_outbox_max;
    int64_t history_bytes;
    int64_t retry_keep_ms; /* 0 = retries are events like any other */
    int64_t n_client_retries_max, n_retries_max;
    char *file; /* that was loaded; "" = none */
    char *hash; /* of its text, hex: recorded by each process */
};

/* Defaults (design.md section 9). */
void cfg_init(struct cfg *c);
void cfg_fini(struct cfg *c);
/* On failure `err` holds one line: "FILE:LINE: key: what is wrong; allowed: …".
 * RC_NOTFOUND: no such file. */
MUST_CHECK enum rc cfg_load(struct cfg *c, const char *file, struct buf *err);
/* One "key=value", as from --set; `where` names the source in the error text. */
MUST_CHECK enum rc
cfg_set(struct cfg *c, struct str key_value, const char *where, struct buf *err);
/* Checks across options (app exists when named, ping_timeout > 0 …), after the last
 * cfg_set. */
MUST_CHECK enum rc cfg_check(const struct cfg *c, struct buf *err);
/* Where a number that the option `name` sets stands, and its bounds; NULL: it sets none.
 */
int64_t *cfg_number(struct cfg *c, const char *name, int64_t *min, int64_t *max);
/* A number that the loop's thread may change meanwhile, for other threads. */
static inline int64_t
cfg_live(const int64_t *number)
{
    return __atomic_load_n(number, __ATOMIC_RELAXED);
}
/* Takes over what may change while a program runs; `next` is empty afterwards. `kept`
 * gets the names of the options that differ and are used at the start only. */
void cfg_replace(struct cfg *c, struct cfg *next, struct buf *kept);
/* Is it the name of an application in SQL? */
bool cfg_is_sql(const char *app);
void cfg_print_help(FILE *out);   /* a line an option, for --help */
void cfg_print_sample(FILE *out); /* a commented configuration file with all defaults */
void cfg_print_man(FILE *out);    /* the same as an mdoc list, for the man page */

/* Reads `file`; NULL: siolite.conf beside the program (argv0), else
 * /etc/siolite/siolite.conf, else nothing. */
MUST_CHECK enum rc
cfg_read(struct cfg *c, const char *file, const char *argv0, struct buf *err);

/* What main() of every server does with its arguments: --config FILE, --set KEY=VALUE
 * (repeatable), --check-config, --version, --help. Without --config: siolite.conf beside
 * the program, else /etc/siolite/siolite.conf, else defaults only. Returns -1 to go on,
 * else the exit status (0 after --help, 1 failure, 2 usage) with `c` empty; messages on
 * stdout/stderr. Under a CGI server, arguments that are words of a query string are
 * ignored: they come from a stranger. */
int cfg_main(struct cfg *c, const char *program, int argc, char **argv);
/* What the same arguments give now (SIGHUP). On failure `c` is empty, and `err` has one
 * line. */
MUST_CHECK enum rc cfg_main_again(struct cfg *c, int argc, char **argv, struct buf *err);

#ifndef SIOLITE_VERSION
#define SIOLITE_VERSION "0.1.0"
#endif

#endif
