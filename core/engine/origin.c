/*
 * Origins: CORS headers as the reference's (socketio.md 1.4), and refusal of foreign
 * origins, which CORS is not (8.9).
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/internal.h"

static bool
is_space(char c)
{
    return c == ' ' || c == ',' || c == '\t';
}

/* Is `origin` in the list of cors_origin? "*" is everybody. */
static bool
is_listed(const struct cfg *cfg, struct str origin, bool *is_any)
{
    const char *p = cfg->cors_origin;
    *is_any = false;
    while (*p != '\0') {
        while (is_space(*p))
            p++;
        const char *end = p;
        while (*end != '\0' && !is_space(*end))
            end++;
        struct str item = {p, (size_t)(end - p)};
        if (str_eqz(item, "*")) {
            *is_any = true;
            return true;
        }
        if (item.len > 0 && str_eq(item, origin))
            return true;
        p = end;
    }
    return false;
}

static struct str
host_of(struct str s)
{
    for (size_t i = 0; i + 2 < s.len; i++)
        if (s.p[i] == ':' && s.p[i + 1] == '/' && s.p[i + 2] == '/') {
            s = str_slice(s, i + 3, s.len);
            break;
        }
    size_t end = s.len > 0 && s.p[0] == '[' ? str_index(s, ']') + 1 : str_index(s, ':');
    return str_slice(s, 0, end);
}

static bool
is_same_host(struct str origin, struct str host)
{
    struct str a = host_of(origin), b = host_of(host);
    if (a.len == 0 || a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        char x = a.p[i], y = b.p[i];
        x = x >= 'A' && x <= 'Z' ? (char)(x + 32) : x;
        y = y >= 'A' && y <= 'Z' ? (char)(y + 32) : y;
        if (x != y)
            return false;
    }
    return true;
}

static void
line(struct buf *b, const char *name, struct str value)
{
    buf_append_f(b, "%s: %.*s\r\n", name, STR_ARG(value));
}

static bool
is_clean(struct str value)
{
    for (size_t i = 0; i < value.len; i++)
        if ((unsigned char)value.p[i] < 0x20 || value.p[i] == 0x7f)
            return false;
    return true;
}

/* EIO-CORS, EIO-ORIGIN-FOREIGN */
bool
origin_check(const struct cfg *cfg, const struct engine_request *r, struct buf *headers)
{
    struct str origin = engine_header_get(r, "origin");
    bool is_any = false,
         is_in = cfg->cors_origin[0] != '\0' && is_listed(cfg, origin, &is_any);
    if (is_in && is_clean(origin)) {
        bool is_reflected = !is_any || (cfg->is_cors_credentials && origin.len > 0);
        if (is_reflected && origin.len > 0)
            line(headers, "Access-Control-Allow-Origin", origin);
        else if (is_any)
            line(headers, "Access-Control-Allow-Origin", STR("*"));
        if (cfg->is_cors_credentials)
            line(headers, "Access-Control-Allow-Credentials", STR("true"));
        if (cfg->cors_exposed_headers[0] != '\0')
            line(headers, "Access-Control-Expose-Headers",
                 str_of(cfg->cors_exposed_headers));
    }
    /* A star with credentials is answered by the origin's name, too. */
    if (cfg->cors_origin[0] != '\0' && (!is_any || cfg->is_cors_credentials))
        line(headers, "Vary", STR("Origin"));
    return origin.len == 0 || is_in || cfg->foreign_origin == CFG_ORIGIN_ALLOW ||
           is_same_host(origin, engine_header_get(r, "host"));
}

/* EIO-PREFLIGHT */
bool
origin_preflight(const struct cfg *cfg, const struct engine_request *r,
                 struct buf *headers)
{
    bool is_any;
    struct str wanted = engine_header_get(r, "access-control-request-headers");
    if (cfg->cors_origin[0] == '\0')
        return false;
    origin_check(cfg, r, headers);
    if (!is_listed(cfg, engine_header_get(r, "origin"), &is_any))
        return true; /* 204 without a permission */
    line(headers, "Access-Control-Allow-Methods",
         str_of(cfg->cors_methods[0] != '\0' ? cfg->cors_methods
                                             : "GET,HEAD,PUT,PATCH,POST,DELETE"));
    if (cfg->cors_allowed_headers[0] != '\0') {
        line(headers, "Access-Control-Allow-Headers", str_of(cfg->cors_allowed_headers));
    } else { /* reflected, also where nothing was asked for */
        line(headers, "Vary", STR("Access-Control-Request-Headers"));
        if (wanted.len > 0 && is_clean(wanted))
            line(headers, "Access-Control-Allow-Headers", wanted);
    }
    if (cfg->cors_max_age_s >= 0)
        buf_append_f(headers, "Access-Control-Max-Age: %lld\r\n",
                     (long long)cfg->cors_max_age_s);
    return true;
}
