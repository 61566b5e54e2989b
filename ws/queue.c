/*
 * The queue of a WebSocket; see queue.h.
 *
 * Invariants:
 * 1. `chain` is NULL only if there are no chunks: the first in line never sits in a
 * chunk.
 * 2. `last` has room or is full, but is never empty; `first` is never empty.
 * 3. n_bytes is 0 if and only if the queue is empty.
 *
 * Sidecar, loop thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ws/queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ws/deflate.h"

enum { CHUNK_ENTRIES = 13 }; /* a chunk takes 120 bytes */

enum { OP_CONTINUATION = 0, OP_TEXT = 1, OP_BINARY = 2, BIT_RSV1 = 0x40, BIT_FIN = 0x80 };

struct ws_chunk {
    struct ws_chunk *next;
    unsigned begin, end;
    struct frame *chains[CHUNK_ENTRIES];
};

/* Writes a WebSocket header so that it ends right before `data`; returns its length. */
static size_t
write_head(char *data, int first_byte, size_t len)
{
    unsigned char *p = (unsigned char *)data;
    size_t n = len < 126 ? 2 : len < 65536 ? 4 : 10;
    p -= n;
    p[0] = (unsigned char)first_byte;
    p[1] = (unsigned char)(len < 126 ? len : len < 65536 ? 126 : 127);
    for (size_t i = 2; i < n; i++)
        p[i] = (unsigned char)(len >> (8 * (n - 1 - i)));
    return n;
}

static int
opcode(const struct frame *f)
{
    return f->is_binary ? OP_BINARY : OP_TEXT;
}

static struct frame *
pop_chain(struct ws_queue *q)
{
    struct frame *chain = q->chain;
    struct ws_chunk *c = q->first;
    q->chain = NULL;
    q->at = NULL;
    if (c) {
        q->chain = c->chains[c->begin++];
        if (c->begin == c->end) {
            q->first = c->next;
            if (q->first == NULL)
                q->last = NULL;
            free(c);
        }
    }
    return chain;
}

/* The frame `f`, the next in line, is done. Returns its chain if that is finished, a
 * reference for the caller. */
static struct frame *
advance(struct ws_queue *q, const struct frame *f)
{
    assert(q->n_bytes >= f->len + WS_FRAME_COST);
    q->n_bytes -= f->len + WS_FRAME_COST;
    q->offset = 0;
    q->at = f->next;
    return q->at ? NULL : pop_chain(q);
}

/* The next fragment of a frame longer than WS_PIECE, all of a batch. */
static void
take_fragment(struct ws_queue *q, const struct frame *f, struct frame *wire, char *buffer,
              struct ws_batch *out)
{
    size_t rest = wire->len - q->offset, n = rest < WS_PIECE ? rest : WS_PIECE;
    int first_byte = q->offset ? OP_CONTINUATION : opcode(f) | (wire != f ? BIT_RSV1 : 0);
    char *data = buffer + WS_BATCH - WS_PIECE;
    size_t head = write_head(data, first_byte | (n == rest ? BIT_FIN : 0), n);
    memcpy(data, wire->data + q->offset, n);
    *out = (struct ws_batch){.p = data - head, .len = head + n};
    q->offset += n;
    if (n == rest)
        out->held = advance(q, f);
}

void
ws_queue_push_take(struct ws_queue *q, struct frame *chain)
{
    struct ws_chunk *c = q->last;
    for (const struct frame *f = chain; f; f = f->next)
        q->n_bytes += f->len + WS_FRAME_COST;
    if (q->chain == NULL) {
        q->chain = chain;
        return;
    }
    if (c == NULL || c->end == CHUNK_ENTRIES) {
        c = xmalloc(sizeof *c);
        c->next = NULL;
        c->begin = c->end = 0;
        if (q->last)
            q->last->next = c;
        else
            q->first = c;
        q->last = c;
    }
    c->chains[c->end++] = chain;
}

bool
ws_queue_take(struct ws_queue *q, struct ws_deflate *d, char *buffer,
              struct ws_batch *out)
{
    size_t n = 0;
    *out = (struct ws_batch){0};
    while (q->chain) {
        struct frame *f = q->at ? q->at : q->chain;
        struct frame *wire = d ? ws_deflate_frame(d, f) : f;
        bool is_last = f->next == NULL && q->first == NULL;
        if (wire->len > WS_PIECE) {
            if (n == 0) {
                take_fragment(q, f, wire, buffer, out);
                return true;
            }
            break;
        }
        if (wire->head_len == 0)
            wire->head_len = (uint8_t)write_head(
                wire->data, BIT_FIN | opcode(f) | (wire != f ? BIT_RSV1 : 0), wire->len);
        if (n == 0 && is_last) {
            *out = (struct ws_batch){.p = wire->data - wire->head_len,
                                     .len = wire->head_len + wire->len,
                                     .held = advance(q, f)};
            return true;
        }
        if (n + wire->head_len + wire->len > WS_BATCH)
            break;
        memcpy(buffer + n, wire->data - wire->head_len, wire->head_len + wire->len);
        n += wire->head_len + wire->len;
        frame_unref(advance(q, f));
    }
    out->p = buffer;
    out->len = n;
    return n > 0;
}

void
ws_queue_clear(struct ws_queue *q)
{
    while (q->chain)
        frame_unref(pop_chain(q));
    q->offset = 0;
    q->n_bytes = 0;
}
