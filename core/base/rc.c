/*
 * The texts of the result codes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/rc.h"

const char *
rc_text(enum rc rc)
{
    switch (rc) {
#define X(name, number, text)                                                            \
    case RC_##name:                                                                      \
        return text;
        RC_LIST(X)
#undef X
    }
    return "unknown result";
}
