/*
 * The table of options (house style O3), for the modules that read it: cfg.c parses by
 * it, cfg_option.c prints it. Programs include cfg.h only.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_BASE_CFG_OPTION_H
#define SIOLITE_CORE_BASE_CFG_OPTION_H

#include "core/base/cfg.h"

enum cfg_type {
    CFG_T_TEXT,
    CFG_T_FILE,       /* a path; relative to the folder of the file that names it */
    CFG_T_URL_PATH,   /* stored without its trailing slash */
    CFG_T_LISTEN,     /* "", HOST:PORT, PORT or /path */
    CFG_T_FLAG,       /* bool: on, off */
    CFG_T_COUNT,      /* int64_t */
    CFG_T_SIZE,       /* int64_t, bytes; k and M */
    CFG_T_TIME,       /* int64_t, ms; a bare number is milliseconds */
    CFG_T_SECONDS,    /* int64_t, s; a bare number is seconds */
    CFG_T_CHOICE,     /* an enum: one of the words */
    CFG_T_TRANSPORTS, /* a list of polling, websocket */
    CFG_T_SET,        /* unsigned: bits, a list of the words */
    CFG_T_HEADER      /* header(NAME), repeated */
};

struct cfg_word {
    const char *text; /* NULL ends the list */
    int64_t value;
};

struct cfg_option {
    const char *name;
    enum cfg_type type;
    size_t at;            /* offset in struct cfg */
    const char *fallback; /* the default, as text */
    int64_t min, max;     /* of numbers */
    /* What a choice allows, or what may stand instead of a number. */
    const struct cfg_word *words;
    const char *help;
};

extern const struct cfg_option CFG_OPTIONS[];
extern const size_t CFG_N_OPTIONS;

/* Is it used at the start only, so that cfg_replace() leaves it as it is? */
bool cfg_option_is_fixed(const struct cfg_option *o);
/* What the option allows, in words. */
void cfg_option_print_allowed(struct buf *b, const struct cfg_option *o);

#endif
