/*
 * Creating, checking and migrating the database file.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_STORE_OPEN_H
#define SIOLITE_STORE_OPEN_H

#include "store/internal.h"

#define STORE_APPLICATION_ID 1397312335 /* "SIO" and O */

/* The file exists afterwards; an empty one is made if need be. */
MUST_CHECK enum rc store_open_file(const char *database, struct buf *err);
/* The write connection to a database of the newest schema: refuses files of others and of
 * newer versions, switches to WAL, migrates. The caller holds the queue lock. */
MUST_CHECK enum rc
store_open_conn(struct store_conn *c, const struct cfg *cfg, struct buf *err);
/* In the open transaction of `c`: the migrations above `version`, and the views anew. */
MUST_CHECK enum rc
store_open_schema(struct store_conn *c, int64_t version, struct buf *err);
/* In the open transaction of `c`: after a boot, times are shifted and the epoch is
 * raised. */
MUST_CHECK enum rc store_open_boot(struct store_conn *c, int64_t *epoch);
/* Likewise: the limits that triggers of the public views know. */
MUST_CHECK enum rc store_open_limits(struct store_conn *c, const struct cfg *cfg);
/* In the open transaction of `c`: seq may have gone back; offsets of clients get old. */
MUST_CHECK enum rc store_open_raise(struct store_conn *c);

#endif
