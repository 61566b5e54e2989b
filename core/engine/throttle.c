/*
 * See throttle.h.
 *
 * A bucket is one number: the time at which it is full again. An address that is not in
 * the map has a full bucket, so only addresses of the last second need memory.
 *
 * Loop thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/throttle.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"

#define N_FIRST 1024

struct bucket {
    int64_t full_us;
};

static int64_t
hash(const unsigned char *p, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return (int64_t)h;
}

static int64_t
key_of(struct str address)
{
    char z[INET6_ADDRSTRLEN];
    unsigned char v6[16];
    if (address.len > 0 && address.len < sizeof z) {
        memcpy(z, address.p, address.len);
        z[address.len] = '\0';
        if (inet_pton(AF_INET6, z, v6) == 1)
            return hash(v6, 8);
    }
    return hash((const unsigned char *)(address.p ? address.p : ""), address.len);
}

/* Buckets that are full again are as good as none. */
static void
forget(struct throttle *t, int64_t now_us)
{
    struct map old = t->buckets;
    struct bucket *b;
    size_t i = 0;
    int64_t key;
    t->buckets = (struct map){0};
    while ((b = map_next(&old, &i, &key)) != NULL) {
        if (b->full_us > now_us)
            map_put(&t->buckets, key, b);
        else
            free(b);
    }
    map_fini(&old);
    t->n_max = 2 * t->buckets.n > N_FIRST ? 2 * t->buckets.n : N_FIRST;
}

void
throttle_fini(struct throttle *t)
{
    forget(t, INT64_MAX);
    map_fini(&t->buckets);
    *t = (struct throttle){0};
}

bool
throttle_take(struct throttle *t, struct str address, int64_t per_s, int64_t now_ms)
{
    int64_t now_us = now_ms * 1000, key = key_of(address);
    if (per_s == 0)
        return true;
    if (t->buckets.n >= t->n_max)
        forget(t, now_us);
    struct bucket *b = map_find(&t->buckets, key);
    if (b == NULL) {
        b = xcalloc(1, sizeof *b);
        map_put(&t->buckets, key, b);
    }
    int64_t full_us = (b->full_us > now_us ? b->full_us : now_us) + 1000000 / per_s;
    if (full_us > now_us + 1000000)
        return false;
    b->full_us = full_us;
    return true;
}
