/*
 * Time. Tests replace the source (house style C3).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_BASE_CLOCK_H
#define SIOLITE_CORE_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_now_ms(void); /* CLOCK_BOOTTIME: for deadlines in the database */
int64_t clock_now_us(void); /* CLOCK_MONOTONIC: for measuring durations in one process */
int64_t
clock_cpu_us(void); /* CLOCK_THREAD_CPUTIME_ID: what the calling thread has used */
int64_t clock_rough_ms(void); /* the same, late by a tick of the kernel (4 ms or so) at
                                 most; a tenth of the cost */
int64_t clock_wall_ms(void);  /* Unix time, for logs and views only */
/* The kernel's boot id, 36 characters and NUL; "" where there is none. */
void clock_boot_id(char out[37]);
/* For tests: NULL restores the system clock of clock_now_ms(). */
void clock_replace(int64_t (*now_ms)(void));

#endif
