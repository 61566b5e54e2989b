/*
 * A row of the log in memory: its allocation, its attachments and the text form of its
 * targets.
 *
 * A packet is one block: the struct, then body and attachments. Only to_keys and not_keys
 * are blocks of their own, because few rows have them.
 *
 * Loop thread; between submit and commit the store thread (see struct store_write).
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/packet.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { ATTACHMENT_HEAD_BYTES = 4 };

/* The key's letter in to_list; 0: it has none. */
static char
key_letter(int64_t key)
{
    switch ((enum store_to)(key & 3)) {
    case STORE_TO_NSP:
        return 'n';
    case STORE_TO_ROOM:
        return 'r';
    case STORE_TO_SOCKET:
        return 's';
    case STORE_TO_SESSION:
        return 'c';
    case STORE_TO_LIST:
        break;
    }
    return 0;
}

static bool
letter_to(char letter, enum store_to *to)
{
    switch (letter) {
    case 'n':
        *to = STORE_TO_NSP;
        return true;
    case 'r':
        *to = STORE_TO_ROOM;
        return true;
    case 's':
        *to = STORE_TO_SOCKET;
        return true;
    case 'c':
        *to = STORE_TO_SESSION;
        return true;
    default:
        return false;
    }
}

struct store_packet *
store_packet_create(enum store_kind kind, struct str body, struct str attachments)
{
    struct store_packet *p = xmalloc(sizeof *p + body.len + attachments.len);
    char *bytes = (char *)(p + 1);
    *p = (struct store_packet){.n_refs = 1, .kind = kind, .ack_id = -1};
    if (body.len)
        memcpy(bytes, body.p, body.len);
    if (attachments.len)
        memcpy(bytes + body.len, attachments.p, attachments.len);
    p->body = (struct str){bytes, body.len};
    p->attachments = (struct str){bytes + body.len, attachments.len};
    return p;
}

struct store_packet *
store_packet_ref(struct store_packet *p)
{
    assert(p->n_refs > 0);
    p->n_refs++;
    return p;
}

void
store_packet_unref(struct store_packet *p)
{
    if (!p)
        return;
    assert(p->n_refs > 0);
    if (--p->n_refs > 0)
        return;
    if (p->wire)
        p->wire->destroy(p->wire);
    free(p->to_keys);
    free(p->not_keys);
    free(p);
}

enum rc
store_packet_attachment(struct str attachments, size_t *pos, struct str *out)
{
    size_t left = attachments.len - *pos, len;
    const unsigned char *head;
    if (*pos >= attachments.len)
        return RC_NOTFOUND;
    head = (const unsigned char *)attachments.p + *pos;
    if (left < ATTACHMENT_HEAD_BYTES)
        return RC_INVALID;
    len = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
    if (len > left - ATTACHMENT_HEAD_BYTES)
        return RC_INVALID;
    *out = (struct str){attachments.p + *pos + ATTACHMENT_HEAD_BYTES, len};
    *pos += ATTACHMENT_HEAD_BYTES + len;
    return RC_OK;
}

void
store_packet_append_attachment(struct buf *b, struct str data)
{
    unsigned char head[ATTACHMENT_HEAD_BYTES];
    assert(data.len <= UINT32_MAX);
    head[0] = (unsigned char)(data.len >> 24);
    head[1] = (unsigned char)(data.len >> 16);
    head[2] = (unsigned char)(data.len >> 8);
    head[3] = (unsigned char)data.len;
    buf_append(b, head, sizeof head);
    buf_append_str(b, data);
}

void
store_packet_encode_keys(struct buf *b, const int64_t *keys, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_append_c(b, ',');
        buf_append_c(b, key_letter(keys[i]));
        buf_append_int(b, keys[i] >> 2);
    }
}

enum rc
store_packet_decode_keys(struct str text, int64_t **keys, size_t *n)
{
    size_t n_keys = 0, n_max = text.len > 0;
    int64_t *list;
    for (size_t i = 0; i < text.len; i++)
        n_max += text.p[i] == ',';
    list = n_max ? xcalloc(n_max, sizeof *list) : NULL;
    while (n_keys < n_max) {
        size_t end = str_index(text, ',');
        enum store_to to;
        int64_t id;
        if (end < 2 || !letter_to(text.p[0], &to) ||
            str_to_int(str_slice(text, 1, end), 0, INT64_MAX / 8, &id) != RC_OK) {
            free(list);
            return RC_INVALID;
        }
        list[n_keys++] = store_key(to, id);
        text = str_slice(text, end + 1, text.len);
    }
    *keys = list;
    *n = n_keys;
    return RC_OK;
}
