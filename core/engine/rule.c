/*
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/rule.h"

#include <string.h>

#include "core/engine/internal.h"

static const char *const NAMES[RULE_N_BOUNDS] = {
#define X(name) name,
    RULE_BOUNDS(X)
#undef X
};

struct wanted {
    int64_t value[RULE_N_BOUNDS];
};

static void
on_bound(void *arg, struct str name, int64_t value)
{
    struct wanted *w = arg;
    for (int i = 0; i < RULE_N_BOUNDS; i++)
        if (str_eqz(name, NAMES[i]))
            w->value[i] = value;
}

static void
refresh(struct engine *e)
{
    struct wanted w;
    memcpy(w.value, e->rules.configured, sizeof w.value);
    if (store_read_has_bans(e->store, &e->rules.has_bans) != RC_OK ||
        store_read_bounds(e->store, on_bound, &w) != RC_OK)
        return; /* the sweeper looks again */
    for (int i = 0; i < RULE_N_BOUNDS; i++) {
        int64_t min, max, value = w.value[i];
        int64_t *at = cfg_number(e->cfg_own, NAMES[i], &min, &max);
        if (value != e->rules.configured[i])
            value = value < min ? min : value > max ? max : value;
        __atomic_store_n(at, value, __ATOMIC_RELAXED);
    }
}

static void
on_wake(struct later *l)
{
    refresh((struct engine *)((char *)l - offsetof(struct engine, rules_later)));
}

void
rule_wake(struct engine *e)
{
    engine_later(e, &e->rules_later, on_wake);
}

void
rule_begin(struct engine *e)
{
    int64_t min, max;
    for (int i = 0; i < RULE_N_BOUNDS; i++)
        e->rules.configured[i] = *cfg_number(e->cfg_own, NAMES[i], &min, &max);
    refresh(e);
}

bool
rule_is_banned(const struct engine *e, struct str remote)
{
    bool is_banned = false;
    return e->rules.has_bans &&
           store_read_is_banned(e->store, remote, &is_banned) == RC_OK && is_banned;
}
