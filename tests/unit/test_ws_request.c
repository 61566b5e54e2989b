/*
 * ws/request.c: heads of HTTP requests as clients, proxies and attackers send them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ws/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char UPGRADE[] = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
                              "Host: a.example\r\n"
                              "Upgrade: websocket\r\n"
                              "Connection: keep-alive, Upgrade\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                              "Sec-WebSocket-Version: 13\r\n"
                              "\r\n";

/* A copy of its exact length, for the sanitizer to watch; the struct borrows from it. */
static char *head;
static struct ws_request request;

static enum rc
decode(const char *text)
{
    size_t len = strlen(text);
    free(head);
    head = malloc(len ? len : 1);
    memcpy(head, text, len);
    assert_int_equal(ws_request_head_len(head, len, 0), len);
    return ws_request_decode(&request, head, len);
}

static int
forget(void **state)
{
    (void)state;
    free(head);
    head = NULL;
    return 0;
}

static void
assert_str(struct str s, const char *expected)
{
    assert_int_equal(s.len, strlen(expected));
    if (s.len)
        assert_memory_equal(s.p, expected, s.len);
}

/* UPGRADE with one line replaced, or left out (to = ""). */
static const char *
with(const char *from, const char *to)
{
    static char text[1024];
    const char *at = strstr(UPGRADE, from);
    assert_non_null(at);
    strcpy(text, "");
    strncat(text, UPGRADE, (size_t)(at - UPGRADE));
    strcat(text, to);
    strcat(text, at + strlen(from));
    return text;
}

static void
test_upgrade_of_a_browser(void **state)
{
    (void)state;
    assert_int_equal(decode(UPGRADE), RC_OK);
    assert_str(request.engine.method, "GET");
    assert_str(request.engine.path, "/socket.io/");
    assert_str(request.engine.query, "EIO=4&transport=websocket");
    assert_int_equal(request.engine.n_headers, 5);
    assert_str(engine_header_get(&request.engine, "host"), "a.example");
    assert_int_equal(request.upgrade, WS_UPGRADE_OK);
    assert_str(request.key, "dGhlIHNhbXBsZSBub25jZQ==");
    assert_int_equal(request.subprotocol.len, 0);
}

static void
test_what_makes_it_no_upgrade(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        enum ws_upgrade upgrade;
    } cases[] = {
        {"GET", "POST", WS_UPGRADE_NONE},
        {"Upgrade: websocket\r\n", "", WS_UPGRADE_NONE},
        {"websocket\r\nC", "h2c\r\nC", WS_UPGRADE_NONE},
        {"websocket\r\nC", "WebSocket\r\nC", WS_UPGRADE_OK},
        {"keep-alive, Upgrade", "keep-alive", WS_UPGRADE_NONE},
        {"keep-alive, Upgrade", "UPGRADE", WS_UPGRADE_OK},
        {"keep-alive, Upgrade", "upgraded", WS_UPGRADE_NONE},
        {"dGhl", "dGh", WS_UPGRADE_KEY},
        {"dGhl", "dG%l", WS_UPGRADE_KEY},
        {"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", WS_UPGRADE_KEY},
        {"Version: 13", "Version: 8", WS_UPGRADE_OK},
        {"Version: 13", "Version: 12", WS_UPGRADE_VERSION},
        {"Sec-WebSocket-Version: 13\r\n", "", WS_UPGRADE_VERSION},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(decode(with(cases[i].from, cases[i].to)), RC_OK);
        assert_int_equal(request.upgrade, cases[i].upgrade);
    }
}

static void
test_all_headers_with_lower_case_names(void **state)
{
    (void)state;
    assert_int_equal(decode("GET / HTTP/1.1\r\nX-Kitchen:  hot \t\r\nx-EMPTY:\r\n"
                            "X-Real-IP: ::1\r\nX-Two: a\r\nX-Two: b\r\n\r\n"),
                     RC_OK);
    assert_int_equal(request.engine.n_headers, 5);
    assert_str(request.headers[0].name, "x-kitchen");
    assert_str(request.headers[0].value, "hot");
    assert_str(request.headers[1].name, "x-empty");
    assert_str(request.headers[1].value, "");
    assert_str(request.headers[2].value, "::1");
    assert_str(request.headers[4].value, "b");
}

static void
test_targets(void **state)
{
    (void)state;
    assert_int_equal(decode("GET /a?b?c#d HTTP/1.0\r\n\r\n"), RC_OK);
    assert_str(request.engine.path, "/a");
    assert_str(request.engine.query, "b?c");
    assert_int_equal(decode("GET http://h:80/a%ZZ?x=%00 HTTP/1.1\r\n\r\n"), RC_OK);
    assert_str(request.engine.path, "/a%ZZ");
    assert_str(request.engine.query, "x=%00");
    assert_int_equal(decode("GET / HTTP/1.1\r\n\r\n"), RC_OK);
    assert_str(request.engine.query, "");
}

static void
test_what_is_not_http_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "\r\n\r\n",
        " \r\n\r\n",
        "GET\r\n\r\n",
        "GET /\r\n\r\n",
        "GET  HTTP/1.1\r\n\r\n",
        " / HTTP/1.1\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET / HTTP/1.1 \r\n\r\n",
        "GET a HTTP/1.1\r\n\r\n",
        "GET http://host HTTP/1.1\r\n\r\n",
        "GET /\t HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\n: no name\r\n\r\n",
        "GET / HTTP/1.1\r\nspace : before colon\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\x01\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\nHost: c\r\n\r\n",
        "GET / HTTP/1.1\nHost: c\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(decode(cases[i]), RC_INVALID);
}

static void
test_too_many_headers(void **state)
{
    (void)state;
    char text[2048] = "GET / HTTP/1.1\r\n";
    for (int i = 0; i < WS_HEADERS_MAX; i++)
        strcat(text, "a: b\r\n");
    strcat(text, "\r\n");
    assert_int_equal(decode(text), RC_OK);
    assert_int_equal(request.engine.n_headers, WS_HEADERS_MAX);
    strcpy(text + strlen(text) - 2, "a: b\r\n\r\n");
    assert_int_equal(decode(text), RC_TOOBIG);
}

static void
test_end_of_head_is_found_wherever_a_segment_ends(void **state)
{
    (void)state;
    size_t len = strlen(UPGRADE);
    char *whole = malloc(len + 4);
    memcpy(whole, UPGRADE, len);
    memcpy(whole + len, "more", 4);
    for (size_t first = 0; first <= len; first++) {
        assert_int_equal(ws_request_head_len(whole, first, 0), first == len ? len : 0);
        if (first < len)
            assert_int_equal(ws_request_head_len(whole, len + 4, first), len);
    }
    free(whole);
}

static void
test_first_subprotocol_and_extensions(void **state)
{
    (void)state;
    assert_int_equal(
        decode(with("Host: a.example\r\n", "Sec-WebSocket-Protocol: , a , b\r\n"
                                           "Sec-WebSocket-Extensions: x; y=1, z\r\n")),
        RC_OK);
    assert_str(request.subprotocol, "a");
    assert_str(request.extensions, "x; y=1, z");
}

static void
assert_remote(const char *peer, const char *trusted, const char *forwarded,
              const char *remote, bool is_https)
{
    char text[512];
    snprintf(text, sizeof text,
             "GET / HTTP/1.1\r\nX-Forwarded-For: %s\r\nX-Forwarded-Proto: https\r\n\r\n",
             forwarded);
    assert_int_equal(decode(text), RC_OK);
    ws_request_set_remote(&request, str_of(peer), trusted);
    assert_str(request.engine.remote, remote);
    assert_int_equal(request.engine.is_https, is_https);
}

/* EIO-FORWARDED */
static void
test_forwarded_address_counts_only_from_a_trusted_proxy(void **state)
{
    (void)state;
    assert_remote("1.2.3.4", "", "9.9.9.9", "1.2.3.4", false);
    assert_remote("1.2.3.4", "1.2.3.40 1.2.3.5", "9.9.9.9", "1.2.3.4", false);
    assert_remote("1.2.3.4", "5.5.5.5 1.2.3.4", "9.9.9.9", "9.9.9.9", true);
    assert_remote("::ffff:1.2.3.4", "1.2.3.4", "9.9.9.9", "9.9.9.9", true);
    assert_remote("::1", "::1", "[2001:db8::7]:443", "2001:db8::7", true);
    assert_remote("::1", "::1", "2001:db8::7", "2001:db8::7", true);
    assert_remote("1.2.3.4", "1.2.3.4", "9.9.9.9:5000", "9.9.9.9", true);
    assert_remote("1.2.3.4", "1.2.3.4", "forged, 9.9.9.9", "9.9.9.9", true);
    assert_remote("1.2.3.4", "1.2.3.4 7.7.7.7", "forged, 9.9.9.9,7.7.7.7", "9.9.9.9",
                  true);
    assert_remote("1.2.3.4", "1.2.3.4 7.7.7.7", "7.7.7.7", "7.7.7.7", true);
    assert_remote("1.2.3.4", "1.2.3.4", "", "1.2.3.4", true);
    assert_remote("1.2.3.4", "1.2.3.4", " , ,", "1.2.3.4", true);
    assert_remote("", "", "9.9.9.9", "9.9.9.9", true); /* a Unix socket */
}

int
main(void)
{
#define T(f) cmocka_unit_test_teardown(f, forget)
    const struct CMUnitTest tests[] = {
        T(test_upgrade_of_a_browser),
        T(test_what_makes_it_no_upgrade),
        T(test_all_headers_with_lower_case_names),
        T(test_targets),
        T(test_what_is_not_http_is_refused),
        T(test_too_many_headers),
        T(test_end_of_head_is_found_wherever_a_segment_ends),
        T(test_first_subprotocol_and_extensions),
        T(test_forwarded_address_counts_only_from_a_trusted_proxy),
    };
    return cmocka_run_group_tests_name("ws_request", tests, NULL, NULL);
}
