/*
 * The public views that our programs use by name, for others who give names and values:
 * the HTTP API, the web hook, the command line. What a verb does, and what it refuses,
 * stands in schema/views/ alone.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_STORE_VIEW_H
#define SIOLITE_STORE_VIEW_H

#include "store/internal.h"

struct store_view {
    const char *name;
    const char *verb; /* the columns that an INSERT may name, with a space behind each;
                         NULL: it is not a verb */
    bool is_read;     /* it may be read */
};

/* NULL: none of that name. */
const struct store_view *store_view_find(struct str name);
/* The names of all verbs, or of all that may be read, with ", " between them. */
void store_view_list(struct buf *b, bool is_verb);
/* Takes the next word off a list of columns; false at its end. */
bool store_view_column(struct str *list, struct str *column);

#endif
