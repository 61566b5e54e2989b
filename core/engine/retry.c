/*
 * See retry.h. The key is the member `retryKey` of the event's first argument; its scope
 * the member `clientId` of the CONNECT's payload, which a client keeps over all its
 * connections, else the socket, which lasts as long as it is recovered.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/retry.h"

#include <string.h>

#include "core/sio/json.h"

enum {
    KEY_BYTES_MAX = 130, /* with its quotes */
    CLIENT_BYTES_MIN = 18,
    CLIENT_BYTES_MAX = 130
};

/* SIO-RETRY-KEY */
static bool
find_key(const struct call_event *ev, struct str *key)
{
    static const char name[] = "\"retryKey\"";
    struct str rest = ev->args, first;
    enum sio_json_kind kind;
    return ev->has_ack_id && rest.len > 0 && rest.p[0] == '{' &&
           memmem(rest.p, rest.len, name, sizeof name - 1) != NULL &&
           sio_json_next(&rest, &kind, &first) == RC_OK &&
           sio_json_member(first, "retryKey", &kind, key) == RC_OK &&
           kind == SIO_JSON_STRING && key->len > 2 && key->len <= KEY_BYTES_MAX;
}

static bool
find_client(struct str auth, struct str *out)
{
    enum sio_json_kind kind;
    return sio_json_member(auth, "clientId", &kind, out) == RC_OK &&
           kind == SIO_JSON_STRING && out->len >= CLIENT_BYTES_MIN &&
           out->len <= CLIENT_BYTES_MAX;
}

static enum rc
append_client(struct work *w, const struct work_socket *k, struct buf *out)
{
    struct str client = STR_NONE;
    bool has_client = false;
    struct store_socket s;
    if (k->auth != NULL) {
        has_client = find_client(str_of(k->auth), &client);
    } else if (k->socket_id > 0) {
        enum rc rc = store_read_socket(w->e->store, k->socket_id, &s);
        if (rc != RC_OK && rc != RC_NOTFOUND)
            return rc;
        has_client = rc == RC_OK && find_client(s.auth, &client);
    }
    buf_append_z(out, has_client ? k->nsp_name : k->sio_id);
    if (has_client)
        buf_append_c(out, ' ');
    buf_append_str(out, client);
    return RC_OK;
}

char *
retry_event_id(const struct work_socket *k, int64_t ack_id)
{
    struct buf b = {0};
    buf_append_f(&b, "%s:%lld%c", k->sio_id, (long long)ack_id, 0);
    return buf_take(&b, NULL);
}

/* SIO-RETRY */
enum retry_kind
retry_begin(struct work *w, struct work_socket *k, const struct call_event *ev)
{
    struct buf client = {0};
    struct str key;
    bool is_known = false;
    if (w->e->cfg->retry_keep_ms == 0 || !find_key(ev, &key))
        return RETRY_NONE;
    enum rc rc = append_client(w, k, &client);
    char *event_id = retry_event_id(k, ev->ack_id);
    const struct store_retry r = {
        .client = buf_str(&client),
        .event = ev->event,
        .key = key,
        .event_id = str_of(event_id),
        .socket_id = k->socket_id,
        .ack_id = ev->ack_id,
    };
    if (rc == RC_OK)
        rc = store_read_retry(w->e->store, &r, &is_known);
    if (rc == RC_OK) {
        w->changes_state = true;
        store_unit_retry(work_unit(w), &r);
    }
    buf_fini(&client);
    free(event_id);
    if (rc != RC_OK)
        return RETRY_BUSY;
    if (!is_known)
        return RETRY_FIRST;
    store_unit_block_end(w->u);
    return RETRY_AGAIN;
}
