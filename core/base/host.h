/*
 * How many processes and threads this machine permits, above all to programs that a web
 * server starts.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_BASE_HOST_H
#define SIOLITE_CORE_BASE_HOST_H

#include <stddef.h>
#include <stdint.h>

/* Processes and threads that RLIMIT_NPROC and the control group permit; INT64_MAX: no
 * limit. */
int64_t host_n_tasks_max(void);

/* max_held=auto: how many processes may be occupied by held polls. A quarter of the tasks
 * that RLIMIT_NPROC and the control group permit, since each of our processes is two
 * tasks and others need some too; HOST_HELD_MAX at most, because hosts have limits that a
 * program can't see; at least 1. */
size_t host_n_held_max(void);

/* pids.max of the control groups that `membership` (the text of /proc/self/cgroup) names,
 * and of those above them, in the tree mounted at `root`; INT64_MAX: none. */
int64_t host_cgroup_max(const char *membership, const char *root);

#endif
