/*
 * What an application registered, and how it gets into the program: the verbs that
 * app_load() calls, and dlopen around them. Leaves to others: what handlers do
 * (core/engine), whether the SQL is right (the store prepares it).
 *
 * Invariants:
 * 1. "/" exists and is the first namespace.
 * 2. The first mistake is kept in app.error and later ones are ignored; no verb returns
 *    NULL or stops the program, so that app_load() needs no checks.
 * 3. After app_registry_load() nothing here changes until app_registry_fini().
 *
 * Any process, on the thread that starts it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/app/registry.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of the linker; absent where the program is statically linked. */
extern const char _DYNAMIC[] __attribute__((weak));

static const char *const RESERVED_EVENTS[] = {
    "connect",       "connect_error", "disconnect",
    "disconnecting", "newListener",   "removeListener",
};

__attribute__((format(printf, 2, 3))) static void
mistake(struct app *a, const char *fmt, ...)
{
    va_list args;
    if (a->error)
        return;
    va_start(args, fmt);
    if (vasprintf(&a->error, fmt, args) < 0)
        a->error = xstrdup("out of memory");
    va_end(args);
}

/* For messages: a namespace as the application wrote it. */
#define NSP_FMT "%s%s"
#define NSP_ARG(n) (n)->is_pattern ? "~" : "", (n)->name

static struct app_nsp *
nsp_add(struct app *a, const char *name)
{
    struct app_nsp **at = &a->nsps;
    struct app_nsp *n = xcalloc(1, sizeof *n);
    while (*at)
        at = &(*at)->next;
    n->app = a;
    n->name = xstrdup(name);
    *at = n;
    return n;
}

static void
nsp_compile(struct app_nsp *n)
{
    char why[128];
    int code = regcomp(&n->pattern, n->name, REG_EXTENDED);
    if (code) {
        regerror(code, &n->pattern, why, sizeof why);
        mistake(n->app, "app_nsp(\"~%s\"): %s", n->name, why);
        return;
    }
    n->is_pattern = true;
}

/* `name` NULL: any, or a kind of handler that has no names. */
static void
handler_add(struct app_handler **list, const char *name, app_fn *fn)
{
    struct app_handler *h = xcalloc(1, sizeof *h);
    while (*list)
        list = &(*list)->next;
    h->name = name ? xstrdup(name) : NULL;
    h->fn = fn;
    *list = h;
}

static void
add_nameless(struct app_nsp *n, struct app_handler **list, const char *verb, app_fn *fn)
{
    if (fn == NULL)
        mistake(n->app, "%s(\"" NSP_FMT "\"): no function", verb, NSP_ARG(n));
    else
        handler_add(list, NULL, fn);
}

static bool
is_registered(const struct app_handler *list, const char *name)
{
    for (; list; list = list->next)
        if (name == NULL ? list->name == NULL : list->name && !strcmp(list->name, name))
            return true;
    return false;
}

static bool
is_reserved(const char *event)
{
    for (size_t i = 0; i < sizeof RESERVED_EVENTS / sizeof *RESERVED_EVENTS; i++)
        if (!strcmp(event, RESERVED_EVENTS[i]))
            return true;
    return false;
}

static bool
nsp_matches(const struct app_nsp *n, const char *name, size_t len)
{
    regmatch_t m;
    return regexec(&n->pattern, name, 1, &m, 0) == 0 && m.rm_so == 0 &&
           (size_t)m.rm_eo == len;
}

static void
handlers_free(struct app_handler *h)
{
    while (h) {
        struct app_handler *next = h->next;
        free(h->name);
        free(h);
        h = next;
    }
}

static void
nsp_free(struct app_nsp *n)
{
    handlers_free(n->use);
    handlers_free(n->use_packet);
    handlers_free(n->on_connect);
    handlers_free(n->on_event);
    handlers_free(n->on_disconnect);
    handlers_free(n->on_later);
    handlers_free(n->on_server_event);
    handlers_free(n->on_outgoing);
    handlers_free(n->on_presence);
    while (n->histories) {
        struct app_history_rule *h = n->histories;
        n->histories = h->next;
        free(h->room);
        free(h);
    }
    if (n->is_pattern)
        regfree(&n->pattern);
    free(n->name);
    free(n);
}

static void
sql_add(struct app_sql_text **list, const char *name, int version, const char *sql)
{
    struct app_sql_text *t = xcalloc(1, sizeof *t);
    while (*list)
        list = &(*list)->next;
    t->name = name ? xstrdup(name) : NULL;
    t->version = version;
    t->sql = xstrdup(sql);
    *list = t;
}

static void
sql_free(struct app_sql_text *t)
{
    while (t) {
        struct app_sql_text *next = t->next;
        free(t->name);
        free(t->sql);
        free(t);
        t = next;
    }
}

/* ---- what app_load() calls ---- */

struct app_nsp *
app_nsp(struct app *a, const char *name)
{
    const char *text = name ? name : "";
    bool is_pattern = *text == '~';
    struct app_nsp *n;

    if (is_pattern)
        text++;
    for (n = a->nsps; n; n = n->next)
        if (n->is_pattern == is_pattern && !strcmp(n->name, text))
            return n;
    if (!is_pattern && (*text != '/' || strchr(text, ',')))
        mistake(a, "app_nsp(\"%s\"): a namespace begins with '/' and has no ','", text);
    n = nsp_add(a, text);
    if (is_pattern)
        nsp_compile(n);
    return n;
}

/* `list`: of `a`. */
static void
add_request(struct app *a, struct app_handler **list, const char *verb, app_fn *fn)
{
    if (fn == NULL)
        mistake(a, "%s(): no function", verb);
    else
        handler_add(list, NULL, fn);
}

void
app_on_request(struct app *a, app_fn *fn)
{
    add_request(a, &a->on_request, "app_on_request", fn);
}

void
app_on_headers(struct app *a, app_fn *fn)
{
    add_request(a, &a->on_headers, "app_on_headers", fn);
}

void
app_on_connection_error(struct app *a, app_fn *fn)
{
    add_request(a, &a->on_connection_error, "app_on_connection_error", fn);
}

void
app_use(struct app_nsp *n, app_fn *fn)
{
    add_nameless(n, &n->use, "app_use", fn);
}

void
app_use_packet(struct app_nsp *n, app_fn *fn)
{
    add_nameless(n, &n->use_packet, "app_use_packet", fn);
}

void
app_on_connect(struct app_nsp *n, app_fn *fn)
{
    add_nameless(n, &n->on_connect, "app_on_connect", fn);
}

/* `list`: of `n`. */
static void
add_event(struct app_nsp *n, struct app_handler **list, const char *verb,
          const char *event, app_fn *fn)
{
    const char *why = fn == NULL                    ? "no function"
                      : event && is_reserved(event) ? "the name is reserved"
                      : is_registered(*list, event) ? "registered twice"
                                                    : NULL;
    if (why)
        mistake(n->app, "%s(\"" NSP_FMT "\", \"%s\"): %s", verb, NSP_ARG(n),
                event ? event : "any other", why);
    else
        handler_add(list, event, fn);
}

void
app_on_event(struct app_nsp *n, const char *event, app_fn *fn)
{
    add_event(n, &n->on_event, "app_on_event", event, fn);
}

void
app_on_server_event(struct app_nsp *n, const char *event, app_fn *fn)
{
    add_event(n, &n->on_server_event, "app_on_server_event", event, fn);
}

void
app_on_outgoing(struct app_nsp *n, app_fn *fn)
{
    add_nameless(n, &n->on_outgoing, "app_on_outgoing", fn);
    n->app->has_outgoing = true;
}

void
app_on_disconnect(struct app_nsp *n, app_fn *fn)
{
    add_nameless(n, &n->on_disconnect, "app_on_disconnect", fn);
}

void
app_on_presence(struct app_nsp *n, app_fn *fn)
{
    add_nameless(n, &n->on_presence, "app_on_presence", fn);
}

void
app_history(struct app_nsp *n, const char *room, int n_events, int64_t ms)
{
    enum { EVENTS_MAX = 10000 };
    struct app_history_rule **at = &n->histories;
    while (*at && room && strcmp((*at)->room, room) != 0)
        at = &(*at)->next;
    const char *why = room == NULL                            ? "no room"
                      : *at                                   ? "registered twice"
                      : n_events < 1 || n_events > EVENTS_MAX ? "not 1 to 10000 events"
                      : ms != -1 && ms < 1                    ? "no time"
                                                              : NULL;
    if (why) {
        mistake(n->app, "app_history(\"" NSP_FMT "\", \"%s\"): %s", NSP_ARG(n),
                room ? room : "", why);
        return;
    }
    *at = xcalloc(1, sizeof **at);
    (*at)->room = xstrdup(room);
    (*at)->n = n_events;
    (*at)->ms = ms;
}

void
app_on_later(struct app_nsp *n, const char *name, app_fn *fn)
{
    const char *why = fn == NULL                         ? "no function"
                      : name == NULL || !*name           ? "no name"
                      : *name == '#'                     ? "a name can't begin with #"
                      : is_registered(n->on_later, name) ? "registered twice"
                                                         : NULL;
    if (why)
        mistake(n->app, "app_on_later(\"" NSP_FMT "\", \"%s\"): %s", NSP_ARG(n),
                name ? name : "", why);
    else
        handler_add(&n->on_later, name, fn);
}

void
app_schema(struct app *a, int version, const char *sql)
{
    int last = 0;
    for (const struct app_sql_text *t = a->schemas; t; t = t->next)
        last = t->version;
    if (version <= last)
        mistake(a, "app_schema(%d): versions begin with 1 and grow; the last one was %d",
                version, last);
    else if (sql == NULL || !*sql)
        mistake(a, "app_schema(%d): no SQL", version);
    else
        sql_add(&a->schemas, NULL, version, sql);
}

void
app_sql(struct app *a, const char *name, const char *sql)
{
    const struct app_sql_text *t = a->statements;
    while (t && name && strcmp(t->name, name) != 0)
        t = t->next;
    if (name == NULL || !*name)
        mistake(a, "app_sql(): no name");
    else if (t)
        mistake(a, "app_sql(\"%s\"): registered twice", name);
    else if (sql == NULL || !*sql)
        mistake(a, "app_sql(\"%s\"): no SQL", name);
    else
        sql_add(&a->statements, name, 0, sql);
}

/* ---- what the program calls ---- */

void
app_registry_init(struct app *a)
{
    *a = (struct app){0};
    nsp_add(a, "/");
}

void
app_registry_fini(struct app *a)
{
    while (a->nsps) {
        struct app_nsp *n = a->nsps;
        a->nsps = n->next;
        nsp_free(n);
    }
    handlers_free(a->on_request);
    handlers_free(a->on_headers);
    handlers_free(a->on_connection_error);
    sql_free(a->schemas);
    sql_free(a->statements);
    free(a->error);
    if (a->handle)
        dlclose(a->handle);
    *a = (struct app){0};
}

enum rc
app_registry_load(struct app *a, const char *file, unsigned n_before, struct buf *err)
{
    int (*load)(struct app *, int);
    struct buf path = {0};
    enum rc rc = RC_INVALID;
    int code;

    if (access(file, R_OK) != 0) {
        buf_append_f(err, "%s: %s", file, strerror(errno));
        return RC_NOTFOUND;
    }
    if (_DYNAMIC == NULL) {
        buf_append_f(err,
                     "%s: this program is statically linked and loads no shared objects; "
                     "allowed: a file of SQL triggers, or the web hook",
                     file);
        return RC_INVALID;
    }
    /* A name that dlopen had before gives it what that was, even if another file has it
     * now; and without a slash it would search the system's library folders. */
    const char *name = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
    buf_append(&path, file, (size_t)(name - file));
    for (unsigned i = name == file ? 0 : 1; i < n_before + 1; i++)
        buf_append_z(&path, "./");
    buf_append_f(&path, "%s%c", name, 0);
    a->handle = dlopen(path.p, RTLD_NOW | RTLD_LOCAL);
    if (a->handle == NULL) {
        buf_append_f(err, "%s: not a siolite application: %s", file, dlerror());
        goto out;
    }
    /* POSIX wants the conversion from void * to work, ISO C has no form for it. */
    *(void **)&load = dlsym(a->handle, "app_load");
    if (load == NULL) {
        buf_append_f(err, "%s: not a siolite application: it exports no app_load()",
                     file);
        goto out;
    }
    code = load(a, APP_ABI);
    if (code > 0 && code != APP_ABI)
        buf_append_f(err, "%s: built for application ABI %d, this siolite has %d", file,
                     code, APP_ABI);
    else if (code != 0)
        buf_append_f(err, "%s: app_load() refused (it returned %d)%s%s", file, code,
                     a->error ? "; " : "", a->error ? a->error : "");
    else if (a->error)
        buf_append_f(err, "%s: app_load(): %s", file, a->error);
    else
        rc = RC_OK;
out:
    buf_fini(&path);
    return rc;
}

enum rc
app_registry_add_nsps(struct app *a, const char *names, struct buf *err)
{
    char *text = xstrdup(names), *rest = text, *name;
    while ((name = strsep(&rest, " ")) != NULL)
        if (*name)
            (void)app_nsp(a, name);
    free(text);
    if (a->error == NULL)
        return RC_OK;
    buf_append_f(err, "nsp: %s", a->error);
    return RC_INVALID;
}

/* SIO-NSP-DYNAMIC */
const struct app_nsp *
app_registry_find(const struct app *a, struct str name)
{
    const struct app_nsp *n;
    char *text;

    for (n = a->nsps; n; n = n->next)
        if (!n->is_pattern && str_eqz(name, n->name))
            return n;
    if (name.len == 0 || memchr(name.p, 0, name.len))
        return NULL;
    text = str_dup(name);
    for (n = a->nsps; n; n = n->next)
        if (n->is_pattern && nsp_matches(n, text, name.len))
            break;
    free(text);
    return n;
}

const struct app_handler *
app_handler_find(const struct app_handler *list, struct str name, bool has_fallback)
{
    const struct app_handler *fallback = NULL;
    for (; list; list = list->next) {
        if (list->name && str_eqz(name, list->name))
            return list;
        if (list->name == NULL && has_fallback)
            fallback = list;
    }
    return fallback;
}
