/*
 * Where a database lies, before anybody opens it: the file system, and what the file says
 * it is.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_STORE_PLACE_H
#define SIOLITE_STORE_PLACE_H

#include "core/base/buf.h"

enum store_place {
    STORE_PLACE_LOCAL,
    STORE_PLACE_UNSURE, /* shared memory or locks may be missing: SQLite finds out */
    STORE_PLACE_NETWORK /* WAL mode is broken there, now or under load */
};

/* What statfs(2) says; *name is a literal for people. */
enum store_place store_place_classify(uint32_t type, const char **name);
/* The file's, or its folder's if it isn't there. LOCAL if that can't be found out. */
enum store_place store_place_find(const char *database, const char **name);
/* RC_INVALID: on a network file system. `err`: one line. */
MUST_CHECK enum rc store_place_check(const char *database, struct buf *err);

/* Why `file`, the database or one beside it, can't be opened for writing: one line, of an
 * errno. */
void store_place_say(struct buf *err, const char *file, int error);

struct store_peek {
    int64_t application_id, version;  /* as the file says; the WAL may say more */
    bool is_ours, is_newer, is_older; /* of ours: than this program's schema */
};
/* Reads the head of the file. Only before this process has opened the database: it drops
 * SQLite's locks. RC_NOTFOUND: no such file, or an empty one; RC_INVALID: not a database
 * of SQLite; RC_IO: it can't be read. */
MUST_CHECK enum rc store_place_peek(const char *database, struct store_peek *out);

/* Of the SQLite that is in use: "3.40.1". */
const char *store_place_sqlite(void);

#endif
