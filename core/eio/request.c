/*
 * Query strings, our parameters in them, and the error answers. What a request means for
 * a session is judged by the engine.
 *
 * Pure; any process, any thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/eio/request.h"

#include <string.h>

int
eio_error_status(enum eio_error e)
{
    switch (e) {
    case EIO_E_NONE:
        return 200;
#define X(name, code, status, text)                                                      \
    case EIO_E_##name:                                                                   \
        return status;
        EIO_ERROR_LIST(X)
#undef X
    }
    return 500;
}

const char *
eio_error_text(enum eio_error e)
{
    switch (e) {
    case EIO_E_NONE:
        return "";
#define X(name, code, status, text)                                                      \
    case EIO_E_##name:                                                                   \
        return text;
        EIO_ERROR_LIST(X)
#undef X
    }
    return "";
}

void
eio_error_encode(struct buf *b, enum eio_error e, const char *text)
{
    buf_append_z(b, "{\"code\":");
    buf_append_int(b, (int64_t)e);
    buf_append_z(b, ",\"message\":");
    buf_append_json(b, str_of(text ? text : eio_error_text(e)), false);
    buf_append_c(b, '}');
}

/* Appends the decoded form of `raw`; the room was reserved, so that earlier views stay
 * valid. */
static struct str
decode_part(struct buf *scratch, struct str raw)
{
    size_t start = scratch->len;
    buf_append_form(scratch, raw);
    return (struct str){scratch->p + start, scratch->len - start};
}

enum rc
eio_query_decode(struct str query, struct buf *scratch, struct eio_param *params,
                 size_t *n_params)
{
    size_t n = 0;
    buf_clear(scratch);
    buf_reserve(scratch, query.len + 1); /* decoding never makes longer */
    while (query.len) {
        struct str part = str_slice(query, 0, str_index(query, '&'));
        size_t equals = str_index(part, '=');
        query = str_slice(query, part.len + 1, query.len);
        if (part.len == 0)
            continue;
        if (n == EIO_PARAMS_MAX)
            return RC_TOOBIG;
        params[n].name = decode_part(scratch, str_slice(part, 0, equals));
        params[n].value = decode_part(scratch, str_slice(part, equals + 1, part.len));
        n++;
    }
    *n_params = n;
    return RC_OK;
}

static bool
find_param(const struct eio_param *params, size_t n_params, const char *name,
           struct str *value)
{
    for (size_t i = n_params; i-- > 0;) { /* the last of several counts */
        if (str_eqz(params[i].name, name)) {
            *value = params[i].value;
            return true;
        }
    }
    *value = STR_NONE;
    return false;
}

/* The first run of digits. */
static struct str
only_digits(struct str s)
{
    size_t from = 0, to;
    while (from < s.len && (s.p[from] < '0' || s.p[from] > '9'))
        from++;
    for (to = from; to < s.len && s.p[to] >= '0' && s.p[to] <= '9'; to++)
        ;
    return str_slice(s, from, to);
}

/* EIO-QUERY */
void
eio_request_decode(const struct eio_param *params, size_t n_params,
                   struct eio_request *out)
{
    struct eio_request r = {0};
    struct str value;
    find_param(params, n_params, "EIO", &value);
    r.protocol = str_eqz(value, "4") ? 4 : 3;
    find_param(params, n_params, "transport", &r.transport_name);
    if (str_eqz(r.transport_name, "polling")) {
        r.has_transport = true;
        r.transport = EIO_POLLING;
    } else if (str_eqz(r.transport_name, "websocket")) {
        r.has_transport = true;
        r.transport = EIO_WEBSOCKET;
    }
    find_param(params, n_params, "sid", &r.eio_sid);
    r.has_eio_sid = r.eio_sid.len > 0;
    find_param(params, n_params, "b64", &value);
    r.is_b64 = value.len > 0;
    r.has_jsonp = find_param(params, n_params, "j", &value);
    r.jsonp = only_digits(value);
    *out = r;
}

void
eio_query_encode_json(struct buf *b, const struct eio_param *params, size_t n_params)
{
    bool is_first = true;
    buf_append_c(b, '{');
    for (size_t i = 0; i < n_params; i++) {
        bool is_last_of_name = true;
        for (size_t j = i + 1; j < n_params && is_last_of_name; j++)
            is_last_of_name = !str_eq(params[i].name, params[j].name);
        if (!is_last_of_name)
            continue;
        if (!is_first)
            buf_append_c(b, ',');
        is_first = false;
        buf_append_json(b, params[i].name, false);
        buf_append_c(b, ':');
        buf_append_json(b, params[i].value, false);
    }
    buf_append_c(b, '}');
}

/* EIO-PATH */
bool
eio_path_is_ours(struct str url_path, const char *path, bool is_slash_needed)
{
    size_t len = strlen(path);
    if (!is_slash_needed && len > 0 && str_eqz(url_path, path))
        return true;
    return url_path.len > len && str_has_prefix(url_path, str_of(path)) &&
           url_path.p[len] == '/';
}
