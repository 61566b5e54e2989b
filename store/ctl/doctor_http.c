/*
 * siolite doctor: HTTP by libcurl; see doctor_http.h.
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/ctl/doctor_http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"

enum { BODY_MAX_BYTES = 4 << 20, CONNECT_MS = 10000 };

struct doctor_http {
    CURLM *multi;
    char *url, *origin;
    bool is_insecure;
};

struct doctor_request {
    CURL *curl;
    struct curl_slist *headers;
    char *body; /* owned */
    struct doctor_reply reply;
    int64_t from_ms;
    bool is_done;
};

/* ---- the URL ---- */

static enum rc
take_url(struct doctor_http *h, const char *text, const char *path)
{
    CURLU *u = curl_url();
    char *scheme = NULL, *given = NULL;
    struct buf b = {0};
    enum rc rc = RC_INVALID;
    if (curl_url_set(u, CURLUPART_URL, text, 0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
        goto out;
    curl_url_get(u, CURLUPART_PATH, &given, 0);
    curl_url_set(u, CURLUPART_QUERY, NULL, 0);
    curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0);
    buf_append_z(&b, given && strcmp(given, "/") != 0 ? given : path);
    if (b.len == 0 || b.p[b.len - 1] != '/')
        buf_append_c(&b, '/');
    buf_append_c(&b, 0);
    curl_url_set(u, CURLUPART_PATH, b.p, 0);
    curl_url_get(u, CURLUPART_URL, &h->url, 0);
    curl_url_set(u, CURLUPART_PATH, "/", 0);
    curl_url_get(u, CURLUPART_URL, &h->origin, 0);
    if (h->url && h->origin) {
        h->origin[strlen(h->origin) - 1] = 0; /* the slash */
        rc = RC_OK;
    }
out:
    buf_fini(&b);
    curl_free(scheme);
    curl_free(given);
    curl_url_cleanup(u);
    return rc;
}

enum rc
doctor_http_create(struct doctor_http **out, const char *url, const char *path,
                   bool is_insecure)
{
    struct doctor_http *h = xcalloc(1, sizeof *h);
    enum rc rc;
    curl_global_init(CURL_GLOBAL_ALL);
    h->multi = curl_multi_init();
    h->is_insecure = is_insecure;
    rc = take_url(h, url, path);
    if (rc != RC_OK)
        doctor_http_destroy(h);
    else
        *out = h;
    return rc;
}

void
doctor_http_destroy(struct doctor_http *h)
{
    if (h == NULL)
        return;
    curl_multi_cleanup(h->multi);
    curl_free(h->url);
    curl_free(h->origin);
    free(h);
}

const char *
doctor_http_url(const struct doctor_http *h)
{
    return h->url;
}

const char *
doctor_http_origin(const struct doctor_http *h)
{
    return h->origin;
}

/* ---- requests ---- */

static size_t
on_body(char *bytes, size_t size, size_t n, void *arg)
{
    struct doctor_request *r = arg;
    if (r->reply.body.len + size * n > BODY_MAX_BYTES)
        return 0;
    buf_append(&r->reply.body, bytes, size * n);
    return size * n;
}

static size_t
on_head(char *bytes, size_t size, size_t n, void *arg)
{
    struct doctor_request *r = arg;
    if (size * n > 5 && memcmp(bytes, "HTTP/", 5) == 0)
        buf_clear(&r->reply.head); /* of a 100 Continue */
    if (r->reply.head.len + size * n > BODY_MAX_BYTES)
        return 0;
    buf_append(&r->reply.head, bytes, size * n);
    return size * n;
}

static void
set_options(const struct doctor_http *h, struct doctor_request *r, const char *method,
            const char *url)
{
    CURL *c = r->curl;
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, r->headers);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, "gzip"); /* also decodes it */
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(c, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, h->is_insecure ? 0L : 1L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, h->is_insecure ? 0L : 2L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "siolite-doctor");
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, r->reply.error);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, r);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, r);
    curl_easy_setopt(c, CURLOPT_PRIVATE, r);
}

struct doctor_request *
doctor_http_start(struct doctor_http *h, const char *method, const char *query,
                  const char *const *headers, struct str body)
{
    struct doctor_request *r = xcalloc(1, sizeof *r);
    struct buf url = {0};
    buf_append_f(&url, "%s%s%s", h->url, strchr(query, '=') ? "?" : "", query);
    buf_append_c(&url, 0);
    for (; headers && **headers; headers++)
        r->headers = curl_slist_append(r->headers, *headers);
    r->curl = curl_easy_init();
    r->from_ms = clock_now_ms();
    set_options(h, r, method, url.p);
    if (body.p) {
        r->body = str_dup(body);
        r->headers = curl_slist_append(r->headers, "Expect:");
        r->headers =
            curl_slist_append(r->headers, "Content-Type: text/plain;charset=UTF-8");
        curl_easy_setopt(r->curl, CURLOPT_HTTPHEADER, r->headers);
        curl_easy_setopt(r->curl, CURLOPT_POSTFIELDSIZE, (long)body.len);
        curl_easy_setopt(r->curl, CURLOPT_POSTFIELDS, r->body);
    }
    curl_multi_add_handle(h->multi, r->curl);
    buf_fini(&url);
    return r;
}

static void
finish(struct doctor_request *r, CURLcode code)
{
    r->is_done = true;
    r->reply.ms = clock_now_ms() - r->from_ms;
    if (code == CURLE_OK)
        curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &r->reply.status);
    else if (r->reply.error[0] == 0)
        snprintf(r->reply.error, sizeof r->reply.error, "%s", curl_easy_strerror(code));
}

static void
take_results(struct doctor_http *h)
{
    const CURLMsg *m;
    int n_left;
    while ((m = curl_multi_info_read(h->multi, &n_left)) != NULL) {
        struct doctor_request *r;
        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &r);
        finish(r, m->data.result);
    }
}

bool
doctor_http_wait(struct doctor_http *h, struct doctor_request *r, int64_t ms)
{
    int64_t until_ms = clock_now_ms() + ms;
    for (;;) {
        int n_running;
        int64_t rest_ms;
        curl_multi_perform(h->multi, &n_running);
        take_results(h);
        rest_ms = until_ms - clock_now_ms();
        if ((r && r->is_done) || rest_ms <= 0)
            return r && r->is_done;
        curl_multi_poll(h->multi, NULL, 0, (int)(rest_ms < 1000 ? rest_ms : 1000), NULL);
    }
}

const struct doctor_reply *
doctor_http_reply(const struct doctor_request *r)
{
    return &r->reply;
}

void
doctor_http_drop(struct doctor_http *h, struct doctor_request *r)
{
    if (r == NULL)
        return;
    curl_multi_remove_handle(h->multi, r->curl);
    curl_easy_cleanup(r->curl);
    curl_slist_free_all(r->headers);
    buf_fini(&r->reply.head);
    buf_fini(&r->reply.body);
    free(r->body);
    free(r);
}

struct str
doctor_reply_header(const struct doctor_reply *r, const char *name, size_t *n)
{
    struct str rest = buf_str(&r->head), found = STR_NONE;
    *n = 0;
    while (rest.len) {
        struct str line = str_slice(rest, 0, str_index(rest, '\n'));
        size_t colon = str_index(line, ':');
        rest = str_slice(rest, line.len + 1, rest.len);
        if (colon == line.len || !str_eq_nocase(str_slice(line, 0, colon), name))
            continue;
        found = str_slice(line, colon + 1, line.len);
        while (found.len && found.p[0] == ' ')
            found = str_slice(found, 1, found.len);
        while (found.len && strchr("\r ", found.p[found.len - 1]))
            found.len--;
        ++*n;
    }
    return found;
}
