/*
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/token.h"

static bool
is_equal(struct str given, struct str wanted)
{
    volatile unsigned difference = given.len != wanted.len;
    for (size_t i = 0; i < given.len && wanted.len > 0; i++)
        difference |= (unsigned char)given.p[i] ^ (unsigned char)wanted.p[i % wanted.len];
    return difference == 0;
}

bool
token_is_good(const struct engine_request *r, const char *tokens)
{
    struct str header = engine_header_get(r, "authorization"), left = str_of(tokens);
    bool is_good = false;
    if (!str_eq_nocase(str_slice(header, 0, 7), "bearer "))
        return false;
    struct str given = str_slice(header, 7, header.len);
    while (left.len > 0) {
        struct str token = str_cut(&left, ' ');
        is_good |= token.len > 0 && is_equal(given, token);
    }
    return is_good;
}
