/*
 * The table of options, and its forms for readers: --help, the sample file, the man page.
 * To add an option: a field in struct cfg, a line in CFG_OPTIONS; nothing else.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/cfg_option.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "core/base/log.h"

#define S INT64_C(1000)
#define MIN (60 * S)
#define H (60 * MIN)
#define KB INT64_C(1024)
#define MB (1024 * KB)
#define GB (1024 * MB)

static const struct cfg_word SYNCHRONOUS[] = {{"normal", CFG_SYNC_NORMAL},
                                              {"full", CFG_SYNC_FULL},
                                              {"off", CFG_SYNC_OFF},
                                              {NULL, 0}};
static const struct cfg_word LEVELS[] = {{"error", LOG_ERROR},
                                         {"warn", LOG_WARN},
                                         {"info", LOG_INFO},
                                         {"debug", LOG_DEBUG},
                                         {NULL, 0}};
static const struct cfg_word ORIGIN[] = {
    {"refuse", CFG_ORIGIN_REFUSE}, {"allow", CFG_ORIGIN_ALLOW}, {NULL, 0}};
static const struct cfg_word ABORT[] = {
    {"lenient", CFG_ABORT_LENIENT}, {"strict", CFG_ABORT_STRICT}, {NULL, 0}};
static const struct cfg_word AUTO[] = {{"auto", -1}, {NULL, 0}};
static const struct cfg_word OFF[] = {{"off", 0}, {NULL, 0}};
static const struct cfg_word OFF_ON[] = {{"off", 0}, {"on", 1024}, {NULL, 0}};
static const struct cfg_word HOOK_EVENTS[] = {
    {"connect", CFG_HOOK_CONNECT},       {"event", CFG_HOOK_EVENT},
    {"disconnect", CFG_HOOK_DISCONNECT}, {"ack", CFG_HOOK_ACK},
    {"presence", CFG_HOOK_PRESENCE},     {NULL, 0}};
static const struct cfg_word EMPTY[] = {{"", -1}, {NULL, 0}};

#define AT(field) offsetof(struct cfg, field)

const struct cfg_option CFG_OPTIONS[] = {
    {"database", CFG_T_FILE, AT(database), "siolite.db", 0, 0, NULL,
     "the SQLite file that all programs share"},
    {"app", CFG_T_FILE, AT(app), "", 0, 0, NULL,
     "the application: a shared object, or a file of SQL that ends in .sql"},
    {"nsp", CFG_T_TEXT, AT(nsp), "", 0, 0, NULL,
     "namespaces of an application that is not C, separated by spaces, such as /chat; "
     "~ and a regular expression: all that match it. / is always there"},
    {"path", CFG_T_URL_PATH, AT(path), "/socket.io", 0, 0, NULL,
     "the URL path of Socket.IO"},
    {"add_trailing_slash", CFG_T_FLAG, AT(is_slash_needed), "on", 0, 0, NULL,
     "off: the path without the slash at its end is served too"},
    {"fcgi_listen", CFG_T_LISTEN, AT(fcgi_listen), "", 0, 0, NULL,
     "where the FastCGI program listens; empty: on the socket it inherits"},
    {"ws_listen", CFG_T_LISTEN, AT(ws_listen), "127.0.0.1:8090", 0, 0, NULL,
     "where the WebSocket sidecar listens; empty: on the socket it inherits"},
    {"ws_tls_cert", CFG_T_FILE, AT(ws_tls_cert), "", 0, 0, NULL,
     "the sidecar speaks TLS itself, with this certificate chain (PEM); SIGHUP reads it "
     "again"},
    {"ws_tls_key", CFG_T_FILE, AT(ws_tls_key), "", 0, 0, NULL,
     "the private key of ws_tls_cert (PEM, without passphrase)"},
    {"transports", CFG_T_TRANSPORTS, 0, "polling,websocket", 0, 0, NULL,
     "the transports on offer"},
    {"allow_upgrades", CFG_T_FLAG, AT(is_upgrade_allowed), "on", 0, 0, NULL,
     "off: a client that begins with polling is not offered WebSocket"},
    {"ping_interval", CFG_T_TIME, AT(ping_interval_ms), "25s", 10, H, NULL,
     "the wait before each ping"},
    {"ping_timeout", CFG_T_TIME, AT(ping_timeout_ms), "20s", 10, H, NULL,
     "how long a pong may take before the session is closed"},
    {"upgrade_timeout", CFG_T_TIME, AT(upgrade_timeout_ms), "10s", 10, H, NULL,
     "how long an upgrade to WebSocket may take"},
    {"connect_timeout", CFG_T_TIME, AT(connect_timeout_ms), "45s", 10, H, NULL,
     "how long a client may take to join its first namespace"},
    {"max_payload", CFG_T_SIZE, AT(max_payload_bytes), "1000000", 100, GB, NULL,
     "the largest POST body and WebSocket message"},
    {"max_attachments", CFG_T_COUNT, AT(n_attachments_max), "10", 1, 1000, NULL,
     "the most binary attachments of one packet"},
    {"hold", CFG_T_TIME, AT(hold_ms), "auto", 0, 25 * S, AUTO,
     "how long a poll with nothing to send is held; auto: what the web server permits"},
    {"max_held", CFG_T_COUNT, AT(n_held_max), "auto", 0, 100000, AUTO,
     "how many polls are held at a time with hold=auto where each occupies a process "
     "(CGI, "
     "mod_fcgid); auto: a quarter of the processes that the host permits, 12 at most"},
    {"max_queue", CFG_T_SIZE, AT(max_queue_bytes), "8M", 64 * KB, GB, NULL,
     "what may wait for one slow WebSocket client before it is closed"},
    {"synchronous", CFG_T_CHOICE, AT(synchronous), "normal", 0, 0, SYNCHRONOUS,
     "PRAGMA synchronous of the database; full survives a power loss without loss"},
    {"log_level", CFG_T_CHOICE, AT(log_level), "info", 0, 0, LEVELS,
     "what is logged to stderr"},
    {"ring_rows", CFG_T_COUNT, AT(ring_rows), "20000", 1, 10000000, NULL,
     "how many of the newest packets a process keeps in memory"},
    {"ring_bytes", CFG_T_SIZE, AT(ring_bytes), "16M", KB, 4 * GB, NULL,
     "the memory that the newest packets may take"},
    {"log_rows_max", CFG_T_COUNT, AT(log_rows_max), "1000000", 1, 1000000000, NULL,
     "the most packets in the database; sessions that are further behind end"},
    {"log_bytes_max", CFG_T_SIZE, AT(log_bytes_max), "512M", 4 * KB, 1024 * GB, NULL,
     "the most bytes of packets in the database; sessions that are further behind end"},

    {"eio3", CFG_T_FLAG, AT(is_eio3), "on", 0, 0, NULL,
     "serve Socket.IO 1.x and 2.x clients too"},
    {"jsonp", CFG_T_FLAG, AT(is_jsonp), "on", 0, 0, NULL, "serve JSONP polling"},
    {"cors_origin", CFG_T_TEXT, AT(cors_origin), "", 0, 0, NULL,
     "the origins that browsers may connect from, separated by spaces, or *; empty: no "
     "CORS"},
    {"cors_credentials", CFG_T_FLAG, AT(is_cors_credentials), "off", 0, 0, NULL,
     "allow cookies from those origins"},
    {"cors_methods", CFG_T_TEXT, AT(cors_methods), "", 0, 0, NULL,
     "Access-Control-Allow-Methods; empty: GET,HEAD,PUT,PATCH,POST,DELETE"},
    {"cors_allowed_headers", CFG_T_TEXT, AT(cors_allowed_headers), "", 0, 0, NULL,
     "Access-Control-Allow-Headers; empty: what the browser asks for"},
    {"cors_exposed_headers", CFG_T_TEXT, AT(cors_exposed_headers), "", 0, 0, NULL,
     "Access-Control-Expose-Headers; empty: not sent"},
    {"cors_max_age", CFG_T_SECONDS, AT(cors_max_age_s), "", 0, 31536000, EMPTY,
     "Access-Control-Max-Age; empty: not sent"},
    {"foreign_origin", CFG_T_CHOICE, AT(foreign_origin), "refuse", 0, 0, ORIGIN,
     "what happens to a request from an origin that is neither ours nor listed"},
    {"cookie", CFG_T_TEXT, AT(cookie), "", 0, 0, NULL,
     "the cookie that holds the session id, such as io; Path=/; HttpOnly; SameSite=Lax"},
    {"http_compression", CFG_T_SIZE, AT(http_compression_bytes), "1024", 1, GB, OFF,
     "compress poll answers from this size on"},
    {"ws_compression", CFG_T_SIZE, AT(ws_compression_bytes), "off", 1, GB, OFF_ON,
     "compress WebSocket messages from this size on"},
    {"aborted_poll", CFG_T_CHOICE, AT(aborted_poll), "lenient", 0, 0, ABORT,
     "strict: a poll that the client gives up closes its session, as in socket.io"},
    {"initial_packet", CFG_T_TEXT, AT(initial_packet), "", 0, 0, NULL,
     "a message that each session gets with its handshake; empty: none"},
    {"recovery", CFG_T_TIME, AT(recovery_ms), "off", 1, 24 * H, OFF,
     "how long a lost connection can be recovered, such as 120s"},
    {"recovery_skip_middleware", CFG_T_FLAG, AT(is_recovery_skip_middleware), "on", 0, 0,
     NULL, "a recovered connection does not run the middlewares again"},
    {"cleanup_nsp", CFG_T_FLAG, AT(is_cleanup_nsp), "off", 0, 0, NULL,
     "forget a dynamic namespace after its last socket, once the log does not name it "
     "any "
     "more"},
    {"serve_client", CFG_T_FLAG, AT(is_serve_client), "on", 0, 0, NULL,
     "the FastCGI program serves the JavaScript client's files below the path"},
    {"client_dir", CFG_T_FILE, AT(client_dir), "", 0, 0, NULL,
     "the folder of these files, such as dist of the npm package socket.io-client; "
     "empty: share/siolite/client of the installation, or client beside the program"},
    {"metrics_token", CFG_T_TEXT, AT(metrics_token), "", 0, 0, NULL,
     "who sends it (Authorization: Bearer) may read metrics and health below the path; "
     "several are separated by spaces; empty: nobody"},
    {"api_token", CFG_T_TEXT, AT(api_token), "", 0, 0, NULL,
     "who sends it (Authorization: Bearer) may use the HTTP API below the path; 16 "
     "characters or more; several are separated by spaces; empty: nobody"},
    {"api_token_file", CFG_T_FILE, AT(api_token_file), "", 0, 0, NULL,
     "a file with these tokens, instead of api_token"},
    {"trusted_proxy", CFG_T_TEXT, AT(trusted_proxy), "", 0, 0, NULL,
     "addresses, separated by spaces, whose X-Forwarded-For is believed"},
    {"header(NAME)", CFG_T_HEADER, AT(extra_headers), "", 0, 0, NULL,
     "a header for every answer; may be repeated"},

    {"hook_url", CFG_T_TEXT, AT(hook_url), "", 0, 0, NULL,
     "where siolite-hook posts what clients do, http:// or https://; empty: no web hook"},
    {"hook_secret", CFG_T_TEXT, AT(hook_secret), "", 0, 0, NULL,
     "the key of the web hook's signatures, 16 characters or more"},
    {"hook_secret_file", CFG_T_FILE, AT(hook_secret_file), "", 0, 0, NULL,
     "a file with that key in its first line, instead of hook_secret"},
    {"hook_events", CFG_T_SET, AT(hook_events), "connect,event,disconnect,ack", 0, 0,
     HOOK_EVENTS, "what the web hook is told; presence: that users come and go"},
    {"hook_timeout", CFG_T_TIME, AT(hook_timeout_ms), "10s", 10, 10 * MIN, NULL,
     "how long one POST to the web hook may take"},
    {"hook_connect_wait", CFG_T_TIME, AT(hook_connect_wait_ms), "15s", 10, 10 * MIN, NULL,
     "how long a connection waits for the web hook before it is refused; below "
     "connect_timeout"},
    {"hook_retry", CFG_T_TIME, AT(hook_retry_ms), "10m", 0, 24 * H, NULL,
     "how long an event is posted again and again to a web hook that does not answer; 0: "
     "one try"},
    {"hook_concurrency", CFG_T_COUNT, AT(hook_concurrency), "10", 1, 1000, NULL,
     "the most POSTs under way at a time, of different sockets, in each siolite-hook"},
    {"hook_queue", CFG_T_COUNT, AT(hook_queue_rows), "10000", 1, 10000000, NULL,
     "the most events that wait for the web hook; beyond, connections are refused and "
     "events dropped"},
    {"hook_queue_bytes", CFG_T_SIZE, AT(hook_queue_bytes), "64M", 64 * KB, 1024 * GB,
     NULL, "the most bytes of events that wait for the web hook; beyond: likewise"},
    {"hook_socket_queue", CFG_T_COUNT, AT(hook_socket_rows), "200", 1, 1000000, NULL,
     "the most events of one socket that wait for the web hook; beyond, its events are "
     "dropped"},

    {"expiry_lead", CFG_T_TIME, AT(expiry_lead_ms), "60s", 0, 24 * H, OFF,
     "how long before a socket expires its client is told; off: it is not"},
    {"expiry_event", CFG_T_TEXT, AT(expiry_event), "expiring", 0, 0, NULL,
     "the event that tells it, with the time that is left in ms"},
    {"presence_linger", CFG_T_TIME, AT(presence_linger_ms), "0", 0, H, NULL,
     "how long a user without sockets still counts as present, as far as others are "
     "told"},
    {"presence_keep", CFG_T_TIME, AT(presence_keep_ms), "720h", 0, 87600 * H, NULL,
     "how long it is remembered when a user was there last"},
    {"max_outbox", CFG_T_COUNT, AT(n_outbox_max), "1000", 1, 1000000, NULL,
     "the most events that wait in the outbox for one user; a further one is refused"},
    {"retry_keep", CFG_T_TIME, AT(retry_keep_ms), "1h", 1, 24 * H, OFF,
     "how long it is remembered that an event with a retryKey was handled; off: a retry "
     "is handled again"},
    {"max_client_retries", CFG_T_COUNT, AT(n_client_retries_max), "100", 1, 100000, NULL,
     "the most such events of one client that are remembered"},
    {"max_retries", CFG_T_COUNT, AT(n_retries_max), "100000", 1, 100000000, NULL,
     "the most such events of all clients that are remembered"},
    {"history_bytes", CFG_T_SIZE, AT(history_bytes), "64M", 64 * KB, 1024 * GB, NULL,
     "the most bytes of events that rooms with a history keep, all of them together"},
    {"outbox_keep", CFG_T_TIME, AT(outbox_keep_ms), "24h", 0, 87600 * H, NULL,
     "how long the outbox remembers what was acknowledged or has expired"},

    {"max_nsp", CFG_T_COUNT, AT(n_nsp_max), "1000", 1, 1000000, NULL,
     "the most namespaces of one connection; a further one is refused as unknown"},
    {"max_rooms", CFG_T_COUNT, AT(n_rooms_max), "10000", 1, 100000000, NULL,
     "the most rooms of one socket; a further join fails, or is dropped and logged "
     "(joins of many sockets at once are not counted)"},
    {"max_pending_acks", CFG_T_COUNT, AT(n_pending_acks_max), "1000", 1, 100000000, NULL,
     "the most answers that one socket may owe; a further question to it fails, or finds "
     "nobody (questions to many are not refused)"},
    {"max_event_name", CFG_T_SIZE, AT(event_name_bytes_max), "256", 1, MB, NULL,
     "the longest event name; a client that sends a longer one is closed"},
    {"max_json_depth", CFG_T_COUNT, AT(json_depth_max), "64", 2, 1024, NULL,
     "the deepest nesting of a packet's JSON; a client that sends a deeper one is "
     "closed"},
    {"empty_session", CFG_T_TIME, AT(empty_session_ms), "60s", 10, 24 * H, NULL,
     "how long a session may live after it left its last namespace"},
    {"handshakes_per_s", CFG_T_COUNT, AT(handshakes_per_s), "0", 0, 1000000, NULL,
     "the most new sessions a second from one address (IPv6: from one /64), counted by "
     "each "
     "process for itself and not over CGI; beyond: 429; 0: no limit"},
};
const size_t CFG_N_OPTIONS = sizeof CFG_OPTIONS / sizeof CFG_OPTIONS[0];

bool
cfg_option_is_fixed(const struct cfg_option *o)
{
    static const char *const names[] = {"database",    "fcgi_listen", "ws_listen",
                                        "ws_tls_cert", "ws_tls_key",  "ws_compression",
                                        "synchronous", "ring_rows",   "ring_bytes"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], o->name) == 0)
            return true;
    return false;
}

static void
print_number(struct buf *b, enum cfg_type type, int64_t v)
{
    static const struct {
        int64_t size;
        const char *unit;
    } times[] = {{H, "h"}, {MIN, "m"}, {S, "s"}, {1, "ms"}},
      sizes[] = {{GB, "G"}, {MB, "M"}, {KB, "k"}, {1, ""}};
    size_t i = 0;
    if (type == CFG_T_COUNT || v == 0) {
        buf_append_int(b, v);
        return;
    }
    if (type == CFG_T_SECONDS)
        v *= S;
    if (type == CFG_T_SIZE) {
        while (v % sizes[i].size)
            i++;
        buf_append_f(b, "%" PRId64 "%s", v / sizes[i].size, sizes[i].unit);
    } else {
        while (v % times[i].size)
            i++;
        buf_append_f(b, "%" PRId64 "%s", v / times[i].size, times[i].unit);
    }
}

static void
print_words(struct buf *b, const struct cfg_word *words)
{
    for (const struct cfg_word *w = words; w && w->text; w++) {
        if (w != words)
            buf_append_z(b, ", ");
        buf_append_z(b, w->text[0] ? w->text : "nothing");
    }
}

void
cfg_option_print_allowed(struct buf *b, const struct cfg_option *o)
{
    switch (o->type) {
    case CFG_T_TEXT:
    case CFG_T_HEADER:
        buf_append_z(b, "text without control characters");
        return;
    case CFG_T_FILE:
        buf_append_z(b, "a file name");
        return;
    case CFG_T_URL_PATH:
        buf_append_z(b, "a path that begins with /");
        return;
    case CFG_T_LISTEN:
        buf_append_z(b, "HOST:PORT, PORT, a path that begins with /, or nothing");
        return;
    case CFG_T_FLAG:
        buf_append_z(b, "on, off");
        return;
    case CFG_T_TRANSPORTS:
        buf_append_z(b, "polling, websocket, or both with a comma");
        return;
    case CFG_T_SET:
        buf_append_z(b, "one or several of ");
        print_words(b, o->words);
        return;
    case CFG_T_CHOICE:
        print_words(b, o->words);
        return;
    case CFG_T_COUNT:
        buf_append_z(b, "a number from ");
        break;
    case CFG_T_SIZE:
        buf_append_z(b, "bytes (k, M) from ");
        break;
    case CFG_T_TIME:
    case CFG_T_SECONDS:
        buf_append_z(b, "a time (ms, s, m, h) from ");
        break;
    }
    print_number(b, o->type, o->min);
    buf_append_z(b, " to ");
    print_number(b, o->type, o->max);
    if (o->words) {
        buf_append_z(b, ", or ");
        print_words(b, o->words);
    }
}

void
cfg_print_help(FILE *out)
{
    struct buf allowed = {0};
    for (size_t i = 0; i < CFG_N_OPTIONS; i++) {
        const struct cfg_option *o = &CFG_OPTIONS[i];
        int width;
        buf_clear(&allowed);
        cfg_option_print_allowed(&allowed, o);
        width = fprintf(out, "  %s=%s", o->name, o->fallback);
        fprintf(out, "%*s %s (%.*s)\n", width < 34 ? 34 - width : 0, "", o->help,
                STR_ARG(buf_str(&allowed)));
    }
    buf_fini(&allowed);
}

void
cfg_print_sample(FILE *out)
{
    struct buf allowed = {0};
    fputs("# siolite.conf: key = value. Every line here shows a default; remove its # to "
          "change it.\n"
          "# Sizes may end in k or M, times in ms, s, m or h. File names are relative to "
          "this file.\n",
          out);
    for (size_t i = 0; i < CFG_N_OPTIONS; i++) {
        const struct cfg_option *o = &CFG_OPTIONS[i];
        buf_clear(&allowed);
        cfg_option_print_allowed(&allowed, o);
        fprintf(out, "\n# %s\n# allowed: %.*s\n#%s =%s%s\n", o->help,
                STR_ARG(buf_str(&allowed)), o->name, o->fallback[0] ? " " : "",
                o->fallback);
    }
    buf_fini(&allowed);
}

void
cfg_print_man(FILE *out)
{
    struct buf allowed = {0};
    fputs(".Bl -tag -width Ds\n", out);
    for (size_t i = 0; i < CFG_N_OPTIONS; i++) {
        const struct cfg_option *o = &CFG_OPTIONS[i];
        buf_clear(&allowed);
        cfg_option_print_allowed(&allowed, o);
        fprintf(out, ".It Cm %s Ns = Ns Ar %s\n%c%s.\nAllowed: %.*s.\n", o->name,
                o->fallback[0] ? o->fallback : "value",
                o->help[0] >= 'a' && o->help[0] <= 'z' ? o->help[0] - 32 : o->help[0],
                o->help + 1, STR_ARG(buf_str(&allowed)));
    }
    fputs(".El\n", out);
    buf_fini(&allowed);
}
