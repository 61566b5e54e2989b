/*
 * What an application registered: filled by app_load(), read by the engine. Loads the
 * shared object.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_APP_REGISTRY_H
#define SIOLITE_CORE_APP_REGISTRY_H

#include <regex.h>

#include "core/app/app.h"
#include "core/base/buf.h"

struct app_handler { /* a list, in order of registration */
    struct app_handler *next;
    char *name; /* event or continuation; NULL: any */
    app_fn *fn;
};

struct app_history_rule { /* a list, in order of registration */
    struct app_history_rule *next;
    char *room;
    int n;
    int64_t ms; /* -1: for ever */
};

struct app_nsp {
    struct app_nsp *next;
    struct app *app; /* whose it is; borrowed */
    char *name;      /* "/chat", or the pattern without '~' */
    bool is_pattern;
    regex_t pattern; /* valid if is_pattern */
    struct app_handler *use, *use_packet, *on_connect, *on_event, *on_disconnect,
        *on_later, *on_server_event, *on_outgoing, *on_presence;
    struct app_history_rule *histories;
};

struct app_sql_text {
    struct app_sql_text *next;
    char *name; /* statement; NULL: a schema step */
    int version;
    char *sql;
};

struct app {
    struct app_nsp *nsps; /* "/" first */
    struct app_handler *on_request, *on_headers, *on_connection_error;
    bool has_outgoing;            /* one of them listens to what it emits */
    struct app_sql_text *schemas; /* in order of registration */
    struct app_sql_text *statements;
    void *handle; /* dlopen */
    char *error;  /* the first mistake made while registering, else NULL */
};

/* An application without handlers ("/" exists, accepts everybody). */
void app_registry_init(struct app *a);
void app_registry_fini(struct app *a);
/* Loads the shared object and lets it register. `err` gets one line: missing file,
 * missing symbol app_load, wrong ABI (both numbers), app_load refused, a mistake while
 * registering (name and reason). RC_INVALID or RC_NOTFOUND then. n_before: how many this
 * process loaded before; a file that was replaced meanwhile is another one. */
MUST_CHECK enum rc
app_registry_load(struct app *a, const char *file, unsigned n_before, struct buf *err);
/* Namespaces of applications that aren't C: names and ~patterns as in app_nsp, separated
 * by spaces. */
MUST_CHECK enum rc
app_registry_add_nsps(struct app *a, const char *names, struct buf *err);
/* The namespace that serves `name`: an exact one first, else the first pattern that
 * matches all of it; NULL: invalid. */
const struct app_nsp *app_registry_find(const struct app *a, struct str name);
/* By event or continuation name; for events the handler with NULL name is the fallback.
 * NULL if there is none. */
const struct app_handler *
app_handler_find(const struct app_handler *list, struct str name, bool has_fallback);

#endif
