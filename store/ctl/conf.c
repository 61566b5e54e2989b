/*
 * siolite conf: what a web server, systemd or logrotate must be told, for this
 * installation.
 *
 * Here stand the values; the texts are store/ctl/conf/KIND.in, the only ones of the
 * project: documents and tests use what is printed.
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "store/ctl/conf_template.h"
#include "store/ctl/ctl.h"

enum {
    IDLE_MIN_S = 60,    /* what web servers grant by default */
    IDLE_MARGIN_S = 15, /* beyond the time in which something must have come */
    PING_MAX_S = 55,    /* beyond it defaults are too short */
    MB = 1000000,
};
static const char SOCKET[] = "/run/siolite/fcgi.sock";

/* ---- text ---- */

static bool
is_safe(char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
           (c != 0 && strchr("/._-~+,:=[]*", c));
}

/* None of the languages in question needs quotes for such a text. */
static int
check_safe(const struct ctl *c, const char *what, const char *text)
{
    for (const char *p = text; *p; p++)
        if (!is_safe(*p))
            return ctl_usage(c,
                             "%s: %s: can't be written into the configuration of a web "
                             "server; allowed: letters, digits and /._-~+,:=[]*",
                             what, text);
    return 0;
}

/* A path as part of a regular expression. */
static void
set_regex(struct conf_values *v, const char *name, const char *path)
{
    struct buf b = {0};
    for (; *path; path++) {
        if (strchr(".+*[]", *path))
            buf_append_c(&b, '\\');
        buf_append_c(&b, *path);
    }
    conf_set(v, name, buf_str(&b));
    buf_fini(&b);
}

static void
set_number(struct conf_values *v, const char *name, int64_t number)
{
    struct buf b = {0};
    buf_append_int(&b, number);
    conf_set(v, name, buf_str(&b));
    buf_fini(&b);
}

/* The value goes into the text; the caller gives it away. */
static int
set_path_take(const struct ctl *c, struct conf_values *v, const char *name, char *path)
{
    int status = check_safe(c, name, path);
    conf_set(v, name, str_of(path));
    free(path);
    return status;
}

/* ---- addresses ---- */

static int
add_address(const struct ctl *c, struct conf_list *l, const char *what, const char *text)
{
    int status = check_safe(c, what, text);
    enum rc rc;
    if (status != 0)
        return status;
    rc = conf_add_address(l, text);
    if (rc == RC_TOOBIG)
        return ctl_usage(c, "%s: more than %d addresses", what, CONF_ADDRESSES_MAX);
    if (rc != RC_OK)
        return ctl_usage(c,
                         "%s: %s: is no address that others can find; allowed: "
                         "HOST:PORT, or a path that begins with /",
                         what, text);
    return 0;
}

/* Those of the command line, else the one of the configuration, else the usual one. */
static int
set_list(const struct ctl *c, struct conf_list *l, const char *option, const char *key,
         const char *configured, const char *usual)
{
    int status = 0;
    for (size_t i = 0; i < c->n_given && status == 0; i++)
        if (strcmp(c->given[i].name, option) == 0)
            status = add_address(c, l, option, c->given[i].value);
    if (l->n == 0 && status == 0)
        status = add_address(c, l, key, configured[0] ? configured : usual);
    return status;
}

/* Where lighttpd starts the program, the socket is its own: in the folder of the
 * database, where it may write. */
static char *
spawned_socket(const char *folder)
{
    struct buf b = {0};
    buf_append_f(&b, "%s/fcgi.sock", folder);
    return buf_take(&b, NULL);
}

static bool
is_word_of(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = strstr(list, word); p; p = strstr(p + 1, word))
        if ((p == list || p[-1] == ' ' || p[-1] == ',') &&
            (p[n] == 0 || p[n] == ' ' || p[n] == ','))
            return true;
    return false;
}

/* Do WebSocket clients have the proxy's address, because its word is not believed? A
 * proxy at a path is (ws/request.h). */
static void
set_trust(const struct ctl *c, struct conf_values *v, bool is_ws)
{
    const char *proxy = "127.0.0.1";
    bool is_untrusted = false;
    for (size_t i = 0; i < v->ws.n; i++) {
        if (strcmp(v->ws.at[i].host_bare, "::1") == 0)
            proxy = "::1";
        is_untrusted |= !v->ws.at[i].is_unix;
    }
    conf_set(v, "proxy", str_of(proxy));
    conf_set_flag(v, "untrusted",
                  is_ws && is_untrusted && !is_word_of(c->cfg.trusted_proxy, proxy));
}

static int
set_addresses(const struct ctl *c, struct conf_values *v, const char *kind,
              const char *folder)
{
    bool is_lighttpd = strcmp(kind, "lighttpd") == 0;
    bool is_spawn = is_lighttpd && c->cfg.fcgi_listen[0] == 0 && !ctl_has(c, "fcgi");
    char *usual = is_spawn ? spawned_socket(folder) : xstrdup(SOCKET);
    int status = set_list(c, &v->fcgi, "fcgi", "fcgi_listen", c->cfg.fcgi_listen, usual);
    free(usual);
    if (status == 0)
        status =
            set_list(c, &v->ws, "ws", "ws_listen", c->cfg.ws_listen, "127.0.0.1:8090");
    if (status == 0 && v->fcgi.n + v->ws.n > 2 && !is_lighttpd &&
        strcmp(kind, "caddy") != 0)
        return ctl_usage(c, "%s: one --fcgi and one --ws; lighttpd and caddy take more",
                         kind);
    conf_set_flag(v, "spawn", is_spawn);
    return status;
}

/* ---- what the services are ---- */

/* The owner of the database's folder, unless that is root; else Debian's web server. */
static int
set_user(const struct ctl *c, struct conf_values *v, const char *folder)
{
    const char *user = ctl_value(c, "user"), *group = ctl_value(c, "group");
    const struct passwd *pw = NULL;
    const struct group *gr = NULL;
    struct stat st;
    int status;
    if (user == NULL && stat(folder, &st) == 0 && st.st_uid != 0)
        pw = getpwuid(st.st_uid);
    conf_set(v, "user", str_of(user ? user : pw ? pw->pw_name : "www-data"));
    user = v->list[v->n - 1].text;
    pw = getpwnam(user);
    if (group == NULL && pw)
        gr = getgrgid(pw->pw_gid);
    conf_set(v, "group", str_of(group ? group : gr ? gr->gr_name : user));
    status = check_safe(c, "user", user);
    return status ? status : check_safe(c, "group", v->list[v->n - 1].text);
}

/* Who may connect to a socket of a service: the group of the web server. */
static int
set_web_group(const struct ctl *c, struct conf_values *v)
{
    static const char *const usual[] = {"www-data", "apache", "nginx", "lighttpd",
                                        "caddy",    "http",   NULL};
    const char *name = ctl_value(c, "web-group");
    for (size_t i = 0; usual[i] && name == NULL; i++)
        if (getgrnam(usual[i]))
            name = usual[i];
    conf_set(v, "web_group", str_of(name ? name : v->list[v->n - 1].text));
    return check_safe(c, "web-group", v->list[v->n - 1].text);
}

static bool
is_any_below(const struct conf_values *v, const char *const *folders)
{
    for (size_t i = 0; i < v->n; i++)
        for (const char *const *f = folders; *f; f++)
            if (str_has_prefix(str_of(v->list[i].text), str_of(*f)))
                return true;
    for (size_t i = 0; i < v->fcgi.n; i++)
        for (const char *const *f = folders; *f; f++)
            if (str_has_prefix(str_of(v->fcgi.at[i].text), str_of(*f)))
                return true;
    return false;
}

/* systemd hides these folders from a service only if nothing of ours is there. */
static void
set_sandbox(struct conf_values *v)
{
    static const char *const homes[] = {"/home/", "/root/", "/run/user/", NULL};
    static const char *const temporary[] = {"/tmp/", "/var/tmp/", NULL};
    struct str lib = STR("/var/lib/"), folder = str_of(v->list[0].text);
    bool is_home = is_any_below(v, homes), is_temporary = is_any_below(v, temporary);
    conf_set_flag(v, "protect_home", !is_home);
    conf_set_flag(v, "private_tmp", !is_temporary);
    /* /var/lib/NAME, which systemd makes, with the right owner */
    if (str_has_prefix(folder, lib) &&
        str_index(str_slice(folder, lib.len, folder.len), '/') == folder.len - lib.len)
        conf_set(v, "state_dir", str_slice(folder, lib.len, folder.len));
    else
        conf_set(v, "state_dir", STR_NONE);
}

/* ---- all values ---- */

static int
set_files(const struct ctl *c, struct conf_values *v)
{
    bool is_there;
    int status;
    char *file = ctl_absolute(c->cfg.file[0] ? c->cfg.file : "/etc/siolite/siolite.conf");
    char *database = ctl_absolute(c->cfg.database), *slash = strrchr(database, '/');
    *(slash == database ? slash + 1 : slash) = 0;
    status = set_path_take(c, v, "database_dir", database);
    if (status == 0)
        status = set_path_take(c, v, "config", file);
    else
        free(file);
    if (status == 0)
        status =
            set_path_take(c, v, "fcgi_program", ctl_program("siolite.fcgi", &is_there));
    if (status == 0)
        status = set_path_take(c, v, "ws_program", ctl_program("siolite-ws", &is_there));
    if (status == 0)
        status =
            set_path_take(c, v, "hook_program", ctl_program("siolite-hook", &is_there));
    return status;
}

static int
set_url(const struct ctl *c, struct conf_values *v)
{
    const char *path = c->cfg.path;
    bool is_bare = !c->cfg.is_slash_needed;
    conf_set(v, "path", str_of(path));
    set_regex(v, "path_re", path);
    conf_set_flag(v, "bare", is_bare);
    conf_set(v, "slash", is_bare ? STR_NONE : STR("/"));
    conf_set(v, "end_re", is_bare ? STR("(/|$)") : STR("/"));
    return check_safe(c, "path", path);
}

static void
set_limits(const struct ctl *c, struct conf_values *v)
{
    int64_t ping_s = (c->cfg.ping_interval_ms + 999) / 1000;
    int64_t idle_s = ping_s + (c->cfg.ping_timeout_ms + 999) / 1000 + IDLE_MARGIN_S;
    set_number(v, "ping_s", ping_s);
    set_number(v, "idle_s", idle_s < IDLE_MIN_S ? IDLE_MIN_S : idle_s);
    conf_set_flag(v, "long_ping", ping_s > PING_MAX_S);
    set_number(v, "body_mb", c->cfg.max_payload_bytes / MB + 1);
}

static int
set_values(const struct ctl *c, struct conf_values *v, const char *kind)
{
    const struct cfg *cfg = &c->cfg;
    bool is_tls = cfg->ws_tls_cert[0] != 0, is_ws = cfg->is_websocket && !is_tls;
    bool is_fcgid = ctl_has(c, "fcgid");
    const char *folder;
    int status = set_files(c, v);
    if (status != 0)
        return status;
    folder = v->list[0].text;
    conf_set_flag(v, "fcgi", cfg->is_polling);
    conf_set_flag(v, "ws", is_ws);
    conf_set_flag(v, "ws_any", cfg->is_websocket);
    conf_set_flag(v, "tls", cfg->is_websocket && is_tls);
    conf_set_flag(v, "fcgi_and_ws", cfg->is_polling && cfg->is_websocket);
    conf_set_flag(v, "both", cfg->is_polling && is_ws);
    conf_set_flag(v, "fcgid", is_fcgid);
    conf_set_flag(v, "hook", cfg->hook_url[0] != 0);
    conf_set(v, "program", is_fcgid ? STR("siolite.fcgi") : STR("siolite.cgi"));
    set_limits(c, v);
    if ((status = set_url(c, v)) != 0 ||
        (status = set_addresses(c, v, kind, folder)) != 0 ||
        (status = set_user(c, v, folder)) != 0 || (status = set_web_group(c, v)) != 0)
        return status;
    set_trust(c, v, is_ws);
    set_sandbox(v);
    return 0;
}

static int
refuse_kind(const struct ctl *c, const char *kind)
{
    struct buf b = {0};
    const char *name;
    for (size_t i = 0; (name = conf_template_name(i)) != NULL; i++)
        buf_append_f(&b, "%s%s", i ? ", " : "", name);
    ctl_usage(c, "%s: no such configuration; allowed: %.*s", kind, STR_ARG(buf_str(&b)));
    buf_fini(&b);
    return CTL_USAGE;
}

static int
run_conf(struct ctl *c)
{
    const char *kind = c->words[0];
    struct conf_values v = {0};
    struct buf out = {0};
    int status;
    if (!conf_has_template(str_of(kind)))
        return refuse_kind(c, kind);
    status = set_values(c, &v, kind);
    if (status == 0) {
        conf_expand(&out, kind, &v);
        fwrite(out.p, 1, out.len, stdout);
        if (c->cfg.file[0] == 0)
            fputs("siolite conf: no configuration was found: assumed is "
                  "/etc/siolite/siolite.conf, with the defaults\n",
                  stderr);
    }
    conf_values_fini(&v);
    buf_fini(&out);
    return status;
}

static const struct ctl_option OPTIONS[] = {
    {"fcgi", "ADDRESS", "Where siolite.fcgi listens, whatever the configuration says"},
    {"ws", "ADDRESS",
     "Where siolite-ws listens; both may be repeated for lighttpd and "
     "caddy"},
    {"fcgid", NULL, "htaccess: for mod_fcgid instead of CGI"},
    {"user", "NAME",
     "systemd: whom the services run as; else the owner of the "
     "database's folder, or www-data"},
    {"group", "NAME", "systemd: likewise; else the group of that user"},
    {"web-group", "NAME",
     "systemd: the web server's group, which may connect; else "
     "www-data, or what there is"},
    {0},
};

const struct ctl_command ctl_conf = {
    .name = "conf",
    .words = "apache|apache-fcgid|caddy|htaccess|lighttpd|logrotate|nginx|systemd",
    .n_words_min = 1,
    .n_words_max = 1,
    .help = "Prints what the web server or systemd needs, for this installation",
    .options = OPTIONS,
    .run = run_conf,
};
