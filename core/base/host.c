/*
 * What the host permits: see host.h.
 *
 * The main thread, at start.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/base/buf.h"

enum { HOST_HELD_MAX = 12, MEMBERSHIP_MAX_BYTES = 4096 };

/* The number in <folder>/pids.max; INT64_MAX: there is none, or "max". */
static int64_t
read_pids_max(struct str folder)
{
    struct buf name = {0};
    char text[32] = "";
    int64_t n = INT64_MAX;
    FILE *f;
    buf_append_str(&name, folder);
    buf_append_z(&name, "/pids.max");
    buf_append_c(&name, 0);
    f = fopen(name.p, "re");
    if (f && fgets(text, sizeof text, f)) {
        struct str number = str_slice(str_of(text), 0, strcspn(text, "\n"));
        if (str_to_int(number, 0, INT64_MAX, &n) != RC_OK)
            n = INT64_MAX;
    }
    if (f)
        fclose(f);
    buf_fini(&name);
    return n;
}

/* Of the group and of those above it, up to the root. */
static int64_t
climb(const char *root, const char *hierarchy, struct str group)
{
    int64_t min = INT64_MAX;
    for (;;) {
        struct buf folder = {0};
        int64_t n;
        buf_append_z(&folder, root);
        buf_append_z(&folder, hierarchy);
        buf_append_str(&folder, group);
        n = read_pids_max(buf_str(&folder));
        buf_fini(&folder);
        if (n < min)
            min = n;
        if (group.len == 0)
            return min;
        while (group.len && group.p[group.len - 1] != '/')
            group.len--;
        if (group.len)
            group.len--;
    }
}

int64_t
host_cgroup_max(const char *membership, const char *root)
{
    struct str rest = str_of(membership);
    int64_t min = INT64_MAX;
    while (rest.len) {
        struct str line = str_slice(rest, 0, str_index(rest, '\n'));
        struct str controllers = str_slice(line, str_index(line, ':') + 1, line.len);
        size_t colon = str_index(controllers, ':');
        struct str group = str_slice(controllers, colon + 1, controllers.len);
        int64_t n = INT64_MAX;
        controllers = str_slice(controllers, 0, colon);
        if (str_eqz(controllers, "")) /* version 2: one hierarchy */
            n = climb(root, "", group);
        else if (str_eqz(controllers, "pids"))
            n = climb(root, "/pids", group);
        if (n < min)
            min = n;
        rest = str_slice(rest, line.len + 1, rest.len);
    }
    return min;
}

int64_t
host_n_tasks_max(void)
{
    char membership[MEMBERSHIP_MAX_BYTES];
    struct rlimit limit;
    int64_t n_tasks = INT64_MAX;
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (f) {
        membership[fread(membership, 1, sizeof membership - 1, f)] = 0;
        n_tasks = host_cgroup_max(membership, "/sys/fs/cgroup");
        fclose(f);
    }
    if (getrlimit(RLIMIT_NPROC, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        limit.rlim_cur < (rlim_t)n_tasks)
        n_tasks = (int64_t)limit.rlim_cur;
    return n_tasks;
}

size_t
host_n_held_max(void)
{
    int64_t n = host_n_tasks_max() / 4;
    if (n > HOST_HELD_MAX)
        n = HOST_HELD_MAX;
    return n < 1 ? 1 : (size_t)n;
}
