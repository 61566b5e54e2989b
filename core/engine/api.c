/*
 * The HTTP API: who may, what is meant, and how errors look (api.h).
 *
 * 1. Nothing of a request is looked at before its token is good.
 * 2. No CORS header goes out: a page of another origin must not hold a token.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/api.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/engine/token.h"

#define JSON_TYPE "application/json"
#define PREFIX "/api"

enum { TOKEN_BYTES_MIN = 16, TOKENS_BYTES_MAX = 4096 };

/* ---- tokens ---- */

static enum rc
read_tokens(const char *file, struct buf *out, struct buf *err)
{
    FILE *f = fopen(file, "re");
    if (f == NULL) {
        buf_append_f(err, "api_token_file: %s: %s", file, strerror(errno));
        return RC_INVALID;
    }
    out->len += fread(buf_reserve(out, TOKENS_BYTES_MAX), 1, TOKENS_BYTES_MAX, f);
    fclose(f);
    for (size_t i = 0; i < out->len; i++)
        if ((unsigned char)out->p[i] <= ' ')
            out->p[i] = ' ';
    return RC_OK;
}

/* All of them long enough, and how many there are. */
static bool
are_tokens(struct str list, size_t *n)
{
    *n = 0;
    while (list.len > 0) {
        struct str token = str_cut(&list, ' ');
        if (token.len > 0 && token.len < TOKEN_BYTES_MIN)
            return false;
        *n += token.len > 0;
    }
    return true;
}

enum rc
api_tokens_load(const struct engine *e, const struct cfg *cfg, char **tokens,
                struct buf *err)
{
    struct buf list = {0};
    bool is_file = cfg->api_token_file[0] != '\0';
    size_t n;
    enum rc rc = RC_OK;
    *tokens = NULL;
    if (e->front != ENGINE_FCGI && e->front != ENGINE_CGI)
        return RC_OK;
    buf_append_z(&list, cfg->api_token);
    if (is_file)
        rc = read_tokens(cfg->api_token_file, &list, err);
    if (rc == RC_OK && (!are_tokens(buf_str(&list), &n) || (is_file && n == 0))) {
        buf_append_f(err,
                     "%s: a token is too short, or there is none; allowed: words of %d "
                     "characters or more",
                     is_file ? "api_token_file" : "api_token", TOKEN_BYTES_MIN);
        rc = RC_INVALID;
    }
    if (rc == RC_OK)
        *tokens = n > 0 ? str_dup(buf_str(&list)) : NULL;
    buf_fini(&list);
    return rc;
}

/* ---- answers ---- */

void
api_add_header(struct engine_http *h, const char *line)
{
    struct buf b = {0};
    buf_append_str(&b, http_headers(h));
    buf_append_z(&b, line);
    free(h->headers);
    h->headers = buf_take(&b, NULL);
}

void
api_answer_error(struct engine_http *h, enum api_error e, struct str field, int64_t index,
                 struct str text)
{
    static const struct {
        int status;
        const char *code;
    } errors[] = {
#define X(name, status, code) {status, code},
        API_ERROR_LIST(X)
#undef X
    };
    struct buf b = {0};
    buf_append_f(&b, "{\"error\":{\"code\":\"%s\",\"message\":", errors[e].code);
    buf_append_json(&b, text, false);
    if (field.len > 0) {
        buf_append_z(&b, ",\"field\":");
        buf_append_json(&b, field, false);
    }
    if (index >= 0)
        buf_append_f(&b, ",\"action\":%lld", (long long)index);
    buf_append_z(&b, "}}\n");
    if (e == API_E_UNAVAILABLE)
        api_add_header(h, "Retry-After: 1\r\n");
    http_answer(h, errors[e].status, JSON_TYPE, buf_str(&b), false);
    buf_fini(&b);
}

/* "emit.args: must be …" is about emit.args. */
static struct str
field_of(struct str text)
{
    struct str field = str_slice(text, 0, str_index(text, ':'));
    return field.len < text.len && str_index(field, ' ') == field.len ? field : STR_NONE;
}

void
api_answer_invalid(struct engine_http *h, int64_t index, struct str text)
{
    api_answer_error(h, API_E_INVALID, field_of(text), index, text);
}

void
api_answer_json(struct engine_http *h, struct str json)
{
    http_answer(h, 200, JSON_TYPE, json, true);
}

void
api_again(struct engine_http *h, void (*fn)(struct later *l))
{
    h->state = HTTP_BUSY;
    engine_later(h->e, &h->later, fn);
}

void
api_call_free(struct api_call *c)
{
    if (c == NULL)
        return;
    if (c->at != NULL) {
        *c->at = c->next;
        if (c->next != NULL)
            c->next->at = c->at;
    }
    buf_fini(&c->id);
    buf_fini(&c->query);
    buf_fini(&c->key);
    buf_fini(&c->print);
    buf_fini(&c->answer);
    free(c);
}

/* ---- what is meant ---- */

/* Percent-decodes a part of a path, where a plus is a plus. */
static void
append_part(struct buf *b, struct str part)
{
    while (part.len > 0) {
        size_t n = str_index(part, '+');
        buf_append_form(b, str_slice(part, 0, n));
        if (n < part.len)
            buf_append_c(b, '+');
        part = str_slice(part, n + 1, part.len);
    }
}

/* `name` without a slash in it, `id` behind it; false: nothing of ours. */
static bool
find_address(struct api_call *c, struct str name, struct str id, bool has_id,
             const struct engine_request *r, const char **allowed)
{
    const struct api_view *view = api_view_find(name);
    bool is_post = str_eqz(r->method, "POST");
    *allowed = NULL;
    (void)snprintf(c->verb, sizeof c->verb, "%.*s", STR_ARG(name));
    bool is_verb = name.len < sizeof c->verb && store_verb_exists(c->verb);
    if (has_id) {
        c->what = str_eqz(name, "socket") ? API_SOCKET : API_ASK;
        append_part(&c->id, id);
        *allowed = "GET";
        return c->id.len > 0 && (c->what == API_SOCKET || str_eqz(name, "ask"));
    }
    c->what = API_VERB;
    *allowed = is_verb && view != NULL ? "GET, POST" : is_verb ? "POST" : "GET";
    if (str_eqz(name, "actions")) {
        c->what = API_ACTIONS;
        *allowed = "POST";
        return true;
    }
    if (view != NULL && !(is_verb && is_post)) {
        c->what = API_ROWS;
        c->view = view;
    }
    return is_verb || view != NULL;
}

static bool
is_allowed(struct str method, const char *allowed)
{
    struct str list = str_of(allowed);
    while (list.len > 0)
        if (str_eq(str_cut(&list, ','), method))
            return true;
    return false;
}

static void
read_query(struct api_call *c, struct str query)
{
    struct eio_param params[EIO_PARAMS_MAX];
    size_t n = 0;
    if (eio_query_decode(query, &c->query, params, &n) != RC_OK)
        n = 0, c->too_many = STR("…");
    for (size_t i = 0; i < n && i < API_PARAMS_MAX; i++)
        c->params[c->n_params++] = params[i];
    if (n > API_PARAMS_MAX)
        c->too_many = params[API_PARAMS_MAX].name;
}

static bool
is_json(const struct engine_request *r)
{
    struct str type = engine_header_get(r, "content-type");
    type = str_slice(type, 0, str_index(type, ';'));
    while (type.len > 0 && type.p[type.len - 1] == ' ')
        type.len--;
    return str_eq_nocase(type, JSON_TYPE);
}

static bool
is_key(struct str key)
{
    for (size_t i = 0; i < key.len; i++)
        if (key.p[i] < 0x20 || key.p[i] == 0x7f)
            return false;
    return key.len <= API_KEY_BYTES_MAX;
}

/* What can be said by the head of a request alone. False: it is answered. */
static bool
judge(struct engine_http *h, const struct engine_request *r, struct str rest)
{
    struct api_call *c = h->api;
    const char *allowed = NULL;
    size_t slash;
    bool is_found = str_has_prefix(rest, STR("/v1/"));
    rest = str_slice(rest, 4, rest.len);
    slash = str_index(rest, '/');
    is_found = is_found && find_address(c, str_slice(rest, 0, slash),
                                        str_slice(rest, slash + 1, rest.len),
                                        slash < rest.len, r, &allowed);
    if (!is_found) {
        api_answer_error(h, API_E_NOT_FOUND, STR_NONE, -1,
                         STR("no such address; docs/http-api.md has all of them"));
        return false;
    }
    if (!is_allowed(r->method, allowed)) {
        struct buf line = {0};
        buf_append_f(&line, "Allow: %s\r\n%c", allowed, 0);
        api_add_header(h, line.p);
        buf_fini(&line);
        api_answer_error(h, API_E_METHOD, STR_NONE, -1, STR("see Allow"));
        return false;
    }
    if (str_eqz(r->method, "POST") && !is_json(r)) {
        api_answer_error(h, API_E_MEDIA, STR("Content-Type"), -1,
                         STR("Content-Type: must be application/json"));
        return false;
    }
    struct str key = engine_header_get(r, "idempotency-key");
    if (!is_key(key)) {
        api_answer_invalid(
            h, -1, STR("Idempotency-Key: must be text of at most 200 characters"));
        return false;
    }
    buf_append_str(&c->key, key);
    read_query(c, r->query);
    return true;
}

/* ---- who may ---- */

/* False: it is answered. */
static bool
admit(struct engine_http *h, const struct engine_request *r, bool is_origin_ok)
{
    const struct engine *e = h->e;
    if (e->api_tokens == NULL) {
        api_answer_error(h, API_E_NOT_FOUND, STR_NONE, -1,
                         STR("there is no HTTP API here; api_token switches it on"));
    } else if (!token_is_good(r, e->api_tokens)) {
        log_info("engine", "api.refused", LOG_S("remote", r->remote),
                 LOG_Z("what", "no token, or a wrong one"));
        api_add_header(h, "WWW-Authenticate: Bearer\r\n");
        api_answer_error(h, API_E_UNAUTHORIZED, STR("Authorization"), -1,
                         STR("Authorization: must be Bearer and api_token"));
    } else if (!is_origin_ok) {
        api_answer_error(h, API_E_FORBIDDEN, STR("Origin"), -1,
                         STR("Origin: must be ours; a browser's page of another one "
                             "must not hold a token"));
    } else {
        return true;
    }
    return false;
}

/* EIO-API */
bool
api_take(struct engine_http **taken, const struct engine_request *r)
{
    struct engine_http *h = *taken;
    const struct cfg *cfg = h->e->cfg;
    struct str path = str_of(cfg->path), rest;
    struct buf headers = {0}, ignored = {0};
    if (!str_has_prefix(r->path, path))
        return false;
    rest = str_slice(r->path, path.len, r->path.len);
    if (!str_has_prefix(rest, STR(PREFIX)))
        return false;
    rest = str_slice(rest, sizeof PREFIX - 1, rest.len);
    if (rest.len > 0 && rest.p[0] != '/')
        return false;
    buf_append_f(&headers, "%scache-control: no-store\r\n", cfg->extra_headers);
    free(h->headers);
    h->headers = buf_take(&headers, NULL); /* invariant 2 */
    h->api = xcalloc(1, sizeof *h->api);
    h->api->h = h;
    if (!admit(h, r, origin_check(cfg, r, &ignored)) || !judge(h, r, rest))
        *taken = NULL;
    buf_fini(&ignored);
    return true;
}

void
api_body(struct engine_http *h, struct str body, bool is_too_big)
{
    const struct api_call *c = h->api;
    if (is_too_big)
        api_answer_error(h, API_E_TOO_LARGE, STR_NONE, -1,
                         STR("the body is larger than max_payload"));
    else if (c->what == API_ACTIONS || c->what == API_VERB)
        api_act(h, body);
    else
        api_read(h);
}
