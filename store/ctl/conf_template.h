/*
 * Templates of `siolite conf` (store/ctl/conf/NAME.in): text with
 *
 *   @name@           a value; an @ that begins no such name is an @
 *   %if name         lines up to %else or %end only if the value is not empty
 *   %each list       lines up to %end once for each address of the list, with the values
 *                    address, host, host_bare, port, listen, unix (not empty: a path) and
 *                    comma (empty behind the last one)
 *   %include name    another template
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_STORE_CTL_CONF_TEMPLATE_H
#define SIOLITE_STORE_CTL_CONF_TEMPLATE_H

#include "core/base/buf.h"

enum { CONF_VALUES_MAX = 48, CONF_ADDRESSES_MAX = 16 };

struct conf_address { /* strings are owned */
    char *text;       /* as it was given */
    char *host;       /* to connect to; of IPv6 in brackets; "" of a path */
    char *host_bare;  /* without them */
    char *port;       /* "" of a path */
    char *listen;     /* as systemd wants it */
    bool is_unix;
};

struct conf_list {
    struct conf_address at[CONF_ADDRESSES_MAX];
    size_t n;
};

struct conf_values { /* all zero is empty */
    struct {
        const char *name;
        char *text; /* owned */
    } list[CONF_VALUES_MAX];
    size_t n;
    struct conf_list fcgi, ws;
};

void conf_list_fini(struct conf_list *l);
void conf_values_fini(struct conf_values *v);
void conf_set(struct conf_values *v, const char *name, struct str text);
void conf_set_flag(struct conf_values *v, const char *name, bool is_set);
/* "HOST:PORT" or "/path". RC_INVALID: neither; RC_TOOBIG: too many. */
MUST_CHECK enum rc conf_add_address(struct conf_list *l, const char *text);

/* Is there a template of that name? */
bool conf_has_template(struct str name);
/* The names of those that are no parts, in their order; NULL behind the last one. */
const char *conf_template_name(size_t i);
/* A name that the template uses must have a value; anything else is a bug of ours. */
void conf_expand(struct buf *out, const char *name, const struct conf_values *v);

#endif
