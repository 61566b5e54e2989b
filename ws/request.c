/*
 * Decoding of HTTP/1.x request heads; see request.h.
 *
 * Lenient where Node is (white space around values, any token as a method), strict where
 * leniency lets a proxy and us see two different requests: no folded headers, no space
 * before the colon, no control characters, no bare LF.
 *
 * Pure functions; sidecar, loop thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ws/request.h"

#include <string.h>

static const char END_OF_HEAD[] = "\r\n\r\n";

/* RFC 9110 token; letters become lower case. */
static bool
lower_token(char *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c >= 'A' && c <= 'Z')
            p[i] = (char)(c | 0x20);
        else if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) &&
                 (c == 0 || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return len > 0;
}

static bool
has_control(struct str s, char but)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c < ' ' && s.p[i] != but) || c == 0x7f)
            return true;
    }
    return false;
}

/* The line at `*p`, without CRLF; moves on behind it. */
static struct str
next_line(char **p, const char *end)
{
    char *cr = memchr(*p, '\r', (size_t)(end - *p));
    struct str line = {*p, (size_t)((cr ? cr : end) - *p)};
    *p += line.len + 2;
    return line;
}

/* Splits the target into path and query; an absolute form loses scheme and host, a
 * fragment is cut off. */
static enum rc
decode_target(struct engine_request *r, struct str target)
{
    static const struct str schemes[] = {{"http://", 7}, {"https://", 8}};
    size_t query;
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        if (str_has_prefix(target, schemes[i])) {
            target = str_slice(target, schemes[i].len, target.len);
            target = str_slice(target, str_index(target, '/'), target.len);
            break;
        }
    }
    target.len = str_index(target, '#');
    if (target.len == 0 || target.p[0] != '/')
        return RC_INVALID;
    query = str_index(target, '?');
    r->path = str_slice(target, 0, query);
    r->query = str_slice(target, query + 1, target.len);
    return RC_OK;
}

static enum rc
decode_request_line(struct ws_request *r, struct str line)
{
    size_t method = str_index(line, ' ');
    struct str rest = str_slice(line, method + 1, line.len), version;
    size_t target = str_index(rest, ' ');
    if (method == line.len || target == rest.len || has_control(line, ' '))
        return RC_INVALID;
    version = str_slice(rest, target + 1, rest.len);
    if (!str_eqz(version, "HTTP/1.1") && !str_eqz(version, "HTTP/1.0"))
        return RC_INVALID;
    r->engine.method = str_slice(line, 0, method);
    if (r->engine.method.len == 0)
        return RC_INVALID;
    return decode_target(&r->engine, str_slice(rest, 0, target));
}

static bool
is_key(struct str s)
{
    if (s.len != 24 || s.p[22] != '=' || s.p[23] != '=')
        return false;
    for (size_t i = 0; i < 22; i++) {
        char c = s.p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
              (c >= 'a' && c <= 'z') || c == '+' || c == '/'))
            return false;
    }
    return true;
}

/* Is `token` in a comma-separated list, whatever its case? */
static bool
has_token(struct str list, const char *token)
{
    struct str item;
    while (ws_request_next_item(&list, ',', &item))
        if (str_eq_nocase(item, token))
            return true;
    return false;
}

static void
decode_upgrade(struct ws_request *r)
{
    const struct engine_request *e = &r->engine;
    struct str version = engine_header_get(e, "sec-websocket-version"), offered;
    r->upgrade = WS_UPGRADE_NONE;
    if (!str_eqz(e->method, "GET") ||
        !has_token(engine_header_get(e, "connection"), "upgrade") ||
        !str_eq_nocase(engine_header_get(e, "upgrade"), "websocket"))
        return;
    r->key = engine_header_get(e, "sec-websocket-key");
    r->extensions = engine_header_get(e, "sec-websocket-extensions");
    offered = engine_header_get(e, "sec-websocket-protocol");
    if (!ws_request_next_item(&offered, ',', &r->subprotocol))
        r->subprotocol = STR_NONE;
    if (!is_key(r->key))
        r->upgrade = WS_UPGRADE_KEY;
    else if (!str_eqz(version, "13") && !str_eqz(version, "8"))
        r->upgrade = WS_UPGRADE_VERSION;
    else
        r->upgrade = WS_UPGRADE_OK;
}

/* An address as it is compared: without brackets and port, IPv4 inside of IPv6 as IPv4.
 */
static struct str
bare_address(struct str a)
{
    if (a.len && a.p[0] == '[')
        a = str_slice(a, 1, str_index(a, ']'));
    else if (str_index(a, '.') < str_index(a, ':'))
        a.len = str_index(a, ':'); /* IPv4 with a port */
    if (str_has_prefix(a, STR("::ffff:")))
        a = str_slice(a, 7, a.len);
    return a;
}

static bool
is_trusted(struct str address, const char *trusted)
{
    struct str list = str_of(trusted), item;
    while (ws_request_next_item(&list, ' ', &item))
        if (str_eq(item, address))
            return true;
    return false;
}

size_t
ws_request_head_len(const char *p, size_t len, size_t from)
{
    const char *at;
    from = from > 3 ? from - 3 : 0;
    if (len < 4)
        return 0;
    at = memmem(p + from, len - from, END_OF_HEAD, 4);
    return at ? (size_t)(at - p) + 4 : 0;
}

enum rc
ws_request_decode(struct ws_request *r, char *head, size_t len)
{
    char *p = head, *end = head + len - 2; /* the empty line */
    enum rc rc;
    r->engine = (struct engine_request){.headers = r->headers};
    rc = decode_request_line(r, next_line(&p, end));
    if (rc != RC_OK)
        return rc;
    while (p < end) {
        char *begin = p;
        struct str line = next_line(&p, end);
        size_t colon = str_index(line, ':');
        if (colon == line.len || !lower_token(begin, colon) || has_control(line, '\t'))
            return RC_INVALID;
        if (r->engine.n_headers == WS_HEADERS_MAX)
            return RC_TOOBIG;
        r->headers[r->engine.n_headers++] = (struct engine_header){
            .name = str_slice(line, 0, colon),
            .value = str_trim(str_slice(line, colon + 1, line.len)),
        };
    }
    decode_upgrade(r);
    return RC_OK;
}

/* EIO-FORWARDED */
void
ws_request_set_remote(struct ws_request *r, struct str peer, const char *trusted)
{
    struct str list = engine_header_get(&r->engine, "x-forwarded-for");
    struct str scheme = engine_header_get(&r->engine, "x-forwarded-proto");
    r->engine.remote = peer = bare_address(peer);
    r->engine.is_https = false;
    if (peer.len && !is_trusted(peer, trusted))
        return;
    r->engine.is_https = str_eq_nocase(scheme, "https") || str_eq_nocase(scheme, "wss");
    while (list.len) {
        size_t comma = list.len;
        struct str address;
        while (comma && list.p[comma - 1] != ',')
            comma--;
        address = bare_address(str_trim(str_slice(list, comma, list.len)));
        list.len = comma ? comma - 1 : 0;
        if (address.len == 0)
            continue;
        r->engine.remote = address;
        if (!is_trusted(address, trusted))
            return;
    }
}

bool
ws_request_next_item(struct str *list, char separator, struct str *item)
{
    while (list->len) {
        *item = str_cut(list, separator);
        if (item->len)
            return true;
    }
    return false;
}
