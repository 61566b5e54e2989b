/*
 * CGI variables into a request. Web servers agree on REQUEST_URI only, so the route
 * follows from that alone; SCRIPT_NAME, PATH_INFO and QUERY_STRING count where it is
 * missing.
 *
 * Invariants: 1. Names and values are bytes from a peer; nothing here trusts their
 * form. 2. `text` never grows after fcgi_request_begin(): views into it stay valid. 3.
 * Proxy: (HTTP_PROXY) never becomes a header.
 *
 * Pure; the loop thread of siolite.fcgi runs it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fcgi/request.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

static char
lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* The name of a header, from HTTP_X_KITCHEN or CONTENT_TYPE: lower case, with dashes. */
static struct str
header_name(struct fcgi_request *r, struct str variable)
{
    struct str name = {r->text.p + r->text.len, variable.len};
    assert(r->text.cap - r->text.len >= variable.len); /* invariant 2 */
    for (size_t i = 0; i < variable.len; i++)
        r->text.p[r->text.len++] = variable.p[i] == '_' ? '-' : lower(variable.p[i]);
    return name;
}

static enum rc
add_header(struct fcgi_request *r, struct str name, struct str value)
{
    if (r->engine.n_headers == FCGI_HEADERS_MAX)
        return RC_TOOBIG;
    r->headers[r->engine.n_headers++] =
        (struct engine_header){.name = name, .value = value};
    return RC_OK;
}

/* ---- the address */

/* The address alone: "[::1]:80" is "::1", "10.0.0.1:80" is "10.0.0.1". */
static struct str
without_port(struct str s)
{
    size_t colon = str_index(s, ':');
    if (s.len && s.p[0] == '[')
        return str_slice(s, 1, str_index(s, ']'));
    if (colon < s.len && memchr(s.p + colon + 1, ':', s.len - colon - 1) == NULL)
        return str_slice(s, 0, colon);
    return s;
}

/* An IP address in 16 bytes. */
static bool
decode_address(struct str s, struct in6_addr *out)
{
    char z[INET6_ADDRSTRLEN];
    struct in_addr v4;
    if (s.len == 0 || s.len >= sizeof z || memchr(s.p, 0, s.len))
        return false;
    memcpy(z, s.p, s.len);
    z[s.len] = 0;
    if (inet_pton(AF_INET, z, &v4) == 1) {
        memset(out, 0, sizeof *out);
        out->s6_addr[10] = out->s6_addr[11] = 0xff;
        memcpy(out->s6_addr + 12, &v4, sizeof v4);
        return true;
    }
    return inet_pton(AF_INET6, z, out) == 1;
}

static bool
is_trusted(struct str address, struct str trusted)
{
    struct in6_addr a, b;
    if (!decode_address(address, &a))
        return false;
    while (trusted.len) {
        struct str item = str_cut(&trusted, ' ');
        if (decode_address(item, &b) && memcmp(&a, &b, sizeof a) == 0)
            return true;
    }
    return false;
}

/* Each trusted proxy is asked whom it got the request from, nearest first. */
/* EIO-FORWARDED */
static struct str
forwarded_remote(struct str remote, struct str hops, struct str trusted)
{
    while (hops.len && is_trusted(remote, trusted)) {
        struct in6_addr ignored;
        size_t comma = hops.len;
        struct str hop;
        while (comma && hops.p[comma - 1] != ',')
            comma--;
        hop = without_port(str_trim(str_slice(hops, comma, hops.len)));
        hops.len = comma ? comma - 1 : 0;
        if (!decode_address(hop, &ignored))
            break; /* "unknown", or nonsense: what we know ends here */
        remote = hop;
    }
    return remote;
}

/* ---- Accept-Encoding */

/* Is "q" of the parameters zero? Anything unreadable counts as 1. */
static bool
is_refused(struct str params)
{
    while (params.len) {
        struct str param = str_cut(&params, ';');
        struct str key = str_cut(&param, '=');
        if (!str_eq_nocase(key, "q"))
            continue;
        for (size_t i = 0; i < param.len; i++)
            if (param.p[i] != '0' && param.p[i] != '.')
                return false;
        return param.len > 0;
    }
    return false;
}

static enum fcgi_coding
choose_coding(struct str accept)
{
    bool is_gzip = false, is_deflate = false, is_any = false, is_gzip_named = false;
    while (accept.len) {
        struct str params = str_cut(&accept, ',');
        struct str name = str_cut(&params, ';');
        bool is_ok = !is_refused(params);
        if (str_eq_nocase(name, "gzip") || str_eq_nocase(name, "x-gzip")) {
            is_gzip = is_ok;
            is_gzip_named = true;
        } else if (str_eq_nocase(name, "deflate")) {
            is_deflate = is_ok;
        } else if (str_eqz(name, "*")) {
            is_any = is_ok;
        }
    }
    if (is_gzip || (is_any && !is_gzip_named))
        return FCGI_CODING_GZIP;
    return is_deflate ? FCGI_CODING_DEFLATE : FCGI_CODING_NONE;
}

/* ---- the route */

/* "http://host/path", as sent to a proxy: from the path on. */
static struct str
without_origin(struct str uri)
{
    size_t colon = str_index(uri, ':');
    struct str rest = str_slice(uri, colon, uri.len);
    if (uri.len == 0 || uri.p[0] == '/' || !str_has_prefix(rest, STR("://")))
        return uri;
    rest = str_slice(rest, 3, rest.len);
    return str_slice(rest, str_index(rest, '/'), rest.len);
}

static void
set_route(struct fcgi_request *r)
{
    if (r->request_uri.len) {
        struct str uri = without_origin(r->request_uri);
        size_t n = str_index(uri, '?');
        r->engine.path = str_slice(uri, 0, n);
        r->engine.query = str_slice(uri, n + 1, uri.len);
        return;
    }
    r->engine.path = r->script_name;
    r->engine.query = r->query_string;
    if (r->path_info.len) {
        assert(r->text.cap - r->text.len >= r->script_name.len + r->path_info.len);
        r->engine.path.p = r->text.p + r->text.len;
        r->engine.path.len = r->script_name.len + r->path_info.len;
        buf_append_str(&r->text, r->script_name);
        buf_append_str(&r->text, r->path_info);
    }
}

void
fcgi_request_fini(struct fcgi_request *r)
{
    buf_fini(&r->text);
}

void
fcgi_request_begin(struct fcgi_request *r, size_t n_bytes)
{
    buf_clear(&r->text);
    buf_reserve(&r->text, n_bytes);
    r->engine = (struct engine_request){.headers = r->headers};
    r->content_length = -1;
    r->coding = FCGI_CODING_NONE;
    r->request_uri = r->script_name = r->path_info = r->query_string = STR_NONE;
}

enum rc
fcgi_request_add(struct fcgi_request *r, struct str name, struct str value)
{
    if (str_has_prefix(name, STR("HTTP_"))) {
        struct str header = header_name(r, str_slice(name, 5, name.len));
        /* CONTENT_* is what the web server vouches for. Proxy: would be taken for a
         * setting by libraries. */
        if (str_eqz(header, "proxy") || str_eqz(header, "content-length") ||
            str_eqz(header, "content-type"))
            return RC_OK;
        if (str_eqz(header, "accept-encoding"))
            r->coding = choose_coding(value);
        return add_header(r, header, value);
    }
    if (str_eqz(name, "CONTENT_LENGTH")) {
        if (str_to_int(value, 0, INT64_MAX, &r->content_length) != RC_OK)
            r->content_length = -1; /* "", "-1": some web servers don't know it */
        return value.len ? add_header(r, STR("content-length"), value) : RC_OK;
    }
    if (str_eqz(name, "CONTENT_TYPE"))
        return value.len ? add_header(r, STR("content-type"), value) : RC_OK;
    if (str_eqz(name, "REQUEST_METHOD"))
        r->engine.method = value;
    else if (str_eqz(name, "REQUEST_URI"))
        r->request_uri = value;
    else if (str_eqz(name, "SCRIPT_NAME"))
        r->script_name = value;
    else if (str_eqz(name, "PATH_INFO"))
        r->path_info = value;
    else if (str_eqz(name, "QUERY_STRING"))
        r->query_string = value;
    else if (str_eqz(name, "REMOTE_ADDR"))
        r->engine.remote = value;
    else if (str_eqz(name, "HTTPS"))
        r->engine.is_https |= str_eq_nocase(value, "on") || str_eqz(value, "1");
    else if (str_eqz(name, "REQUEST_SCHEME"))
        r->engine.is_https |= str_eq_nocase(value, "https");
    return RC_OK;
}

void
fcgi_request_end(struct fcgi_request *r, const char *trusted_proxy)
{
    struct str trusted = str_of(trusted_proxy);
    set_route(r);
    if (trusted.len && is_trusted(r->engine.remote, trusted)) {
        struct str hops = engine_header_get(&r->engine, "x-forwarded-for");
        struct str proto = engine_header_get(&r->engine, "x-forwarded-proto");
        r->engine.is_https |= str_eq_nocase(proto, "https");
        r->engine.remote = forwarded_remote(r->engine.remote, hops, trusted);
    }
}
