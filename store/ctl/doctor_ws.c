/*
 * siolite doctor: a WebSocket by hand; see doctor_ws.h. RFC 6455.
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/ctl/doctor_ws.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "core/base/clock.h"
#include "core/base/rnd.h"

enum {
    HEAD_MAX_BYTES = 64 * 1024,
    MESSAGE_MAX_BYTES = 1 << 20,
    ANSWER_MS = 10000,
    KEY_BYTES = 16,
    MASK_BYTES = 4,
    OP_TEXT = 1,
    OP_CLOSE = 8
};

struct doctor_ws {
    CURL *curl;
    struct buf in; /* the answer's head first, then frames that are incomplete */
    struct buf answer;
};

static enum rc
wait_for(struct doctor_ws *w, short events, int64_t until_ms)
{
    struct pollfd p = {.events = events};
    int64_t rest_ms = until_ms - clock_now_ms();
    curl_socket_t fd;
    if (curl_easy_getinfo(w->curl, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK || fd < 0)
        return RC_IO;
    p.fd = fd;
    if (rest_ms <= 0 || poll(&p, 1, (int)rest_ms) <= 0)
        return RC_NOTFOUND;
    return RC_OK;
}

static enum rc
send_all(struct doctor_ws *w, struct str bytes)
{
    int64_t until_ms = clock_now_ms() + ANSWER_MS;
    while (bytes.len) {
        size_t n = 0;
        CURLcode code = curl_easy_send(w->curl, bytes.p, bytes.len, &n);
        if (code == CURLE_AGAIN) {
            if (wait_for(w, POLLOUT, until_ms) != RC_OK)
                return RC_IO;
        } else if (code != CURLE_OK) {
            return RC_IO;
        }
        bytes = str_slice(bytes, n, bytes.len);
    }
    return RC_OK;
}

/* Some more bytes into w->in. */
static enum rc
read_more(struct doctor_ws *w, int64_t until_ms)
{
    for (;;) {
        size_t n = 0;
        CURLcode code = curl_easy_recv(w->curl, buf_reserve(&w->in, 16384), 16384, &n);
        enum rc rc;
        if (code == CURLE_OK && n > 0) {
            w->in.len += n;
            return w->in.len > MESSAGE_MAX_BYTES + HEAD_MAX_BYTES ? RC_TOOBIG : RC_OK;
        }
        if (code != CURLE_AGAIN)
            return RC_IO;
        rc = wait_for(w, POLLIN, until_ms);
        if (rc != RC_OK)
            return rc;
    }
}

static void
make_request(struct buf *b, const struct doctor_ws_target *t, CURLU *u)
{
    char key[RND_ID_LEN + 1], *host = NULL, *port = NULL, *path = NULL;
    rnd_id(key);
    curl_url_get(u, CURLUPART_HOST, &host, 0);
    curl_url_get(u, CURLUPART_PORT, &port, 0);
    curl_url_get(u, CURLUPART_PATH, &path, 0);
    buf_append_f(b, "GET %s?%s HTTP/1.1\r\nHost: %s%s%s\r\n", path ? path : "/", t->query,
                 host ? host : "localhost", port ? ":" : "", port ? port : "");
    buf_append_z(b, "User-Agent: siolite-doctor\r\nConnection: Upgrade\r\nUpgrade: "
                    "websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ");
    buf_append_base64(b, (struct str){key, KEY_BYTES});
    if (t->origin)
        buf_append_f(b, "\r\nOrigin: %s", t->origin);
    buf_append_z(b, "\r\n\r\n");
    curl_free(host);
    curl_free(port);
    curl_free(path);
}

static CURLcode
do_connect(struct doctor_ws *w, const struct doctor_ws_target *t, char *error)
{
    w->curl = curl_easy_init();
    curl_easy_setopt(w->curl, CURLOPT_URL, t->url);
    curl_easy_setopt(w->curl, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(w->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(w->curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(w->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)ANSWER_MS);
    curl_easy_setopt(w->curl, CURLOPT_SSL_VERIFYPEER, t->is_insecure ? 0L : 1L);
    curl_easy_setopt(w->curl, CURLOPT_SSL_VERIFYHOST, t->is_insecure ? 0L : 2L);
    curl_easy_setopt(w->curl, CURLOPT_ERRORBUFFER, error);
    if (t->unix_path)
        curl_easy_setopt(w->curl, CURLOPT_UNIX_SOCKET_PATH, t->unix_path);
    return curl_easy_perform(w->curl);
}

/* The head of the answer, and of a refusal what came with it, into w->answer. */
static enum rc
read_answer(struct doctor_ws *w, int *status)
{
    int64_t until_ms = clock_now_ms() + ANSWER_MS;
    const char *end = NULL;
    struct str line, code;
    int64_t number;
    while (end == NULL) {
        enum rc rc = read_more(w, until_ms);
        if (rc != RC_OK)
            return rc;
        if (w->in.len > HEAD_MAX_BYTES)
            return RC_TOOBIG;
        end = memmem(w->in.p, w->in.len, "\r\n\r\n", 4);
    }
    line = str_slice(buf_str(&w->in), 0, str_index(buf_str(&w->in), '\r'));
    code = str_slice(line, str_index(line, ' ') + 1, line.len);
    if (!str_has_prefix(line, STR("HTTP/1.")) ||
        str_to_int(str_slice(code, 0, 3), 100, 999, &number) != RC_OK)
        return RC_INVALID;
    *status = (int)number;
    if (number == 101) {
        size_t n = (size_t)(end - w->in.p) + 4;
        buf_append_str(&w->answer, str_slice(buf_str(&w->in), 0, n));
        buf_drop_front(&w->in, n);
    } else {
        buf_append_str(&w->answer, buf_str(&w->in));
    }
    return RC_OK;
}

enum rc
doctor_ws_open(struct doctor_ws **out, const struct doctor_ws_target *t, int *status,
               struct buf *err)
{
    struct doctor_ws *w = xcalloc(1, sizeof *w);
    char error[CURL_ERROR_SIZE] = "";
    struct buf request = {0};
    CURLU *u = curl_url();
    CURLcode code;
    enum rc rc = RC_IO;
    curl_url_set(u, CURLUPART_URL, t->url, 0);
    make_request(&request, t, u);
    curl_url_cleanup(u);
    code = do_connect(w, t, error);
    if (code != CURLE_OK) {
        buf_append_z(err, error[0] ? error : curl_easy_strerror(code));
    } else {
        rc = send_all(w, buf_str(&request));
        if (rc == RC_OK)
            rc = read_answer(w, status);
        if (rc == RC_NOTFOUND)
            buf_append_z(err, "no answer within 10 s");
        else if (rc != RC_OK)
            buf_append_z(err, rc == RC_IO ? "the connection was closed without an answer"
                                          : "the answer is not HTTP/1.1");
    }
    buf_fini(&request);
    if (rc != RC_OK) {
        doctor_ws_close(w);
        return RC_IO;
    }
    *out = w;
    return RC_OK;
}

struct str
doctor_ws_answer(const struct doctor_ws *w)
{
    return buf_str(&w->answer);
}

/* Short texts only: one frame, masked as a client's must be. */
enum rc
doctor_ws_send(struct doctor_ws *w, const char *text)
{
    size_t len = strlen(text);
    struct buf frame = {0};
    char mask[RND_ID_LEN + 1];
    enum rc rc;
    if (len > 125)
        return RC_TOOBIG;
    rnd_id(mask);
    buf_append_c(&frame, (char)(0x80 | OP_TEXT));
    buf_append_c(&frame, (char)(0x80 | len));
    buf_append(&frame, mask, MASK_BYTES);
    for (size_t i = 0; i < len; i++)
        buf_append_c(&frame, (char)(text[i] ^ mask[i % MASK_BYTES]));
    rc = send_all(w, buf_str(&frame));
    buf_fini(&frame);
    return rc;
}

/* How long the frame at the beginning of w->in is, and its head; 0: not complete. */
static size_t
frame_len(const struct doctor_ws *w, size_t *head)
{
    const unsigned char *p = (const unsigned char *)w->in.p;
    uint64_t n;
    if (w->in.len < 2)
        return 0;
    n = p[1] & 0x7f;
    *head = n < 126 ? 2 : n == 126 ? 4 : 10;
    if (w->in.len < *head)
        return 0;
    if (*head > 2) {
        n = 0;
        for (size_t i = 2; i < *head; i++)
            n = n << 8 | p[i];
    }
    return n <= MESSAGE_MAX_BYTES && w->in.len >= *head + n ? *head + (size_t)n : 0;
}

enum rc
doctor_ws_read(struct doctor_ws *w, int64_t ms, struct buf *out)
{
    int64_t until_ms = clock_now_ms() + ms;
    buf_clear(out);
    for (;;) {
        size_t head = 0, len;
        enum rc rc;
        while ((len = frame_len(w, &head)) == 0)
            if ((rc = read_more(w, until_ms)) != RC_OK)
                return rc == RC_NOTFOUND ? rc : RC_IO;
        if ((w->in.p[0] & 15) == OP_CLOSE)
            return RC_IO;
        if ((w->in.p[0] & 15) == OP_TEXT) {
            buf_append_str(out, str_slice(buf_str(&w->in), head, len));
            buf_drop_front(&w->in, len);
            return RC_OK;
        }
        buf_drop_front(&w->in, len); /* binary, ping, pong: none of ours */
    }
}

void
doctor_ws_close(struct doctor_ws *w)
{
    if (w == NULL)
        return;
    curl_easy_cleanup(w->curl);
    buf_fini(&w->in);
    buf_fini(&w->answer);
    free(w);
}
