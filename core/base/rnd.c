/*
 * Unguessable ids. Randomness is fetched in blocks and wiped as it is handed out; a
 * forked child starts with an empty block, so parent and child never give the same id.
 *
 * Invariants: 1. a random byte is used once. 2. the block is only touched by the loop
 * thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/rnd.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define ID_BYTES (RND_ID_LEN / 4 * 3)

static const char ALPHABET[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

/* The state of the module: a system call for each id would be the dearest part of a
 * handshake. */
static struct {
    unsigned char block[ID_BYTES * 32];
    size_t used;
    pid_t owner; /* the process that filled the block; 0 before that */
} pool;

static void
fill_block(void)
{
    size_t n = 0;
    while (n < sizeof pool.block) {
        ssize_t got = getrandom(pool.block + n, sizeof pool.block - n, 0);
        if (got > 0) {
            n += (size_t)got;
        } else if (errno != EINTR) {
            fputs("siolite: the kernel gives no randomness\n", stderr);
            abort();
        }
    }
    pool.used = 0;
    pool.owner = getpid();
}

/* EIO-ID */
void
rnd_id(char out[RND_ID_LEN + 1])
{
    unsigned char *p;
    if (pool.owner != getpid() || sizeof pool.block - pool.used < ID_BYTES)
        fill_block();
    p = pool.block + pool.used;
    for (size_t i = 0; i < ID_BYTES; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8 | p[i + 2];
        *out++ = ALPHABET[v >> 18];
        *out++ = ALPHABET[v >> 12 & 63];
        *out++ = ALPHABET[v >> 6 & 63];
        *out++ = ALPHABET[v & 63];
    }
    *out = 0;
    memset(p, 0, ID_BYTES);
    pool.used += ID_BYTES;
}
