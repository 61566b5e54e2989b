/*
 * The log: a line an event on stderr. Each line is built on the stack and leaves in one
 * write(2), so lines of several threads and processes never mix; what does not fit is
 * cut, never split.
 *
 * Invariants: 1. no line is longer than LINE_MAX_BYTES. 2. no byte of a value can end a
 * line or forge a field: control characters, quotes and bytes that are not UTF-8 are
 * escaped.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/log.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"

enum { LINE_MAX_BYTES = 4000, ID_SHOWN = 6 };

static const char *const LEVEL_NAMES[] = {"error", "warn", "info", "debug"};

struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
};

/* Set once in main() before any thread; the level may change later. */
static const char *log_program = "siolite";
static atomic_int log_level = LOG_INFO;

static void
add(struct line *l, const char *p, size_t n)
{
    size_t room = sizeof l->text - 1 - l->len; /* the newline always fits */
    if (n > room)
        n = room;
    memcpy(l->text + l->len, p, n);
    l->len += n;
}

static void
add_z(struct line *l, const char *z)
{
    add(l, z, strlen(z));
}

static void
add_time(struct line *l)
{
    int64_t now_ms = clock_wall_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm tm;
    char text[40], millis[12];
    gmtime_r(&seconds, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(millis, sizeof millis, ".%03dZ", (int)(now_ms % 1000));
    add_z(l, text);
    add_z(l, millis);
}

static bool
is_plain(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= ' ' || c == '"' || c == '\\' || c == '=' || c >= 0x7f)
            return false;
    }
    return s.len > 0;
}

static void
add_value(struct line *l, struct str s)
{
    if (is_plain(s)) {
        add(l, s.p, s.len);
        return;
    }
    add_z(l, "\"");
    for (size_t i = 0; i < s.len;) {
        uint32_t cp;
        size_t n = str_utf8_next(s, i, &cp);
        if (cp == '"' || cp == '\\') {
            add_z(l, "\\");
            add(l, s.p + i, n);
        } else if (cp == '\n') {
            add_z(l, "\\n");
        } else if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || cp == STR_BAD_UTF8) {
            for (size_t j = 0; j < n; j++) {
                char hex[5];
                snprintf(hex, sizeof hex, "\\x%02x", (unsigned char)s.p[i + j]);
                add_z(l, hex);
            }
        } else {
            add(l, s.p + i, n);
        }
        i += n;
    }
    add_z(l, "\"");
}

static void
add_field(struct line *l, const struct log_field *f)
{
    char number[24];
    add_z(l, " ");
    add_z(l, f->key);
    add_z(l, "=");
    switch (f->type) {
    case LOG_F_END:
        break;
    case LOG_F_Z:
        add_value(l, str_of(f->v.z));
        break;
    case LOG_F_S:
        add_value(l, f->v.s);
        break;
    case LOG_F_I:
        snprintf(number, sizeof number, "%" PRId64, f->v.i);
        add_z(l, number);
        break;
    case LOG_F_ID:
        add_value(l, str_slice(str_of(f->v.z), 0, ID_SHOWN));
        break;
    }
}

void
log_open(const char *program, enum log_level level)
{
    log_program = program;
    log_set_level(level);
}

void
log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

bool
log_is_on(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&log_level, memory_order_relaxed);
}

void
log_write(enum log_level level, const char *module, const char *event,
          const struct log_field *fields)
{
    struct line l;
    ssize_t ignored;
    l.len = 0;
    add_time(&l);
    add_z(&l, " ");
    add_z(&l, LEVEL_NAMES[level]);
    add_z(&l, " ");
    add_z(&l, log_program);
    add_z(&l, " ");
    add_z(&l, module);
    add_z(&l, " ");
    add_z(&l, event);
    for (; fields->type != LOG_F_END; fields++)
        add_field(&l, fields);
    l.text[l.len++] = '\n';
    ignored = write(STDERR_FILENO, l.text, l.len); /* nobody is left to tell */
    (void)ignored;
}
