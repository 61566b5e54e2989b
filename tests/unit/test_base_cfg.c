/*
 * core/base/cfg.c, cfg_option.c and cfg_main.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/cfg.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/log.h"

static struct cfg c;
static struct buf err;
static char folder[] = "/tmp/siolite-cfg-XXXXXX";
static char file[64];

static int
setup(void **state)
{
    (void)state;
    cfg_init(&c);
    buf_clear(&err);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    cfg_fini(&c);
    buf_fini(&err);
    unlink(file);
    return 0;
}

static int
make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(file, sizeof file, "%s/siolite.conf", folder);
    return 0;
}

static int
remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static void
write_file(const char *text)
{
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static enum rc
set(const char *key_value)
{
    return cfg_set(&c, str_of(key_value), "--set", &err);
}

static void
assert_refused(const char *key_value, const char *text)
{
    assert_int_equal(set(key_value), RC_INVALID);
    if (!str_eqz(buf_str(&err), text))
        fail_msg("got \"%.*s\", want \"%s\"", STR_ARG(buf_str(&err)), text);
}

static void
test_defaults_are_the_documented_ones(void **state)
{
    (void)state;
    assert_string_equal(c.database, "siolite.db");
    assert_string_equal(c.app, "");
    assert_string_equal(c.path, "/socket.io");
    assert_string_equal(c.fcgi_listen, "");
    assert_string_equal(c.ws_listen, "127.0.0.1:8090");
    assert_true(c.is_polling && c.is_websocket);
    assert_int_equal(c.ping_interval_ms, 25000);
    assert_int_equal(c.ping_timeout_ms, 20000);
    assert_int_equal(c.upgrade_timeout_ms, 10000);
    assert_int_equal(c.connect_timeout_ms, 45000);
    assert_int_equal(c.max_payload_bytes, 1000000);
    assert_int_equal(c.n_attachments_max, 10);
    assert_int_equal(c.hold_ms, -1);
    assert_int_equal(c.max_queue_bytes, 8 << 20);
    assert_int_equal(c.ring_rows, 20000);
    assert_int_equal(c.ring_bytes, 16 << 20);
    assert_int_equal(c.log_rows_max, 1000000);
    assert_int_equal(c.log_bytes_max, 512 << 20);
    assert_int_equal(c.synchronous, CFG_SYNC_NORMAL);
    assert_int_equal(c.log_level, LOG_INFO);
    assert_true(c.is_eio3 && c.is_jsonp);
    assert_string_equal(c.cors_origin, "");
    assert_false(c.is_cors_credentials);
    assert_int_equal(c.cors_max_age_s, -1);
    assert_int_equal(c.foreign_origin, CFG_ORIGIN_REFUSE);
    assert_string_equal(c.cookie, "");
    assert_int_equal(c.http_compression_bytes, 1024);
    assert_int_equal(c.ws_compression_bytes, 0);
    assert_int_equal(c.aborted_poll, CFG_ABORT_LENIENT);
    assert_int_equal(c.recovery_ms, 0);
    assert_true(c.is_recovery_skip_middleware);
    assert_false(c.is_cleanup_nsp);
    assert_true(c.is_serve_client);
    assert_string_equal(c.trusted_proxy, "");
    assert_string_equal(c.extra_headers, "");
    assert_string_equal(c.hook_url, "");
    assert_int_equal(c.hook_events, CFG_HOOK_CONNECT | CFG_HOOK_EVENT |
                                        CFG_HOOK_DISCONNECT | CFG_HOOK_ACK);
    assert_int_equal(c.hook_timeout_ms, 10000);
    assert_int_equal(c.hook_connect_wait_ms, 15000);
    assert_int_equal(c.hook_retry_ms, 600000);
    assert_int_equal(c.hook_concurrency, 10);
    assert_int_equal(c.hook_queue_rows, 10000);
    assert_int_equal(c.hook_queue_bytes, 64 << 20);
    assert_int_equal(c.hook_socket_rows, 200);
    assert_int_equal(c.n_nsp_max, 1000);
    assert_int_equal(c.n_rooms_max, 10000);
    assert_int_equal(c.n_pending_acks_max, 1000);
    assert_int_equal(c.event_name_bytes_max, 256);
    assert_int_equal(c.json_depth_max, 64);
    assert_int_equal(c.empty_session_ms, 60000);
    assert_int_equal(c.handshakes_per_s, 0);
    assert_string_equal(c.hash, "");
    assert_int_equal(cfg_check(&c, &err), RC_OK);
}

static void
test_times_take_units(void **state)
{
    (void)state;
    assert_int_equal(set("ping_interval=300"), RC_OK);
    assert_int_equal(c.ping_interval_ms, 300);
    assert_int_equal(set("ping_interval=300ms"), RC_OK);
    assert_int_equal(c.ping_interval_ms, 300);
    assert_int_equal(set("ping_interval = 3 s "), RC_OK);
    assert_int_equal(c.ping_interval_ms, 3000);
    assert_int_equal(set("ping_interval=2m"), RC_OK);
    assert_int_equal(c.ping_interval_ms, 120000);
    assert_int_equal(set("recovery=1h"), RC_OK);
    assert_int_equal(c.recovery_ms, 3600000);
    assert_int_equal(set("recovery=off"), RC_OK);
    assert_int_equal(c.recovery_ms, 0);
    assert_int_equal(set("hold=0"), RC_OK);
    assert_int_equal(c.hold_ms, 0);
    assert_int_equal(set("hold=auto"), RC_OK);
    assert_int_equal(c.hold_ms, -1);
    assert_int_equal(set("cors_max_age=600"), RC_OK);
    assert_int_equal(c.cors_max_age_s, 600);
    assert_int_equal(set("cors_max_age=10m"), RC_OK);
    assert_int_equal(c.cors_max_age_s, 600);
    assert_int_equal(set("cors_max_age="), RC_OK);
    assert_int_equal(c.cors_max_age_s, -1);
}

static void
test_sizes_take_units(void **state)
{
    (void)state;
    assert_int_equal(set("max_payload=10000"), RC_OK);
    assert_int_equal(c.max_payload_bytes, 10000);
    assert_int_equal(set("max_payload=64k"), RC_OK);
    assert_int_equal(c.max_payload_bytes, 65536);
    assert_int_equal(set("max_queue=32M"), RC_OK);
    assert_int_equal(c.max_queue_bytes, 32 << 20);
    assert_int_equal(set("http_compression=off"), RC_OK);
    assert_int_equal(c.http_compression_bytes, 0);
    assert_int_equal(set("ws_compression=on"), RC_OK);
    assert_int_equal(c.ws_compression_bytes, 1024);
    assert_int_equal(set("ws_compression=2k"), RC_OK);
    assert_int_equal(c.ws_compression_bytes, 2048);
}

static void
test_words_flags_and_lists_are_read(void **state)
{
    (void)state;
    assert_int_equal(set("synchronous=full"), RC_OK);
    assert_int_equal(c.synchronous, CFG_SYNC_FULL);
    assert_int_equal(set("log_level=debug"), RC_OK);
    assert_int_equal(c.log_level, LOG_DEBUG);
    assert_int_equal(set("foreign_origin=allow"), RC_OK);
    assert_int_equal(c.foreign_origin, CFG_ORIGIN_ALLOW);
    assert_int_equal(set("aborted_poll=strict"), RC_OK);
    assert_int_equal(c.aborted_poll, CFG_ABORT_STRICT);
    assert_int_equal(set("eio3=off"), RC_OK);
    assert_false(c.is_eio3);
    assert_int_equal(set("transports=websocket"), RC_OK);
    assert_true(!c.is_polling && c.is_websocket);
    assert_int_equal(set("transports=polling , websocket"), RC_OK);
    assert_true(c.is_polling && c.is_websocket);
    assert_int_equal(set("hook_events=disconnect , connect"), RC_OK);
    assert_int_equal(c.hook_events, CFG_HOOK_CONNECT | CFG_HOOK_DISCONNECT);
    assert_int_equal(set("cookie=io; Path=/; HttpOnly; SameSite=Lax"), RC_OK);
    assert_string_equal(c.cookie, "io; Path=/; HttpOnly; SameSite=Lax");
    assert_int_equal(set("cors_origin="), RC_OK);
    assert_string_equal(c.cors_origin, "");
}

static void
test_path_loses_its_trailing_slash(void **state)
{
    (void)state;
    assert_int_equal(set("path=/chat/io/"), RC_OK);
    assert_string_equal(c.path, "/chat/io");
    assert_int_equal(set("path=/"), RC_OK);
    assert_string_equal(c.path, "");
}

static void
test_bad_values_name_what_is_allowed(void **state)
{
    (void)state;
    assert_refused("ping_interval=0",
                   "--set: ping_interval: \"0\" is out of bounds; allowed: "
                   "a time (ms, s, m, h) from 10ms to 1h");
    assert_refused(
        "max_payload=99999999999999999999",
        "--set: max_payload: \"99999999999999999999\" is out of bounds; allowed: "
        "bytes (k, M) from 100 to 1G");
    assert_refused("hold=maybe",
                   "--set: hold: \"maybe\" is not understood; allowed: a time "
                   "(ms, s, m, h) from 0 to 25s, or auto");
    assert_refused("synchronous=NORMAL",
                   "--set: synchronous: \"NORMAL\" is not understood; "
                   "allowed: normal, full, off");
    assert_refused("eio3=1", "--set: eio3: \"1\" is not understood; allowed: on, off");
    assert_refused(
        "transports=webtransport",
        "--set: transports: \"webtransport\" is not understood; allowed: polling, "
        "websocket, or both with a comma");
    assert_refused("hook_events=connect,emit",
                   "--set: hook_events: \"connect,emit\" is not understood; allowed: one "
                   "or several of connect, event, disconnect, ack, presence");
    assert_refused("color=red", "--set: color: unknown option; allowed: the options that "
                                "--help lists");
    assert_refused("eio3", "--set: eio3: no \"=\"; allowed: key = value");
}

static void
test_refused_values_change_nothing(void **state)
{
    static const char *const bad[] = {"ping_interval=-1",
                                      "ping_interval=25x",
                                      "ping_interval=",
                                      "ping_interval=s",
                                      "ping_interval=1.5s",
                                      "ping_interval=9223372036854775807h",
                                      "max_attachments=0",
                                      "max_attachments=1k",
                                      "max_json_depth=1025",
                                      "path=socket.io",
                                      "path=",
                                      "path=/a?b",
                                      "ws_listen=8090x",
                                      "ws_listen=host",
                                      "ws_listen=host:",
                                      "ws_listen=host:99999",
                                      "transports=",
                                      "transports=polling,,websocket",
                                      "hook_events=",
                                      "hook_events=connect,,event",
                                      "hook_concurrency=0",
                                      "log_level=",
                                      "log_level=trace",
                                      "cookie=io\tx",
                                      "cors_origin=a\r\nb",
                                      "Database=x",
                                      "=x",
                                      "header()=x",
                                      "header(a b)=x",
                                      "header(a:b)=x",
                                      "header(X)=a\nb",
                                      "header(X=a",
                                      "header=a"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (set(bad[i]) != RC_INVALID)
            fail_msg("accepted: %s", bad[i]);
        assert_true(err.len > 0);
        assert_int_equal(str_index(buf_str(&err), '\n'), err.len);
    }
    test_defaults_are_the_documented_ones(state);
}

static void
test_listen_addresses_are_checked(void **state)
{
    static const char *const good[] = {"",
                                       "8090",
                                       "127.0.0.1:0",
                                       "[::1]:8090",
                                       "example.org:65535",
                                       "/run/siolite.sock"};
    char line[64];
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        snprintf(line, sizeof line, "ws_listen=%s", good[i]);
        assert_int_equal(set(line), RC_OK);
        assert_string_equal(c.ws_listen, good[i]);
    }
}

static void
test_headers_add_up(void **state)
{
    (void)state;
    assert_int_equal(set("header(X-Frame-Options) = DENY"), RC_OK);
    assert_int_equal(set("header(X-A)=1=2"), RC_OK);
    assert_string_equal(c.extra_headers, "X-Frame-Options: DENY\r\nX-A: 1=2\r\n");
}

static void
test_file_is_read_line_by_line(void **state)
{
    (void)state;
    write_file("# a comment\n"
               "\n"
               "  ping_interval = 300ms   # why\r\n"
               "cookie=io; Path=/#x\n"
               "header(X-A) = 1\n"
               "header(X-B) = 2\n"
               "\teio3=off");
    assert_int_equal(cfg_load(&c, file, &err), RC_OK);
    assert_int_equal(c.ping_interval_ms, 300);
    assert_string_equal(c.cookie, "io; Path=/#x");
    assert_string_equal(c.extra_headers, "X-A: 1\r\nX-B: 2\r\n");
    assert_false(c.is_eio3);
}

static void
test_error_names_file_line_and_key(void **state)
{
    char want[200];
    (void)state;
    write_file("# one\nping_interval = 300ms\nping_timout = 3\n");
    assert_int_equal(cfg_load(&c, file, &err), RC_INVALID);
    snprintf(want, sizeof want,
             "%s:3: ping_timout: unknown option; allowed: the options that --help lists",
             file);
    assert_true(str_eqz(buf_str(&err), want));
}

static void
test_missing_file_is_not_found(void **state)
{
    char want[200];
    (void)state;
    snprintf(want, sizeof want, "%s: No such file or directory", file);
    assert_int_equal(cfg_load(&c, file, &err), RC_NOTFOUND);
    assert_true(str_eqz(buf_str(&err), want));
    assert_int_equal(cfg_load(&c, folder, &err), RC_IO); /* a folder */
}

static void
test_relative_names_are_beside_the_file(void **state)
{
    char want[200];
    (void)state;
    write_file("app = chat.so\n");
    assert_int_equal(cfg_load(&c, file, &err), RC_OK);
    snprintf(want, sizeof want, "%s/chat.so", folder);
    assert_string_equal(c.app, want);
    snprintf(want, sizeof want, "%s/siolite.db", folder);
    assert_string_equal(c.database, want); /* the default too */
    write_file("database = data/x.db\napp = https://example.org/hook\n");
    assert_int_equal(cfg_load(&c, file, &err), RC_OK);
    snprintf(want, sizeof want, "%s/data/x.db", folder);
    assert_string_equal(c.database, want);
    assert_string_equal(c.app, "https://example.org/hook");
    write_file("database = /var/lib/x.db\napp =\n");
    assert_int_equal(cfg_load(&c, file, &err), RC_OK);
    assert_string_equal(c.database, "/var/lib/x.db");
    assert_string_equal(c.app, "");
    assert_int_equal(set("database=x.db"), RC_OK); /* here: the working directory */
    assert_string_equal(c.database, "x.db");
}

static void
test_hash_tells_texts_apart(void **state)
{
    char first[20];
    (void)state;
    write_file("eio3=off\n");
    assert_int_equal(cfg_load(&c, file, &err), RC_OK);
    assert_int_equal(strlen(c.hash), 16);
    strcpy(first, c.hash);
    assert_int_equal(cfg_load(&c, file, &err), RC_OK);
    assert_string_equal(c.hash, first);
    write_file("eio3=on\n");
    assert_int_equal(cfg_load(&c, file, &err), RC_OK);
    assert_string_not_equal(c.hash, first);
}

static void
assert_check(const char *beginning)
{
    assert_int_equal(cfg_check(&c, &err), RC_INVALID);
    if (!str_has_prefix(buf_str(&err), str_of(beginning)))
        fail_msg("got \"%.*s\", want \"%s…\"", STR_ARG(buf_str(&err)), beginning);
}

static void
test_check_wants_a_web_hook_that_can_be_signed(void **state)
{
    (void)state;
    assert_int_equal(set("hook_url=ftp://example.org/"), RC_OK);
    assert_check("hook_url: is no web address; allowed: http://");
    assert_int_equal(set("hook_url=https://"), RC_OK);
    assert_check("hook_url: is no web address");
    assert_int_equal(set("hook_url=https://example.org/hook"), RC_OK);
    assert_int_equal(set("hook_secret=0123456789abcde"), RC_OK);
    assert_check("hook_secret: is too short");
    assert_int_equal(set("hook_secret=0123456789abcdef"), RC_OK);
    assert_int_equal(cfg_check(&c, &err), RC_OK);
    assert_int_equal(set("hook_secret_file=secret"), RC_OK);
    assert_check("hook_secret: hook_secret_file is given too");
    assert_int_equal(set("hook_secret="), RC_OK);
    assert_int_equal(cfg_check(&c, &err), RC_OK);
    assert_int_equal(set("hook_connect_wait=45s"), RC_OK);
    assert_check("hook_connect_wait: is not below connect_timeout");
}

static void
test_tokens_of_the_api_are_long_and_stand_in_one_place(void **state)
{
    (void)state;
    assert_int_equal(set("api_token=0123456789abcdef  0123456789abcde"), RC_OK);
    assert_check("api_token: one is too short");
    assert_int_equal(set("api_token=0123456789abcdef  fedcba9876543210"), RC_OK);
    assert_int_equal(cfg_check(&c, &err), RC_OK);
    assert_int_equal(set("api_token_file=tokens"), RC_OK);
    assert_check("api_token: api_token_file is given too");
}

static void
test_check_wants_an_application_that_exists(void **state)
{
    (void)state;
    assert_int_equal(set("app=/nonexistent/chat.so"), RC_OK);
    assert_int_equal(cfg_check(&c, &err), RC_INVALID);
    assert_true(str_has_prefix(buf_str(&err), STR("app: /nonexistent/chat.so: ")));
    assert_int_equal(set("app=https://example.org/hook"), RC_OK);
    assert_int_equal(cfg_check(&c, &err), RC_OK);
    assert_int_equal(set("cookie=; Path=/"), RC_OK);
    assert_int_equal(cfg_check(&c, &err), RC_INVALID);
    assert_int_equal(set("cookie=io"), RC_OK);
    assert_int_equal(set("database="), RC_OK);
    assert_int_equal(cfg_check(&c, &err), RC_INVALID);
}

static void
test_replace_keeps_what_is_used_at_the_start(void **state)
{
    struct cfg next;
    struct buf kept = {0};
    (void)state;
    assert_int_equal(set("database=a.db"), RC_OK);
    assert_int_equal(set("max_rooms=5"), RC_OK);
    cfg_init(&next);
    assert_int_equal(cfg_set(&next, STR("database=b.db"), "", &err), RC_OK);
    assert_int_equal(cfg_set(&next, STR("ring_rows=7"), "", &err), RC_OK);
    assert_int_equal(cfg_set(&next, STR("synchronous=full"), "", &err), RC_OK);
    assert_int_equal(cfg_set(&next, STR("max_rooms=6"), "", &err), RC_OK);
    assert_int_equal(cfg_set(&next, STR("cookie=io"), "", &err), RC_OK);
    cfg_replace(&c, &next, &kept);
    assert_true(str_eqz(buf_str(&kept), "database synchronous ring_rows"));
    assert_string_equal(c.database, "a.db");
    assert_int_equal(c.ring_rows, 20000);
    assert_int_equal(c.synchronous, CFG_SYNC_NORMAL);
    assert_int_equal(c.n_rooms_max, 6);
    assert_string_equal(c.cookie, "io");
    buf_fini(&kept);
}

static char *
printed(void (*print)(FILE *))
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    print(f);
    fclose(f);
    return text;
}

/* Without its comment marks the sample is a file that sets every default. */
static void
test_sample_is_a_valid_file(void **state)
{
    char *sample = printed(cfg_print_sample), *at = sample;
    struct buf plain = {0};
    int n = 0;
    (void)state;
    for (char *line = strsep(&at, "\n"); line; line = strsep(&at, "\n")) {
        bool is_option = line[0] == '#' && line[1] != ' ';
        if (is_option && strncmp(line, "#header(", 8) != 0) {
            buf_append_f(&plain, "%s\n", line + 1);
            n++;
        }
        assert_true(line[0] == 0 || line[strlen(line) - 1] != ' ');
    }
    buf_append_c(&plain, 0);
    write_file(plain.p);
    assert_int_equal(cfg_load(&c, file, &err), RC_OK);
    assert_true(n >= 45);
    free(c.database);
    c.database = xstrdup("siolite.db");
    free(c.hash);
    c.hash = xstrdup("");
    test_defaults_are_the_documented_ones(state);
    buf_fini(&plain);
    free(sample);
}

static void
test_help_and_man_page_name_every_option(void **state)
{
    static const char *const names[] = {"database", "header(NAME)", "handshakes_per_s",
                                        "log_bytes_max", "aborted_poll"};
    char *help = printed(cfg_print_help), *man = printed(cfg_print_man);
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_non_null(strstr(help, names[i]));
        assert_non_null(strstr(man, names[i]));
    }
    free(help);
    free(man);
}

/* cfg_main() with up to five arguments; its output goes nowhere. */
static int
run_main(const char *a, const char *b, const char *d, const char *e, const char *f)
{
    char *argv[] = {"siolite-test", (char *)a, (char *)b, (char *)d,
                    (char *)e,      (char *)f, NULL};
    int argc = 1, status, saved[2] = {dup(1), dup(2)}, null = open("/dev/null", O_WRONLY);
    while (argv[argc])
        argc++;
    fflush(stdout);
    dup2(null, 1);
    dup2(null, 2);
    cfg_fini(&c);
    status = cfg_main(&c, "siolite-test", argc, argv);
    fflush(stdout);
    dup2(saved[0], 1);
    dup2(saved[1], 2);
    close(saved[0]);
    close(saved[1]);
    close(null);
    return status;
}

static void
test_command_line_goes_on_or_ends(void **state)
{
    (void)state;
    write_file("eio3 = off\nping_interval = 1s\n");
    assert_int_equal(run_main("--config", file, "--set", "ping_interval=2s", NULL), -1);
    assert_int_equal(c.ping_interval_ms, 2000);
    assert_false(c.is_eio3);
    assert_int_equal(run_main("--set=eio3=on", "--set", "jsonp=off", "--config", file),
                     -1);
    assert_true(c.is_eio3); /* --set wins, wherever it stands */
    assert_false(c.is_jsonp);
    assert_int_equal(run_main("--config", file, "--check-config", NULL, NULL), 0);
    assert_int_equal(run_main("--version", NULL, NULL, NULL, NULL), 0);
    assert_int_equal(run_main("--help", NULL, NULL, NULL, NULL), 0);
    assert_int_equal(run_main("--config", "/nonexistent", NULL, NULL, NULL), 1);
    assert_int_equal(run_main("--config", file, "--set", "x=y", NULL), 1);
    assert_int_equal(run_main("--config", file, "--set=app=/nonexistent", NULL, NULL), 1);
    assert_int_equal(run_main("--frobnicate", NULL, NULL, NULL, NULL), 2);
    assert_int_equal(run_main("--configure", NULL, NULL, NULL, NULL), 2);
    assert_int_equal(run_main("--set", NULL, NULL, NULL, NULL), 2);
    assert_int_equal(run_main("file", NULL, NULL, NULL, NULL), 2);
}

/* A CGI server hands over the words of a query string without '=' as arguments. */
static void
test_words_of_a_query_string_are_no_arguments(void **state)
{
    (void)state;
    if (access("/etc/siolite/siolite.conf", F_OK) == 0)
        skip(); /* what that says would count here */
    setenv("GATEWAY_INTERFACE", "CGI/1.1", 1);
    setenv("QUERY_STRING", "--set+eio3%3doff", 1);
    assert_int_equal(run_main("--set", "eio3=off", NULL, NULL, NULL), -1);
    assert_true(c.is_eio3);
    assert_int_equal(run_main("--help", NULL, NULL, NULL, NULL), -1);
    setenv("QUERY_STRING", "EIO=4&transport=polling", 1);
    assert_int_equal(run_main("--set", "eio3=off", NULL, NULL, NULL), -1);
    assert_false(c.is_eio3); /* of a wrapper script */
    unsetenv("GATEWAY_INTERFACE");
    unsetenv("QUERY_STRING");
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_defaults_are_the_documented_ones),
        T(test_times_take_units),
        T(test_sizes_take_units),
        T(test_words_flags_and_lists_are_read),
        T(test_path_loses_its_trailing_slash),
        T(test_bad_values_name_what_is_allowed),
        T(test_refused_values_change_nothing),
        T(test_listen_addresses_are_checked),
        T(test_headers_add_up),
        T(test_file_is_read_line_by_line),
        T(test_error_names_file_line_and_key),
        T(test_missing_file_is_not_found),
        T(test_relative_names_are_beside_the_file),
        T(test_hash_tells_texts_apart),
        T(test_check_wants_a_web_hook_that_can_be_signed),
        T(test_tokens_of_the_api_are_long_and_stand_in_one_place),
        T(test_check_wants_an_application_that_exists),
        T(test_replace_keeps_what_is_used_at_the_start),
        T(test_sample_is_a_valid_file),
        T(test_help_and_man_page_name_every_option),
        T(test_command_line_goes_on_or_ends),
        T(test_words_of_a_query_string_are_no_arguments),
    };
    return cmocka_run_group_tests_name("base_cfg", tests, make_folder, remove_folder);
}
