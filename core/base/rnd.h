/*
 * Unguessable ids.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_BASE_RND_H
#define SIOLITE_CORE_BASE_RND_H

#define RND_ID_LEN 20

/* 20 characters of [A-Za-z0-9_-] and NUL, 120 random bits from the kernel (getrandom, in
 * blocks). Not thread-safe across threads: each process asks on its loop thread only.
 * Aborts if the kernel gives no randomness. */
void rnd_id(char out[RND_ID_LEN + 1]);

#endif
