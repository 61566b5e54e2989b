/*
 * Rules of the administrator, which stand in rows: bans, and limits that differ from the
 * configuration.
 *
 * Reads: loop thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/clock.h"
#include "store/internal.h"
#include "store/read.h"

enum rc
store_read_bounds(struct store *st, store_bound_fn *fn, void *arg)
{
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_rule_bounds, &q);
    if (rc != RC_OK)
        return rc;
    while ((rc = conn_step(q)) == RC_OK)
        fn(arg, conn_column(q, 0), sqlite3_column_int64(q, 1));
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

enum rc
store_read_has_bans(struct store *st, bool *out)
{
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_rule_has_bans, &q);
    if (rc != RC_OK)
        return rc;
    rc = conn_step(q);
    if (rc == RC_OK)
        *out = sqlite3_column_int(q, 0) != 0;
    sqlite3_reset(q);
    return rc;
}

enum rc
store_read_is_banned(struct store *st, struct str remote, bool *out)
{
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_rule_banned, &q);
    if (rc != RC_OK)
        return rc;
    conn_bind_str(q, STORE_PARAM_rule_banned_remote, remote);
    sqlite3_bind_int64(q, STORE_PARAM_rule_banned_now_s, clock_wall_ms() / 1000);
    return store_read_has_row(q, out);
}
