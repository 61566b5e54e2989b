/*
 * siolite doctor: versions, limits of the machine, the programs that run, and where they
 * listen.
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <curl/curl.h>

#include "core/base/host.h"
#include "store/ctl/conf_template.h"
#include "store/ctl/doctor.h"
#include "store/ctl/doctor_ws.h"
#include "store/place.h"

enum {
    FDS_MIN = 4096,     /* each poll and each WebSocket takes one */
    BEHIND_MAX = 10000, /* rows that a program has not seen */
    FRONTS_MAX = 64,
    TASKS_MANY = 1000, /* no matter for CGI */
    TASKS_FEW = 40     /* several are PHP's, and each of siolite's has two */
};

/* ---- versions ---- */

/* "siolite-ws 0.1.0" of `program --version`; false: it does not run. */
static bool
read_version(const char *program, char *out, size_t size)
{
    struct buf command = {0};
    FILE *f;
    if (strchr(program, '\'')) /* the shell's */
        return false;
    buf_append_f(&command, "'%s' --version 2>/dev/null </dev/null", program);
    buf_append_c(&command, 0);
    f = popen(command.p, "re");
    buf_fini(&command);
    if (f == NULL || fgets(out, (int)size, f) == NULL)
        out[0] = 0;
    out[strcspn(out, "\n")] = 0;
    return f && pclose(f) == 0 && out[0];
}

static void
check_program(struct doctor *d, const char *name, bool is_needed)
{
    bool is_there;
    char *program = ctl_program(name, &is_there), version[64] = "";
    const char *number;
    if (!is_there) {
        doctor_say(d, is_needed ? DOCTOR_FAIL : DOCTOR_NOTE, "host.program",
                   "install siolite again: its programs belong together",
                   "%s is not there", program);
    } else if (!read_version(program, version, sizeof version)) {
        doctor_say(d, DOCTOR_FAIL, "host.program", "start it by hand to see why",
                   "%s does not run", program);
    } else {
        number = strrchr(version, ' ');
        if (strcmp(number ? number + 1 : version, SIOLITE_VERSION) != 0)
            doctor_say(d, DOCTOR_FAIL, "host.program",
                       "install siolite again: its programs belong together",
                       "%s is %s, this is siolite %s", program, version, SIOLITE_VERSION);
    }
    free(program);
}

static void
check_versions(struct doctor *d)
{
    struct utsname kernel;
    const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);
    check_program(d, "siolite.fcgi", d->c->cfg.is_polling);
    check_program(d, "siolite-ws", false);
    uname(&kernel);
    doctor_say(d, DOCTOR_OK, "host.version", NULL,
               "siolite %s, SQLite %s, libcurl %s, %s %s", SIOLITE_VERSION,
               store_place_sqlite(), curl->version, kernel.sysname, kernel.release);
}

/* ---- limits ---- */

static void
check_limits(struct doctor *d)
{
    struct rlimit fds;
    if (getrlimit(RLIMIT_NOFILE, &fds) == 0 && fds.rlim_max < FDS_MIN)
        doctor_say(d, DOCTOR_WARN, "host.descriptors",
                   "LimitNOFILE=65536 in the service, or `* hard nofile 65536` in "
                   "/etc/security/limits.conf",
                   "%llu descriptors are allowed here; each held poll and each WebSocket "
                   "takes one",
                   (unsigned long long)fds.rlim_max);
    else
        doctor_say(d, DOCTOR_OK, "host.descriptors", NULL, "%llu are allowed here",
                   (unsigned long long)fds.rlim_max);
}

/* Of whoever runs this: on shared hosting that is the user of the CGI programs, too. */
static void
check_tasks(struct doctor *d)
{
    int64_t n = host_n_tasks_max();
    if (n == INT64_MAX)
        doctor_say(d, DOCTOR_OK, "host.processes", NULL, "are not limited here");
    else
        doctor_say(d,
                   n < TASKS_FEW    ? DOCTOR_WARN
                   : n < TASKS_MANY ? DOCTOR_NOTE
                                    : DOCTOR_OK,
                   "host.processes",
                   n < TASKS_FEW ? "raise nproc in /etc/security/limits.conf or TasksMax "
                                   "of the service; where that is the host's, set "
                                   "max_held and expect short polls"
                                 : NULL,
                   "%lld processes and threads are allowed here; with CGI and mod_fcgid "
                   "a held poll is a process, and max_held = auto holds %zu",
                   (long long)n, host_n_held_max());
}

/* An errno, 0: it works. */
static int
try_inotify(void *arg)
{
    int fd = inotify_init1(IN_CLOEXEC), status = 0;
    if (fd < 0)
        return errno;
    if (inotify_add_watch(fd, arg, IN_MODIFY) < 0)
        status = errno;
    close(fd);
    return status;
}

static long long
read_number(const char *file)
{
    FILE *f = fopen(file, "re");
    long long n = -1;
    if (f && fscanf(f, "%lld", &n) != 1)
        n = -1;
    if (f)
        fclose(f);
    return n;
}

static void
check_inotify(struct doctor *d)
{
    static const char instances[] = "/proc/sys/fs/inotify/max_user_instances";
    char folder[] = "/";
    bool is_good = true;
    for (size_t i = 0; i < d->n_users; i++) {
        int status = doctor_as(&d->users[i], try_inotify, folder);
        if (status < 0) /* he can't be tried: then we */
            status = try_inotify(folder);
        if (status == 0)
            continue;
        is_good = false;
        doctor_say(d, DOCTOR_WARN, "host.inotify",
                   status == EMFILE   ? "sysctl -w fs.inotify.max_user_instances=1024"
                   : status == ENOSPC ? "sysctl -w fs.inotify.max_user_watches=65536"
                                      : NULL,
                   "inotify does not work for %s: %s; the programs then look every 20 ms",
                   d->users[i].name, strerror(status));
    }
    if (is_good)
        doctor_say(d, DOCTOR_OK, "host.inotify", NULL,
                   "works; %lld instances a user (each program takes one)",
                   read_number(instances));
}

/* ---- the programs that run ---- */

struct front {
    char name[16], address[160], hash[32];
    int64_t os_pid, n_behind;
    bool is_dead;
};
struct fronts {
    struct front list[FRONTS_MAX];
    size_t n;
};

static void
copy(char *out, size_t size, struct str s)
{
    snprintf(out, size, "%.*s", STR_ARG(s));
}

static void
on_process(void *arg, const struct store_field *row, size_t n)
{
    struct fronts *all = arg;
    struct front *f = &all->list[all->n];
    if (all->n == FRONTS_MAX)
        return;
    for (size_t i = 0; i < n; i++) {
        const struct store_value *v = &row[i].value;
        if (str_eqz(row[i].name, "front"))
            copy(f->name, sizeof f->name, v->s);
        else if (str_eqz(row[i].name, "address"))
            copy(f->address, sizeof f->address, v->s);
        else if (str_eqz(row[i].name, "config_hash"))
            copy(f->hash, sizeof f->hash, v->s);
        else if (str_eqz(row[i].name, "os_pid"))
            f->os_pid = v->i;
        else if (str_eqz(row[i].name, "n_behind"))
            f->n_behind = v->i;
        else if (str_eqz(row[i].name, "is_dead"))
            f->is_dead = v->i != 0;
    }
    if (strcmp(f->name, "ctl") != 0) /* this one */
        all->n++;
}

static size_t
count(const struct fronts *all, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < all->n; i++)
        n += strcmp(all->list[i].name, name) == 0 && !all->list[i].is_dead;
    return n;
}

/* Of the programs that stay; CGI has none. */
static void
check_running(struct doctor *d, const struct fronts *all)
{
    const struct cfg *cfg = &d->c->cfg;
    size_t n_fcgi = count(all, "fcgi"), n_ws = count(all, "ws");
    doctor_say(d, DOCTOR_OK, "host.running", NULL,
               "%zu siolite.fcgi, %zu siolite-ws, %zu CGI requests", n_fcgi, n_ws,
               count(all, "cgi"));
    if (n_fcgi == 0 && cfg->is_polling)
        doctor_say(d, DOCTOR_NOTE, "host.running", NULL,
                   "no siolite.fcgi runs: right with CGI, mod_fcgid and socket "
                   "activation before the first request");
    if (n_ws == 0 && cfg->is_websocket)
        doctor_say(d, DOCTOR_WARN, "host.running",
                   "start siolite-ws (`siolite conf systemd`), or set transports = "
                   "polling",
                   "no siolite-ws runs: clients stay on polling");
    if (cfg->hook_url[0] && count(all, "hook") == 0)
        doctor_say(d, DOCTOR_WARN, "host.running",
                   "start siolite-hook (`siolite conf systemd`)",
                   "no siolite-hook runs: what clients do waits in the database");
}

/* How many descriptors a process may have; -1: not known. */
static long long
read_fd_limit(int64_t os_pid)
{
    char path[64], line[128];
    long long soft = -1;
    FILE *f;
    snprintf(path, sizeof path, "/proc/%lld/limits", (long long)os_pid);
    f = fopen(path, "re");
    while (f && soft < 0 && fgets(line, sizeof line, f))
        if (sscanf(line, "Max open files %lld", &soft) != 1)
            soft = -1;
    if (f)
        fclose(f);
    return soft;
}

/* How many it has; 0: we may not look. */
static long long
count_fds(int64_t os_pid)
{
    char path[64];
    long long n = 0;
    DIR *dir;
    snprintf(path, sizeof path, "/proc/%lld/fd", (long long)os_pid);
    dir = opendir(path);
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n;
}

static void
check_fds(struct doctor *d, const struct front *f)
{
    long long limit = read_fd_limit(f->os_pid), n = count_fds(f->os_pid);
    if (limit < 0)
        return;
    if (limit < FDS_MIN)
        doctor_say(d, DOCTOR_WARN, "host.descriptors",
                   "LimitNOFILE=65536 in the service, or ulimit -n before it starts",
                   "process %lld (%s) may have %lld descriptors; each held poll and each "
                   "WebSocket takes one",
                   (long long)f->os_pid, f->name, limit);
    if (n > limit / 5 * 4)
        doctor_say(d, DOCTOR_WARN, "host.descriptors",
                   "raise LimitNOFILE, or start another one",
                   "process %lld (%s) has %lld of its %lld descriptors",
                   (long long)f->os_pid, f->name, n, limit);
}

static void
check_each(struct doctor *d, const struct fronts *all)
{
    const char *hash = NULL;
    for (size_t i = 0; i < all->n; i++) {
        const struct front *f = &all->list[i];
        if (f->is_dead || strcmp(f->name, "cgi") == 0)
            continue;
        check_fds(d, f);
        if (f->n_behind > BEHIND_MAX)
            doctor_say(d, DOCTOR_WARN, "host.behind",
                       "look at its log and at what it waits for; restart it",
                       "process %lld (%s) is %lld rows behind", (long long)f->os_pid,
                       f->name, (long long)f->n_behind);
        if (hash && strcmp(hash, f->hash) != 0)
            doctor_say(d, DOCTOR_WARN, "host.config",
                       "restart those that read an older one",
                       "process %lld (%s) has read another configuration than the others",
                       (long long)f->os_pid, f->name);
        hash = f->hash;
    }
}

/* ---- where they listen ---- */

/* Can siolite.fcgi be connected to there? */
static void
check_socket(struct doctor *d, const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd, status;
    if (strlen(path) >= sizeof un.sun_path)
        return;
    memcpy(un.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    status = connect(fd, (const struct sockaddr *)&un, sizeof un) == 0 ? 0 : errno;
    close(fd);
    if (status == ENOENT || status == ECONNREFUSED)
        doctor_say(d, DOCTOR_FAIL, "host.socket",
                   "start siolite.fcgi, or siolite-fcgi.socket of systemd",
                   "%s: nobody listens there", path);
    else if (status == 0)
        doctor_say(d, DOCTOR_OK, "host.socket", NULL, "%s answers", path);
    for (size_t i = 0; i < d->n_users && access(path, F_OK) == 0; i++)
        if (!doctor_can(&d->users[i], path, R_OK | W_OK))
            doctor_say(d, DOCTOR_NOTE, "host.socket",
                       "if that is the web server's user: SocketGroup= of "
                       "siolite-fcgi.socket, or put both in one group",
                       "%s: %s may not connect to it", path, d->users[i].name);
}

static void
say_upgrade(struct doctor *d, const char *address, int status, struct str answer)
{
    struct str line = str_slice(answer, 0, str_index(answer, '\r'));
    if (status == 101)
        doctor_say(d, DOCTOR_OK, "host.sidecar", NULL, "%s answers WebSocket upgrades",
                   address);
    else
        doctor_say(d, DOCTOR_FAIL, "host.sidecar",
                   "is it siolite-ws, with this path and these transports?",
                   "%s answers %.*s", address, STR_ARG(line));
}

/* One upgrade to the sidecar itself. */
static void
check_upgrade(struct doctor *d, const char *address)
{
    struct conf_list l = {0};
    struct buf url = {0}, err = {0};
    struct doctor_ws_target t = {.query = "EIO=4&transport=websocket",
                                 .is_insecure = true};
    struct doctor_ws *w;
    int status = 0;
    if (conf_add_address(&l, address) != RC_OK)
        return;
    buf_append_f(&url, "%s://%s%s%s%s/", d->c->cfg.ws_tls_cert[0] ? "https" : "http",
                 l.at[0].is_unix ? "localhost" : l.at[0].host, l.at[0].is_unix ? "" : ":",
                 l.at[0].port, d->c->cfg.path);
    buf_append_c(&url, 0);
    t.url = url.p;
    t.unix_path = l.at[0].is_unix ? address : NULL;
    if (doctor_ws_open(&w, &t, &status, &err) == RC_OK) {
        say_upgrade(d, address, status, doctor_ws_answer(w));
        doctor_ws_close(w);
    } else {
        doctor_say(d, DOCTOR_FAIL, "host.sidecar",
                   "start siolite-ws, or correct ws_listen; its log says why it ended",
                   "%s: %.*s", address, STR_ARG(buf_str(&err)));
    }
    conf_list_fini(&l);
    buf_fini(&url);
    buf_fini(&err);
}

static struct fronts
find_fronts(struct doctor *d)
{
    struct fronts all = {.n = 0};
    if (d->c->st && ctl_read(d->c, "process", NULL, 0, FRONTS_MAX, on_process, &all) != 0)
        all.n = 0;
    return all;
}

void
doctor_check_host(struct doctor *d)
{
    struct fronts all = find_fronts(d);
    check_versions(d);
    check_limits(d);
    check_tasks(d);
    check_inotify(d);
    if (d->c->st) {
        check_running(d, &all);
        check_each(d, &all);
    }
    if (d->c->cfg.is_polling && d->c->cfg.fcgi_listen[0] == '/')
        check_socket(d, d->c->cfg.fcgi_listen);
}

/* Those that run, where they really listen; else where one should. */
void
doctor_check_sidecar(struct doctor *d)
{
    struct fronts all = find_fronts(d);
    const char *configured = d->c->cfg.ws_listen;
    size_t n = 0;
    if (!d->c->cfg.is_websocket)
        return;
    for (size_t i = 0; i < all.n; i++) {
        if (strcmp(all.list[i].name, "ws") != 0 || all.list[i].is_dead)
            continue;
        check_upgrade(d, all.list[i].address);
        n++;
    }
    if (n == 0)
        check_upgrade(d, configured[0] ? configured : "127.0.0.1:8090");
}
