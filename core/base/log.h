/*
 * The log: one line an event on stderr, `key=value` (house style O1, O2). Thread-safe: a
 * line is one write(2). Values with spaces, quotes or control characters are quoted and
 * escaped here; callers pass them raw.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_BASE_LOG_H
#define SIOLITE_CORE_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/str.h"

enum log_level { LOG_ERROR = 0, LOG_WARN = 1, LOG_INFO = 2, LOG_DEBUG = 3 };

struct log_field {
    const char *key;
    enum { LOG_F_END = 0, LOG_F_Z, LOG_F_S, LOG_F_I, LOG_F_ID } type;
    union {
        const char *z;
        struct str s;
        int64_t i;
    } v;
};

/* Fields: text that is NUL-terminated, text, a number, an id (its first 6 characters). */
#define LOG_Z(k, val) ((struct log_field){.key = (k), .type = LOG_F_Z, .v.z = (val)})
#define LOG_S(k, val) ((struct log_field){.key = (k), .type = LOG_F_S, .v.s = (val)})
#define LOG_I(k, val) ((struct log_field){.key = (k), .type = LOG_F_I, .v.i = (val)})
#define LOG_ID(k, val) ((struct log_field){.key = (k), .type = LOG_F_ID, .v.z = (val)})

/* Called once in main(), before any thread. `program` is a literal. */
void log_open(const char *program, enum log_level level);
void log_set_level(enum log_level level);
bool log_is_on(enum log_level level);
/* `module` and `event` are literals ("engine", "session.open"); fields end with a zeroed
 * one. */
void log_write(enum log_level level, const char *module, const char *event,
               const struct log_field *fields);

/* The end mark is added before the event is split off, so that the rest is never empty
 * (no __VA_OPT__ in C11). */
#define log_at(level, module, ...)                                                       \
    LOG_AT_(level, module, __VA_ARGS__, {.type = LOG_F_END})
#define LOG_AT_(level, module, event, ...)                                               \
    do {                                                                                 \
        if (log_is_on(level))                                                            \
            log_write((level), (module), (event),                                        \
                      (const struct log_field[]){__VA_ARGS__});                          \
    } while (0)
#define log_error(module, ...) log_at(LOG_ERROR, module, __VA_ARGS__)
#define log_warn(module, ...) log_at(LOG_WARN, module, __VA_ARGS__)
#define log_info(module, ...) log_at(LOG_INFO, module, __VA_ARGS__)
#define log_debug(module, ...) log_at(LOG_DEBUG, module, __VA_ARGS__)

#endif
