/*
 * The text of an application in SQL (docs/sql.md): its statements one after the other,
 * and to which section each belongs. Pure: knows the words of SQL that it needs, and no
 * database.
 *
 *     -- version 1      what follows runs once
 *     -- always         what follows, and what comes before the first version, runs at
 * each change of the file
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_STORE_SCRIPT_H
#define SIOLITE_STORE_SCRIPT_H

#include "core/base/buf.h"
#include "core/base/rc.h"

struct store_script {
    struct str text; /* borrowed */
    size_t at;
    int version; /* of the section; 0: always */
    int last_version;
};

struct store_script_part { /* borrowed from the text */
    struct str sql;        /* one statement */
    size_t offset;         /* where it begins in the text */
    int version;
};

/* `text`: of a file. */
void store_script_init(struct store_script *s, struct str text);
/* RC_NOTFOUND: that was all. RC_INVALID: what is wrong stands in err, *out says where. */
MUST_CHECK enum rc
store_script_next(struct store_script *s, struct store_script_part *out, struct buf *err);
/* The line of a place in the text, from 1. */
size_t store_script_line(struct str text, size_t offset);

struct store_script_trigger {
    struct str name, table; /* without quotes */
    size_t body;            /* where BEGIN stands */
};
/* Is it a CREATE TRIGGER as far as its BEGIN? */
bool store_script_trigger(struct str sql, struct store_script_trigger *out);

#endif
