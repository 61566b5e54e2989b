/*
 * Open addressing with linear probing and backward-shift deletion: no tombstones, so a
 * map that lives long stays as fast as a new one. Grows at 3/4, shrinks at 1/8.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/map.h"

#include <stdlib.h>

#include "core/base/buf.h"

#define MAP_CAP_MIN 16

static size_t
slot_of(const struct map *m, int64_t key)
{
    uint64_t h = (uint64_t)key * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(h >> 20) & (m->cap - 1);
}

static struct map_slot *
find_slot(const struct map *m, int64_t key)
{
    size_t i = slot_of(m, key);
    while (m->slots[i].value != NULL && m->slots[i].key != key)
        i = (i + 1) & (m->cap - 1);
    return &m->slots[i];
}

static void
resize(struct map *m, size_t cap)
{
    struct map old = *m;
    m->slots = xcalloc(cap, sizeof *m->slots);
    m->cap = cap;
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i].value != NULL)
            *find_slot(m, old.slots[i].key) = old.slots[i];
    free(old.slots);
}

void
map_fini(struct map *m)
{
    free(m->slots);
    *m = (struct map){0};
}

void *
map_find(const struct map *m, int64_t key)
{
    return m->cap == 0 ? NULL : find_slot(m, key)->value;
}

void
map_put(struct map *m, int64_t key, void *value)
{
    if (m->cap == 0 || (m->n + 1) * 4 > m->cap * 3)
        resize(m, m->cap == 0 ? MAP_CAP_MIN : m->cap * 2);
    struct map_slot *s = find_slot(m, key);
    if (s->value == NULL)
        m->n++;
    *s = (struct map_slot){key, value};
}

void *
map_remove(struct map *m, int64_t key)
{
    if (m->cap == 0)
        return NULL;
    struct map_slot *s = find_slot(m, key);
    void *value = s->value;
    if (value == NULL)
        return NULL;
    size_t hole = (size_t)(s - m->slots), mask = m->cap - 1;
    for (size_t i = (hole + 1) & mask; m->slots[i].value != NULL; i = (i + 1) & mask) {
        size_t home = slot_of(m, m->slots[i].key);
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole] = (struct map_slot){0};
    m->n--;
    if (m->cap > MAP_CAP_MIN && m->n * 8 < m->cap)
        resize(m, m->cap / 2);
    return value;
}

void *
map_next(const struct map *m, size_t *i, int64_t *key)
{
    for (; *i < m->cap; (*i)++)
        if (m->slots[*i].value != NULL) {
            if (key != NULL)
                *key = m->slots[*i].key;
            return m->slots[(*i)++].value;
        }
    return NULL;
}
