/*
 * Templates; see conf_template.h.
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/ctl/conf_template.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ctl_conf.h"

enum { N_TEMPLATES = sizeof CONF_TEMPLATES / sizeof CONF_TEMPLATES[0] };

/* ---- values ---- */

void
conf_list_fini(struct conf_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->at[i].text);
        free(l->at[i].host);
        free(l->at[i].host_bare);
        free(l->at[i].port);
        free(l->at[i].listen);
    }
}

void
conf_values_fini(struct conf_values *v)
{
    for (size_t i = 0; i < v->n; i++)
        free(v->list[i].text);
    conf_list_fini(&v->fcgi);
    conf_list_fini(&v->ws);
    *v = (struct conf_values){0};
}

void
conf_set(struct conf_values *v, const char *name, struct str text)
{
    assert(v->n < CONF_VALUES_MAX);
    v->list[v->n].name = name;
    v->list[v->n++].text = str_dup(text);
}

void
conf_set_flag(struct conf_values *v, const char *name, bool is_set)
{
    conf_set(v, name, is_set ? STR("1") : STR_NONE);
}

static char *
formatted(const char *format, const char *a, const char *b)
{
    struct buf text = {0};
    for (; *format; format++) {
        if (*format == '1')
            buf_append_z(&text, a);
        else if (*format == '2')
            buf_append_z(&text, b);
        else
            buf_append_c(&text, *format);
    }
    return buf_take(&text, NULL);
}

/* What one connects to when a program listens there. */
static struct str
reachable(struct str host)
{
    if (host.len == 0 || str_eqz(host, "*") || str_eqz(host, "0.0.0.0") ||
        str_eqz(host, "localhost"))
        return STR("127.0.0.1");
    return str_eqz(host, "::") ? STR("::1") : host;
}

enum rc
conf_add_address(struct conf_list *l, const char *text)
{
    struct conf_address *a = &l->at[l->n];
    struct str host = str_of(text), port;
    size_t colon = host.len;
    int64_t number;
    bool is_any, is_v6;
    if (l->n == CONF_ADDRESSES_MAX)
        return RC_TOOBIG;
    if (text[0] == '/') {
        *a = (struct conf_address){xstrdup(text), xstrdup(""),   xstrdup(""),
                                   xstrdup(""),   xstrdup(text), true};
        l->n++;
        return RC_OK;
    }
    while (colon && text[colon - 1] != ':')
        colon--;
    port = str_slice(host, colon, host.len);
    if (colon == 0 || str_to_int(port, 1, 65535, &number) != RC_OK)
        return RC_INVALID;
    host.len = colon - 1;
    if (host.len > 1 && host.p[0] == '[' && host.p[host.len - 1] == ']')
        host = str_slice(host, 1, host.len - 1);
    is_any = host.len == 0 || str_eqz(host, "*");
    host = reachable(host);
    is_v6 = memchr(host.p, ':', host.len) != NULL;
    a->is_unix = false;
    a->text = xstrdup(text);
    a->port = str_dup(port);
    a->host_bare = str_dup(host);
    a->host = formatted(is_v6 ? "[1]" : "1", a->host_bare, "");
    a->listen = is_any ? str_dup(port) : formatted("1:2", a->host, a->port);
    l->n++;
    return RC_OK;
}

/* ---- expansion ---- */

struct expansion {
    struct buf *out;
    const struct conf_values *v;
    const struct conf_address *address; /* within %each; NULL: not */
    bool is_last;
};

static const char *
find_text(struct str name)
{
    for (size_t i = 0; i < N_TEMPLATES; i++)
        if (str_eqz(name, CONF_TEMPLATES[i].name))
            return CONF_TEMPLATES[i].text;
    return NULL;
}

/* NULL: no such value. */
static const char *
find_value(const struct expansion *x, struct str name)
{
    const struct conf_address *a = x->address;
    const struct {
        const char *name, *text;
    } of_address[] = {
        {"address", a ? a->text : NULL},        {"host", a ? a->host : NULL},
        {"host_bare", a ? a->host_bare : NULL}, {"port", a ? a->port : NULL},
        {"listen", a ? a->listen : NULL},       {"unix", a && a->is_unix ? "1" : ""},
        {"comma", x->is_last ? "" : ","}};
    for (size_t i = 0; a && i < sizeof of_address / sizeof *of_address; i++)
        if (str_eqz(name, of_address[i].name))
            return of_address[i].text;
    for (size_t i = 0; i < x->v->n; i++)
        if (str_eqz(name, x->v->list[i].name))
            return x->v->list[i].text;
    return NULL;
}

static void
expand_line(const struct expansion *x, struct str line)
{
    while (line.len) {
        size_t at = str_index(line, '@');
        struct str name = str_slice(line, at + 1, line.len);
        size_t n = strspn(name.p, "abcdefghijklmnopqrstuvwxyz_");
        buf_append_str(x->out, str_slice(line, 0, at));
        if (at == line.len)
            break;
        if (n && n < name.len && name.p[n] == '@') {
            const char *text = find_value(x, str_slice(name, 0, n));
            assert(text);
            buf_append_z(x->out, text);
            line = str_slice(name, n + 1, name.len);
        } else {
            buf_append_c(x->out, '@');
            line = name;
        }
    }
    buf_append_c(x->out, '\n');
}

static struct str
next_line(struct str *text)
{
    struct str line = str_slice(*text, 0, str_index(*text, '\n'));
    *text = str_slice(*text, line.len + 1, text->len);
    return line;
}

/* The lines up to the %end that belongs to a %if or %each, or up to its %else: then the
 * rest is in `other`. */
static struct str
take_block(struct str *text, struct str *other)
{
    struct str block = *text, *part = &block;
    size_t depth = 0;
    block.len = other->len = 0;
    for (;;) {
        struct str line;
        assert(text->len);
        line = next_line(text);
        if (str_has_prefix(line, STR("%if ")) || str_has_prefix(line, STR("%each ")))
            depth++;
        if (depth == 0 && str_eqz(line, "%end"))
            return block;
        if (depth == 0 && str_eqz(line, "%else")) {
            *other = (struct str){text->p, 0};
            part = other;
            continue;
        }
        if (str_eqz(line, "%end"))
            depth--;
        part->len += line.len + 1;
    }
}

static void expand(const struct expansion *x, struct str text);

static void
expand_each(const struct expansion *x, const struct conf_list *l, struct str block)
{
    for (size_t i = 0; i < l->n; i++) {
        struct expansion one = *x;
        one.address = &l->at[i];
        one.is_last = i + 1 == l->n;
        expand(&one, block);
    }
}

static void
expand(const struct expansion *x, struct str text)
{
    while (text.len) {
        struct str line = next_line(&text), other = STR_NONE, block;
        if (str_has_prefix(line, STR("%if "))) {
            const char *value = find_value(x, str_slice(line, 4, line.len));
            assert(value);
            block = take_block(&text, &other);
            expand(x, value[0] ? block : other);
        } else if (str_has_prefix(line, STR("%each "))) {
            bool is_ws = str_eqz(line, "%each ws");
            block = take_block(&text, &other);
            expand_each(x, is_ws ? &x->v->ws : &x->v->fcgi, block);
        } else if (str_has_prefix(line, STR("%include "))) {
            const char *included = find_text(str_slice(line, 9, line.len));
            assert(included);
            expand(x, str_of(included));
        } else {
            expand_line(x, line);
        }
    }
}

bool
conf_has_template(struct str name)
{
    return name.len && name.p[0] != '_' && find_text(name) != NULL;
}

const char *
conf_template_name(size_t i)
{
    for (size_t at = 0; at < N_TEMPLATES; at++)
        if (CONF_TEMPLATES[at].name[0] != '_' && i-- == 0)
            return CONF_TEMPLATES[at].name;
    return NULL;
}

void
conf_expand(struct buf *out, const char *name, const struct conf_values *v)
{
    struct expansion x = {out, v, NULL, false};
    const char *text = find_text(str_of(name));
    assert(text);
    expand(&x, str_of(text));
}
