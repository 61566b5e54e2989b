/*
 * Result codes. A function that can fail returns `enum rc`; results come back
 * through its last parameters and stay untouched on failure (house style R1).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_BASE_RC_H
#define SIOLITE_CORE_BASE_RC_H

#define RC_LIST(X)                                                                       \
    X(OK, 0, "ok")                                                                       \
    X(NOMEM, 1, "out of memory")                                                         \
    X(INVALID, 2, "invalid")                                                             \
    X(TOOBIG, 3, "too big")                                                              \
    X(NOTFOUND, 4, "not found")                                                          \
    X(CONFLICT, 5, "somebody else was first")                                            \
    X(BUSY, 6, "busy")                                                                   \
    X(IO, 7, "input/output error")

enum rc {
#define X(name, number, text) RC_##name = number,
    RC_LIST(X)
#undef X
};

#define MUST_CHECK __attribute__((warn_unused_result))

/* The text of a result code; a literal. */
const char *rc_text(enum rc rc);

#endif
