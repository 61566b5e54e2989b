/*
 * Values in and out of statements, and statements that may take long because their text
 * or their values come from outside.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_STORE_VALUE_H
#define SIOLITE_STORE_VALUE_H

#include "store/internal.h"

void store_value_bind_one(sqlite3_stmt *q, int at, const struct store_value *v);
/* The parameters 1 to n; borrowed until the statement is done. */
void store_value_bind(sqlite3_stmt *q, const struct store_value *values, size_t n);
/* Runs it to its end; `fn` gets its rows and may be NULL. is_bounded: for 50 ms of
 * CPU time at most, so that a machine that is held up makes nothing fail;
 * SQLite rolls back the whole transaction where it interrupts a write. */
MUST_CHECK enum rc store_value_run(struct store_conn *c, sqlite3_stmt *q, bool is_bounded,
                                   store_row_fn *fn, void *arg);
/* Likewise for a step that is the application's: bounded, and what it takes counts for
 * its unit (store_step_has_time). */
MUST_CHECK enum rc
store_value_run_app(struct store_write *w, struct store_unit *u, sqlite3_stmt *q);
/* Why store_value_run() failed. */
const char *store_value_error(struct store_conn *c, enum rc rc);

#endif
