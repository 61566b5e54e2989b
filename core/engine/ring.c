/*
 * See ring.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/ring.h"

#include <stdlib.h>

#define RING_CAP_MIN 256

struct ring_slot {
    struct store_packet *packet;
    uint64_t before; /* number + 1 of the previous row of the same key, 0: none */
    int64_t key;
};

static struct ring_slot *
slot_at(const struct ring *r, uint64_t number)
{
    return &r->slots[number & (r->cap - 1)];
}

static size_t
cost(const struct store_packet *p)
{
    return sizeof *p + p->body.len + p->attachments.len;
}

static void
drop_oldest(struct ring *r)
{
    struct ring_slot *s = slot_at(r, r->first);
    if ((uint64_t)(uintptr_t)map_find(&r->heads, s->key) == r->first + 1)
        map_remove(&r->heads, s->key);
    r->n_bytes -= cost(s->packet);
    r->from_seq = s->packet->seq;
    store_packet_unref(s->packet);
    r->first++;
}

static void
grow(struct ring *r)
{
    size_t cap = r->cap ? r->cap * 2 : RING_CAP_MIN;
    struct ring_slot *slots = xmalloc(cap * sizeof *slots);
    for (uint64_t n = r->first; n < r->end; n++)
        slots[n & (cap - 1)] = *slot_at(r, n);
    free(r->slots);
    r->slots = slots;
    r->cap = cap;
}

void
ring_init(struct ring *r, size_t n_rows_max, size_t n_bytes_max, int64_t from_seq)
{
    *r = (struct ring){.n_rows_max = n_rows_max,
                       .n_bytes_max = n_bytes_max,
                       .from_seq = from_seq,
                       .last_seq = from_seq};
}

void
ring_fini(struct ring *r)
{
    ring_reset(r, 0);
    free(r->slots);
    map_fini(&r->heads);
}

void
ring_append(struct ring *r, struct store_packet *p)
{
    r->last_seq = p->seq;
    if (!store_kind_is_due(p->kind) || p->is_volatile)
        return;
    while (r->end > r->first &&
           (r->end - r->first >= r->n_rows_max || r->n_bytes + cost(p) > r->n_bytes_max))
        drop_oldest(r);
    if (r->end - r->first == r->cap)
        grow(r);
    struct ring_slot *s = slot_at(r, r->end);
    s->packet = store_packet_ref(p);
    s->key =
        p->to_kind == STORE_TO_LIST ? RING_KEY_LIST : store_key(p->to_kind, p->to_id);
    s->before = (uint64_t)(uintptr_t)map_find(&r->heads, s->key);
    r->n_bytes += cost(p);
    r->end++;
    map_put(&r->heads, s->key, (void *)(uintptr_t)r->end);
}

void
ring_reset(struct ring *r, int64_t seq)
{
    while (r->end > r->first)
        drop_oldest(r);
    r->from_seq = r->last_seq = seq;
}

void
ring_walk(const struct ring *r, int64_t key, int64_t above_seq,
          void (*fn)(void *arg, struct store_packet *p), void *arg)
{
    uint64_t n = (uint64_t)(uintptr_t)map_find(&r->heads, key);
    while (n > r->first) {
        const struct ring_slot *s = slot_at(r, n - 1);
        if (s->packet->seq <= above_seq)
            break;
        fn(arg, s->packet);
        n = s->before;
    }
}
