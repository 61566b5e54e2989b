/*
 * How many sessions a second one address may begin (handshakes_per_s): a token bucket an
 * address, in this process alone.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_THROTTLE_H
#define SIOLITE_CORE_ENGINE_THROTTLE_H

#include <stdbool.h>

#include "core/base/map.h"
#include "core/base/str.h"

struct throttle {       /* all zero is empty */
    struct map buckets; /* of addresses */
    size_t n_max;       /* entries after which the full ones are forgotten */
};

void throttle_fini(struct throttle *t);
/* May this address begin another one? A bucket holds what a second brings. Of an IPv6
 * address the network (/64) counts. per_s 0: always. */
bool throttle_take(struct throttle *t, struct str address, int64_t per_s, int64_t now_ms);

#endif
