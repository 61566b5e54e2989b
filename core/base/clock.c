/*
 * The clocks of the kernel. The replaceable source is the one piece of state here,
 * because tests must turn the time without sleeping (C3); programs never set it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/clock.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t (*replaced_now_ms)(void);

static struct timespec
read_clock(clockid_t id)
{
    struct timespec ts = {0};
    int failed = clock_gettime(id, &ts);
    assert(failed == 0);
    (void)failed;
    return ts;
}

int64_t
clock_now_ms(void)
{
    struct timespec ts;
    if (replaced_now_ms)
        return replaced_now_ms();
    ts = read_clock(CLOCK_BOOTTIME);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t
clock_now_us(void)
{
    struct timespec ts = read_clock(CLOCK_MONOTONIC);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t
clock_cpu_us(void)
{
    struct timespec ts = read_clock(CLOCK_THREAD_CPUTIME_ID);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t
clock_rough_ms(void)
{
    struct timespec ts = read_clock(CLOCK_MONOTONIC_COARSE);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t
clock_wall_ms(void)
{
    struct timespec ts = read_clock(CLOCK_REALTIME);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void
clock_boot_id(char out[37])
{
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    size_t n = 0;
    if (f) {
        n = fread(out, 1, 36, f);
        fclose(f);
    }
    out[n == 36 ? 36 : 0] = 0;
}

void
clock_replace(int64_t (*now_ms)(void))
{
    replaced_now_ms = now_ms;
}
