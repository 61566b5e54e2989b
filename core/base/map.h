/*
 * A hash map from a 64-bit number to a pointer; open addressing, no allocation an entry.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_BASE_MAP_H
#define SIOLITE_CORE_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

struct map_slot {
    int64_t key;
    void *value; /* NULL: free */
};

struct map { /* all zero is an empty map */
    struct map_slot *slots;
    size_t n, cap;
};

void map_fini(struct map *m);
void *map_find(const struct map *m, int64_t key); /* NULL if absent */
/* Adds or replaces; value is not NULL. */
void map_put(struct map *m, int64_t key, void *value);
/* Removes and returns the value; NULL if absent. */
void *map_remove(struct map *m, int64_t key);
/* Walks all entries: *i starts at 0; NULL at the end. The map must not change meanwhile.
 */
void *map_next(const struct map *m, size_t *i, int64_t *key);

#endif
