/*
 * Requests that must name a secret of the configuration: `Authorization: Bearer <token>`
 * (RFC 6750 section 2.1).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_TOKEN_H
#define SIOLITE_CORE_ENGINE_TOKEN_H

#include "core/engine/engine.h"

/* Does the request name one of the tokens (separated by spaces, so that one can be
 * replaced without a gap)? How long it takes tells nothing of how much was right. None
 * configured: never. */
bool token_is_good(const struct engine_request *r, const char *tokens);

#endif
