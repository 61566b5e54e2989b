/*
 * Rules of the administrator that stand in rows (schema/views/rule.sql) and take effect
 * at once: limits instead of those of the configuration, bans of addresses.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_RULE_H
#define SIOLITE_CORE_ENGINE_RULE_H

#include "core/base/cfg.h"

struct engine;

#define RULE_BOUNDS(X)                                                                   \
    X("max_nsp")                                                                         \
    X("max_rooms")                                                                       \
    X("max_pending_acks")                                                                \
    X("max_event_name")                                                                  \
    X("max_json_depth")                                                                  \
    X("empty_session")                                                                   \
    X("handshakes_per_s")
#define X(name) +1
enum { RULE_N_BOUNDS = RULE_BOUNDS(X) };
#undef X

struct rules {
    int64_t configured[RULE_N_BOUNDS]; /* what the configuration says */
    bool has_bans;
};

/* The configuration is new: takes it down, then looks at the rows. */
void rule_begin(struct engine *e);
/* Somebody may have changed them: they are looked at in this loop turn. */
void rule_wake(struct engine *e);
/* Is this address banned? Where that can't be read just now: no. */
bool rule_is_banned(const struct engine *e, struct str remote);

#endif
