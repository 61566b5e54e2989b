/*
 * Figures of the load generator: a histogram, what the server's processes use, and what
 * went wrong.
 *
 * SPDX-License-Identifier: MIT
 */
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/load.h"

enum { PROCESSES_MAX = 4096 };

uint64_t
load_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- errors ---- */

void
load_die(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("sio_load: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

void
load_bad(struct load *l, const char *fmt, ...)
{
    va_list args;
    if (l->n_bad++ > 0)
        return;
    va_start(args, fmt);
    vsnprintf(l->first_error, sizeof l->first_error, fmt, args);
    va_end(args);
    for (char *p = l->first_error; *p != '\0'; p++) /* it becomes a JSON string */
        if ((unsigned char)*p < ' ' || *p == '"' || *p == '\\')
            *p = '.';
}

/* ---- histogram ---- */

void
load_hist_add(struct load_hist *h, uint64_t ns)
{
    size_t i = (size_t)ns;
    if (ns >= LOAD_STEPS) {
        int power = 63 - __builtin_clzll(ns);
        i = (size_t)(power - 5) * LOAD_STEPS +
            (size_t)((ns >> (power - 6)) & (LOAD_STEPS - 1));
    }
    h->buckets[i < LOAD_BUCKETS ? i : LOAD_BUCKETS - 1]++;
    h->n++;
    h->sum += (double)ns;
    if (ns > h->max)
        h->max = ns;
    if (h->min == 0 || ns < h->min)
        h->min = ns;
}

static double
middle_of(size_t bucket)
{
    if (bucket < LOAD_STEPS)
        return (double)bucket;
    int shift = (int)(bucket / LOAD_STEPS) - 1;
    return (double)((uint64_t)(LOAD_STEPS + bucket % LOAD_STEPS) << shift) +
           (double)(UINT64_C(1) << shift) / 2;
}

static double
quantile_us(const struct load_hist *h, double q)
{
    uint64_t rank = (uint64_t)(q * (double)h->n), n = 0;
    size_t i = 0;
    if (h->n == 0)
        return 0;
    if (rank >= h->n)
        rank = h->n - 1;
    while (i < LOAD_BUCKETS - 1 && n + h->buckets[i] <= rank)
        n += h->buckets[i++];
    double ns = middle_of(i);
    return (ns > (double)h->max ? (double)h->max : ns) / 1e3;
}

void
load_hist_print(const char *name, const struct load_hist *h)
{
    printf("\"%s\":{\"n\":%llu,\"min\":%.1f,\"mean\":%.1f,\"p50\":%.1f,\"p90\":%.1f,"
           "\"p99\":%.1f,\"p999\":%.1f,"
           "\"max\":%.1f}",
           name, (unsigned long long)h->n, (double)h->min / 1e3,
           h->n ? h->sum / (double)h->n / 1e3 : 0, quantile_us(h, .5), quantile_us(h, .9),
           quantile_us(h, .99), quantile_us(h, .999), (double)h->max / 1e3);
}

/* ---- processes ---- */

/* The parent of a process, -1 if there is none such; adds its CPU time to `u` if that is
 * not NULL. */
static int
parent_of(int pid, struct load_usage *u)
{
    char name[64], text[1024];
    snprintf(name, sizeof name, "/proc/%d/stat", pid);
    FILE *f = fopen(name, "r");
    if (f == NULL)
        return -1;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *p = strrchr(text, ')'); /* the program's name may hold anything */
    unsigned long user = 0, sys = 0;
    int parent = 0;
    if (p == NULL || sscanf(p + 2, "%*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                            &parent, &user, &sys) != 3)
        return -1;
    if (u != NULL) {
        u->user_s += (double)user / (double)sysconf(_SC_CLK_TCK);
        u->sys_s += (double)sys / (double)sysconf(_SC_CLK_TCK);
    }
    return parent;
}

static void
add_process(struct load_usage *u, int pid)
{
    char name[64], line[256];
    long kb;
    if (parent_of(pid, u) < 0)
        return;
    u->n_processes++;
    snprintf(name, sizeof name, "/proc/%d/smaps_rollup", pid);
    FILE *f = fopen(name, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "Rss: %ld", &kb) == 1)
            u->rss_kb += kb;
        else if (sscanf(line, "Pss: %ld", &kb) == 1)
            u->pss_kb += kb;
    }
    if (f != NULL)
        fclose(f);
}

static bool
is_in(const int *pids, size_t n, int pid)
{
    size_t i = 0;
    while (i < n && pids[i] != pid)
        i++;
    return i < n;
}

/* Adds the children of those that are there; false: there were no more. */
static bool
add_children(int *pids, size_t *n)
{
    size_t before = *n;
    DIR *proc = opendir("/proc");
    const struct dirent *entry;
    while (proc != NULL && (entry = readdir(proc)) != NULL && *n < PROCESSES_MAX) {
        int pid = atoi(entry->d_name);
        if (pid > 0 && is_in(pids, *n, parent_of(pid, NULL)) && !is_in(pids, *n, pid))
            pids[(*n)++] = pid;
    }
    if (proc != NULL)
        closedir(proc);
    return *n > before;
}

struct load_usage
load_usage_get(const struct load_options *o)
{
    int pids[PROCESSES_MAX];
    size_t n = 0;
    struct load_usage u = {0};
    for (int i = 0; i < o->n_pids; i++)
        pids[n++] = o->pids[i];
    while (o->has_children && n > 0 && add_children(pids, &n))
        ;
    for (size_t i = 0; i < n; i++)
        add_process(&u, pids[i]);
    return u;
}
