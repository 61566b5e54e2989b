/*
 * <path>/metrics and <path>/health, for graphs, alarms and load balancers
 * (docs/metrics.md). Both want metrics_token; without one they do not exist.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_METRICS_H
#define SIOLITE_CORE_ENGINE_METRICS_H

#include "core/engine/internal.h"

/* Is the request one of them? Then it is answered, and *h is NULL, or is_health is set in
 * it. */
bool metrics_take(struct engine_http **h, const struct engine_request *r);
/* The rest of a request with is_health: answered after a commit. */
void metrics_health(struct engine_http *h);

#endif
