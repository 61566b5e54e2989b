/*
 * Configuration: values from text, files, and their defaults. The options themselves
 * stand in cfg_option.c.
 *
 * Invariants:
 * 1. Every string of a struct cfg that cfg_init() has seen is allocated and not NULL.
 * 2. No value holds a control character: values end up in HTTP headers and log lines.
 * 3. A failed cfg_set() changes nothing.
 *
 * Main thread of each program, before any other thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/cfg.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cfg_option.h"

enum { FILE_MAX_BYTES = 1 << 20, KB = 1 << 10, MB = 1 << 20, GB = 1 << 30 };

static bool
is_string_type(enum cfg_type type)
{
    return type == CFG_T_TEXT || type == CFG_T_FILE || type == CFG_T_URL_PATH ||
           type == CFG_T_LISTEN || type == CFG_T_HEADER;
}

static struct str
trim(struct str s)
{
    while (s.len && strchr(" \t\r\n", s.p[0]) && s.p[0])
        s = str_slice(s, 1, s.len);
    while (s.len && strchr(" \t\r\n", s.p[s.len - 1]) && s.p[s.len - 1])
        s.len--;
    return s;
}

static void *
field(struct cfg *c, const struct cfg_option *o)
{
    return (char *)c + o->at;
}

static void
set_string(char **at, char *owned)
{
    free(*at);
    *at = owned;
}

static bool
find_word(const struct cfg_word *words, struct str text, int64_t *out)
{
    for (const struct cfg_word *w = words; w && w->text; w++) {
        if (str_eqz(text, w->text)) {
            *out = w->value;
            return true;
        }
    }
    return false;
}

/* A number with its unit, or a word instead; RC_TOOBIG: a number out of bounds. */
static enum rc
parse_number(const struct cfg_option *o, struct str text, int64_t *out)
{
    static const struct cfg_word times[] = {
        {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {NULL, 0}};
    static const struct cfg_word seconds[] = {
        {"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {NULL, 0}};
    static const struct cfg_word sizes[] = {{"k", KB},  {"K", KB}, {"kB", KB}, {"M", MB},
                                            {"MB", MB}, {"G", GB}, {"GB", GB}, {NULL, 0}};
    int64_t v, factor = 1;
    size_t n = 0;
    struct str unit;
    if (find_word(o->words, text, out))
        return RC_OK;
    while (n < text.len && text.p[n] >= '0' && text.p[n] <= '9')
        n++;
    unit = trim(str_slice(text, n, text.len));
    if (unit.len && !find_word(o->type == CFG_T_SIZE      ? sizes
                               : o->type == CFG_T_TIME    ? times
                               : o->type == CFG_T_SECONDS ? seconds
                                                          : NULL,
                               unit, &factor))
        return RC_INVALID;
    if (str_to_int(str_slice(text, 0, n), 0, INT64_MAX, &v) != RC_OK)
        return n ? RC_TOOBIG : RC_INVALID;
    if (v > INT64_MAX / factor || v * factor < o->min || v * factor > o->max)
        return RC_TOOBIG;
    *out = v * factor;
    return RC_OK;
}

static enum rc
parse_transports(struct cfg *c, struct str text)
{
    bool is_polling = false, is_websocket = false;
    while (text.len) {
        struct str item = str_cut(&text, ',');
        if (str_eqz(item, "polling"))
            is_polling = true;
        else if (str_eqz(item, "websocket"))
            is_websocket = true;
        else
            return RC_INVALID;
    }
    if (!is_polling && !is_websocket)
        return RC_INVALID;
    c->is_polling = is_polling;
    c->is_websocket = is_websocket;
    return RC_OK;
}

/* Words with commas between them, each a bit. */
static enum rc
parse_set(const struct cfg_option *o, struct str text, unsigned *out)
{
    unsigned set = 0;
    int64_t bit;
    while (text.len) {
        if (!find_word(o->words, str_cut(&text, ','), &bit))
            return RC_INVALID;
        set |= (unsigned)bit;
    }
    if (set == 0)
        return RC_INVALID;
    *out = set;
    return RC_OK;
}

static enum rc
parse_url_path(char **at, struct str text)
{
    if (text.len == 0 || text.p[0] != '/')
        return RC_INVALID;
    for (size_t i = 0; i < text.len; i++)
        if (strchr(" ?#%\"<>\\", text.p[i]))
            return RC_INVALID;
    while (text.len && text.p[text.len - 1] == '/')
        text.len--;
    set_string(at, str_dup(text));
    return RC_OK;
}

static enum rc
parse_listen(char **at, struct str text)
{
    int64_t port;
    if (text.len && text.p[0] != '/') {
        size_t colon = text.len;
        while (colon && text.p[colon - 1] != ':')
            colon--;
        if (str_to_int(str_slice(text, colon, text.len), 0, 65535, &port) != RC_OK)
            return RC_INVALID;
    }
    set_string(at, str_dup(text));
    return RC_OK;
}

static enum rc
append_header(char **at, struct str name, struct str value)
{
    struct buf b = {0};
    if (!str_is_token(name))
        return RC_INVALID;
    buf_append_z(&b, *at ? *at : "");
    buf_append_str(&b, name);
    buf_append_z(&b, ": ");
    buf_append_str(&b, value);
    buf_append_z(&b, "\r\n");
    set_string(at, buf_take(&b, NULL));
    return RC_OK;
}

/* A file name as it stands, or in the folder; URLs and in-memory databases are left
 * alone. */
static char *
in_folder(struct str folder, struct str name)
{
    struct buf b = {0};
    bool is_relative = name.len && name.p[0] != '/' && name.p[0] != ':' &&
                       !str_has_prefix(name, STR("file:"));
    for (size_t i = 0; i + 2 < name.len; i++)
        if (memcmp(name.p + i, "://", 3) == 0)
            is_relative = false;
    if (is_relative && folder.len) {
        buf_append_str(&b, folder);
        buf_append_c(&b, '/');
    }
    buf_append_str(&b, name);
    return buf_take(&b, NULL);
}

static enum rc
parse_value(struct cfg *c, const struct cfg_option *o, struct str text, struct str folder)
{
    int64_t v = 0;
    unsigned choice;
    enum rc rc = RC_OK;
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.p[i] < 0x20 || text.p[i] == 0x7f)
            return RC_INVALID;
    switch (o->type) {
    case CFG_T_TEXT:
        set_string(field(c, o), str_dup(text));
        break;
    case CFG_T_FILE:
        set_string(field(c, o), in_folder(folder, text));
        break;
    case CFG_T_URL_PATH:
        return parse_url_path(field(c, o), text);
    case CFG_T_LISTEN:
        return parse_listen(field(c, o), text);
    case CFG_T_FLAG:
        if (!str_eqz(text, "on") && !str_eqz(text, "off"))
            return RC_INVALID;
        *(bool *)field(c, o) = str_eqz(text, "on");
        break;
    case CFG_T_COUNT:
    case CFG_T_SIZE:
    case CFG_T_TIME:
    case CFG_T_SECONDS:
        rc = parse_number(o, text, &v);
        if (rc == RC_OK)
            *(int64_t *)field(c, o) = v;
        break;
    case CFG_T_CHOICE:
        if (!find_word(o->words, text, &v))
            return RC_INVALID;
        choice = (unsigned)v;
        memcpy(field(c, o), &choice, sizeof choice);
        break;
    case CFG_T_TRANSPORTS:
        return parse_transports(c, text);
    case CFG_T_SET:
        return parse_set(o, text, field(c, o));
    case CFG_T_HEADER:
        set_string(field(c, o),
                   xstrdup("")); /* the default; the rest comes by append_header() */
        break;
    }
    return rc;
}

static const struct cfg_option *
find_option(struct str name)
{
    for (size_t i = 0; i < CFG_N_OPTIONS; i++)
        if (CFG_OPTIONS[i].type != CFG_T_HEADER && str_eqz(name, CFG_OPTIONS[i].name))
            return &CFG_OPTIONS[i];
    return NULL;
}

/* "header(NAME)": the option, and NAME. */
static const struct cfg_option *
find_header_option(struct str key, struct str *name)
{
    if (!str_has_prefix(key, STR("header(")) || key.p[key.len - 1] != ')')
        return NULL;
    *name = trim(str_slice(key, strlen("header("), key.len - 1));
    for (size_t i = 0; i < CFG_N_OPTIONS; i++)
        if (CFG_OPTIONS[i].type == CFG_T_HEADER)
            return &CFG_OPTIONS[i];
    return NULL;
}

/* The value is quoted in the error text, but never more of it than fits a line. */
static void
print_error(struct buf *err, const char *where, struct str key, struct str value,
            const struct cfg_option *o, const char *what)
{
    buf_clear(err);
    buf_append_f(err, "%s: %.*s: ", where, (int)(key.len > 80 ? 80 : key.len),
                 key.p ? key.p : "");
    if (o) {
        buf_append_json(err, str_slice(value, 0, 80), false);
        buf_append_c(err, ' ');
    }
    buf_append_z(err, what);
    buf_append_z(err, "; allowed: ");
    if (o)
        cfg_option_print_allowed(err, o);
    else
        buf_append_z(err, "the options that --help lists");
}

static enum rc
set_in_folder(struct cfg *c, struct str line, struct str folder, const char *where,
              struct buf *err)
{
    size_t equals = str_index(line, '=');
    struct str key = trim(str_slice(line, 0, equals)), name;
    struct str value = trim(str_slice(line, equals + 1, line.len));
    const struct cfg_option *o;
    enum rc rc;
    if (equals == line.len) {
        buf_clear(err);
        buf_append_f(err, "%s: %.*s: no \"=\"; allowed: key = value", where,
                     (int)(key.len > 80 ? 80 : key.len), key.p ? key.p : "");
        return RC_INVALID;
    }
    o = find_header_option(key, &name);
    if (o) {
        struct cfg unused = {0};
        rc = parse_value(&unused, o, value, STR_NONE); /* control characters */
        free(unused.extra_headers);
        if (rc == RC_OK)
            rc = append_header(field(c, o), name, value);
    } else {
        o = find_option(key);
        if (o == NULL) {
            print_error(err, where, key, value, NULL, "unknown option");
            return RC_INVALID;
        }
        rc = parse_value(c, o, value, folder);
    }
    if (rc != RC_OK)
        print_error(err, where, key, value, o,
                    rc == RC_TOOBIG ? "is out of bounds" : "is not understood");
    return rc == RC_OK ? RC_OK : RC_INVALID;
}

/* ---- files ---- */

static enum rc
read_file(const char *file, struct buf *out, struct buf *err)
{
    FILE *f = fopen(file, "re");
    enum rc rc = RC_OK;
    size_t n;
    if (f == NULL) {
        rc = errno == ENOENT || errno == ENOTDIR ? RC_NOTFOUND : RC_IO;
        buf_clear(err);
        buf_append_f(err, "%s: %s", file, strerror(errno));
        return rc;
    }
    do {
        n = fread(buf_reserve(out, 4096), 1, 4096, f);
        out->len += n;
    } while (n > 0 && out->len <= FILE_MAX_BYTES);
    if (ferror(f) || out->len > FILE_MAX_BYTES) {
        rc = ferror(f) ? RC_IO : RC_TOOBIG;
        buf_clear(err);
        buf_append_f(err, "%s: %s", file, ferror(f) ? "can't be read" : "is too big");
    }
    fclose(f);
    return rc;
}

/* FNV-1a: tells different files apart, not meant against forgery. */
static char *
hash_text(struct str text)
{
    struct buf b = {0};
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ (unsigned char)text.p[i]) * 0x100000001b3u;
    buf_append_f(&b, "%016" PRIx64, hash);
    return buf_take(&b, NULL);
}

/* Up to a '#' that begins the line or follows white space. */
static struct str
without_comment(struct str line)
{
    for (size_t i = 0; i < line.len; i++)
        if (line.p[i] == '#' && (i == 0 || line.p[i - 1] == ' ' || line.p[i - 1] == '\t'))
            return str_slice(line, 0, i);
    return line;
}

void
cfg_init(struct cfg *c)
{
    memset(c, 0, sizeof *c);
    for (size_t i = 0; i < CFG_N_OPTIONS; i++) {
        enum rc rc =
            parse_value(c, &CFG_OPTIONS[i], str_of(CFG_OPTIONS[i].fallback), STR_NONE);
        assert(rc == RC_OK);
        (void)rc;
    }
    c->file = xstrdup("");
    c->hash = xstrdup("");
}

void
cfg_fini(struct cfg *c)
{
    for (size_t i = 0; i < CFG_N_OPTIONS; i++)
        if (is_string_type(CFG_OPTIONS[i].type))
            free(*(char **)field(c, &CFG_OPTIONS[i]));
    free(c->file);
    free(c->hash);
    memset(c, 0, sizeof *c);
}

static bool
is_same(const struct cfg_option *o, struct cfg *a, struct cfg *b)
{
    if (is_string_type(o->type))
        return strcmp(*(char **)field(a, o), *(char **)field(b, o)) == 0;
    if (o->type == CFG_T_CHOICE)
        return *(int *)field(a, o) == *(int *)field(b, o);
    return *(int64_t *)field(a, o) == *(int64_t *)field(b, o);
}

/* Gives `b` the value of `a`, and `a` that of `b`. */
static void
exchange(const struct cfg_option *o, struct cfg *a, struct cfg *b)
{
    size_t size = is_string_type(o->type)   ? sizeof(char *)
                  : o->type == CFG_T_CHOICE ? sizeof(int)
                                            : sizeof(int64_t);
    unsigned char value[sizeof(int64_t)];
    memcpy(value, field(a, o), size);
    memcpy(field(a, o), field(b, o), size);
    memcpy(field(b, o), value, size);
}

void
cfg_replace(struct cfg *c, struct cfg *next, struct buf *kept)
{
    struct cfg old = *c;
    for (size_t i = 0; i < CFG_N_OPTIONS; i++) {
        const struct cfg_option *o = &CFG_OPTIONS[i];
        if (!cfg_option_is_fixed(o) || is_same(o, &old, next))
            continue;
        buf_append_f(kept, "%s%s", kept->len ? " " : "", o->name);
        exchange(o, &old, next);
    }
    *c = *next;
    *next = (struct cfg){0};
    cfg_fini(&old);
}

int64_t *
cfg_number(struct cfg *c, const char *name, int64_t *min, int64_t *max)
{
    const struct cfg_option *o = find_option(str_of(name));
    if (o == NULL || (o->type != CFG_T_COUNT && o->type != CFG_T_SIZE &&
                      o->type != CFG_T_TIME && o->type != CFG_T_SECONDS))
        return NULL;
    *min = o->min;
    *max = o->max;
    return field(c, o);
}

enum rc
cfg_load(struct cfg *c, const char *file, struct buf *err)
{
    struct buf text = {0}, where = {0};
    struct str rest, folder = str_of(file);
    int n_line = 0;
    enum rc rc = read_file(file, &text, err);
    if (rc != RC_OK)
        goto out;
    while (folder.len && folder.p[folder.len - 1] != '/')
        folder.len--;
    if (folder.len > 1)
        folder.len--; /* the slash; "/" alone stays, and "//x" is "/x" */
    rest = buf_str(&text);
    /* Also the default database lies beside the file that was read. */
    if (strcmp(c->database, find_option(STR("database"))->fallback) == 0)
        set_string(&c->database, in_folder(folder, str_of(c->database)));
    while (rest.len && rc == RC_OK) {
        struct str line = str_slice(rest, 0, str_index(rest, '\n'));
        rest = str_slice(rest, line.len + 1, rest.len);
        n_line++;
        line = trim(without_comment(line));
        if (line.len == 0)
            continue;
        buf_clear(&where);
        buf_append_f(&where, "%s:%d", file, n_line);
        buf_append_c(&where, 0);
        rc = set_in_folder(c, line, folder, where.p, err);
    }
    if (rc == RC_OK) {
        set_string(&c->file, xstrdup(file));
        set_string(&c->hash, hash_text(buf_str(&text)));
    }
out:
    buf_fini(&text);
    buf_fini(&where);
    return rc;
}

enum rc
cfg_set(struct cfg *c, struct str key_value, const char *where, struct buf *err)
{
    return set_in_folder(c, key_value, STR_NONE, where, err);
}

static bool
has_short_word(struct str list)
{
    enum { TOKEN_BYTES_MIN = 16 };
    while (list.len) {
        struct str word = str_cut(&list, ' ');
        if (word.len && word.len < TOKEN_BYTES_MIN)
            return true;
    }
    return false;
}

static bool
is_hook_url(const char *url)
{
    struct str s = str_of(url), http = STR("http://"), https = STR("https://");
    return (str_has_prefix(s, http) && s.len > http.len) ||
           (str_has_prefix(s, https) && s.len > https.len);
}

static void
check_hook(const struct cfg *c, struct buf *err)
{
    enum { SECRET_BYTES_MIN = 16 };
    if (!is_hook_url(c->hook_url))
        buf_append_z(err, "hook_url: is no web address; allowed: http://… or https://…");
    else if (c->hook_secret[0] && c->hook_secret_file[0])
        buf_append_z(err, "hook_secret: hook_secret_file is given too; allowed: one of "
                          "them");
    else if (!c->hook_secret_file[0] && strlen(c->hook_secret) < SECRET_BYTES_MIN)
        buf_append_z(err, "hook_secret: is too short, and hook_secret_file is not given; "
                          "allowed: 16 characters or more");
    else if (c->hook_connect_wait_ms >= c->connect_timeout_ms)
        buf_append_z(err, "hook_connect_wait: is not below connect_timeout; allowed: a "
                          "shorter time");
}

bool
cfg_is_sql(const char *app)
{
    struct str name = str_of(app);
    return name.len > 4 && str_eqz(str_slice(name, name.len - 4, name.len), ".sql");
}

enum rc
cfg_check(const struct cfg *c, struct buf *err)
{
    struct str cookie = str_of(c->cookie);
    cookie = trim(str_slice(cookie, 0, str_index(cookie, ';')));
    buf_clear(err);
    if (c->database[0] == 0)
        buf_append_z(err, "database: is empty; allowed: a file name");
    else if (c->app[0] && !strstr(c->app, "://") && access(c->app, R_OK) != 0)
        buf_append_f(err, "app: %s: %s; allowed: a file that can be read", c->app,
                     strerror(errno));
    else if (c->ws_tls_cert[0] && !c->ws_tls_key[0])
        buf_append_z(err, "ws_tls_key: is not set; allowed: the key of ws_tls_cert");
    else if (c->ws_tls_key[0] && !c->ws_tls_cert[0])
        buf_append_z(err, "ws_tls_cert: is not set; allowed: the certificate of "
                          "ws_tls_key");
    else if (c->cookie[0] && !str_is_token(cookie))
        buf_append_z(err, "cookie: has no name; allowed: such as io; Path=/; HttpOnly");
    else if (c->ping_interval_ms <= 0 || c->ping_timeout_ms <= 0)
        buf_append_z(err, "ping_timeout: is zero; allowed: a time");
    else if (c->api_token[0] && c->api_token_file[0])
        buf_append_z(err, "api_token: api_token_file is given too; allowed: one of them");
    else if (has_short_word(str_of(c->api_token)))
        buf_append_z(err, "api_token: one is too short; allowed: 16 characters or more");
    else if (c->hook_url[0])
        check_hook(c, err);
    return err->len ? RC_INVALID : RC_OK;
}
