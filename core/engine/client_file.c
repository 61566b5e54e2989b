/*
 * See client_file.h.
 *
 * Invariants:
 * 1. Files are read once, before the loop runs: a request waits for no disk.
 * 2. Nothing of a request becomes a part of a file name: only the names below are served.
 * 3. Together they take no more than TOTAL_BYTES_MAX.
 * 4. Brotli is a file beside the file, made where the client was installed: the best form
 * costs seconds once, and no library here. One that is older than its original is not
 * used.
 *
 * Loop thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/client_file.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "core/base/log.h"

#define TOTAL_BYTES_MAX ((size_t)8 << 20)
#define SCRIPT_TYPE "application/javascript; charset=utf-8"
#define MAP_TYPE "application/json; charset=utf-8"

static const struct {
    const char *name, *type;
} FILES[] = {
    {"socket.io.js", SCRIPT_TYPE},
    {"socket.io.js.map", MAP_TYPE},
    {"socket.io.min.js", SCRIPT_TYPE},
    {"socket.io.min.js.map", MAP_TYPE},
    {"socket.io.esm.min.js", SCRIPT_TYPE},
    {"socket.io.esm.min.js.map", MAP_TYPE},
    {"socket.io.msgpack.min.js", SCRIPT_TYPE},
    {"socket.io.msgpack.min.js.map", MAP_TYPE},
};
#define N_FILES (sizeof FILES / sizeof FILES[0])

/* Where they are looked for without client_dir, from the program's own folder: installed
 * in bin/ or lib/siolite/, or unpacked by hand. */
static const char *const FOLDERS[] = {"../share/siolite/client",
                                      "../../share/siolite/client", "client"};

struct client_files {
    struct buf text[N_FILES]; /* empty: that one is not there */
    struct buf brotli[N_FILES];
    size_t n_bytes;
    char etag[64]; /* with its quotes */
};

/* ---- reading ---- */

static void
join(struct buf *path, const char *folder, const char *name)
{
    buf_clear(path);
    buf_append_f(path, "%s/%s", folder, name);
    buf_append_c(path, '\0');
}

static bool
read_file(const char *path, size_t n_max, struct buf *out)
{
    FILE *f = fopen(path, "re");
    size_t n;
    if (f == NULL)
        return false;
    do {
        n = fread(buf_reserve(out, 65536), 1, 65536, f);
        out->len += n;
    } while (n > 0 && out->len <= n_max);
    bool is_ok = !ferror(f) && out->len <= n_max;
    fclose(f);
    if (!is_ok)
        buf_fini(out);
    return is_ok;
}

/* They stay for long, so in memory that fits. */
static void
read_fitting(struct client_files *files, const char *path, struct buf *out)
{
    if (!read_file(path, TOTAL_BYTES_MAX - files->n_bytes, out))
        return;
    char *fitting = str_dup(buf_str(out));
    size_t len = out->len;
    buf_fini(out);
    *out = (struct buf){.p = fitting, .len = len, .cap = len + 1};
    files->n_bytes += len;
}

static bool
is_older(const char *path, const char *than)
{
    struct stat a, b;
    if (stat(path, &a) != 0 || stat(than, &b) != 0)
        return true;
    return a.st_mtim.tv_sec < b.st_mtim.tv_sec || (a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
                                                   a.st_mtim.tv_nsec < b.st_mtim.tv_nsec);
}

static void
read_files(struct client_files *files, const char *folder)
{
    struct buf path = {0}, brotli = {0};
    for (size_t i = 0; i < N_FILES; i++) {
        join(&path, folder, FILES[i].name);
        read_fitting(files, path.p, &files->text[i]);
        buf_clear(&brotli);
        buf_append_f(&brotli, "%s.br", path.p);
        buf_append_c(&brotli, '\0');
        if (files->text[i].len > 0 && !is_older(brotli.p, path.p))
            read_fitting(files, brotli.p, &files->brotli[i]);
    }
    buf_fini(&path);
    buf_fini(&brotli);
}

/* The package's version: its package.json lies in the folder, or above `dist`. */
static bool
read_version(struct client_files *files, const char *folder)
{
    static const char *const names[] = {"package.json", "../package.json"};
    struct buf path = {0};
    bool is_found = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !is_found; i++) {
        join(&path, folder, names[i]);
        json_t *package = json_load_file(path.p, 0, NULL);
        const char *name = json_string_value(json_object_get(package, "name"));
        const char *version = json_string_value(json_object_get(package, "version"));
        is_found =
            name && strcmp(name, "socket.io-client") == 0 && version &&
            strlen(version) + 3 <= sizeof files->etag &&
            strspn(version, "0123456789.abcdefghijklmnopqrstuvwxyz-+") == strlen(version);
        if (is_found)
            snprintf(files->etag, sizeof files->etag, "\"%s\"", version);
        json_decref(package);
    }
    buf_fini(&path);
    return is_found;
}

/* FNV-1a: what is there instead of a version. */
static void
hash_files(struct client_files *files)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < N_FILES; i++)
        for (size_t j = 0; j < files->text[i].len; j++)
            hash = (hash ^ (unsigned char)files->text[i].p[j]) * 0x100000001b3u;
    snprintf(files->etag, sizeof files->etag, "\"%016" PRIx64 "\"", hash);
}

/* Beside the program; false: nowhere. */
static bool
find_folder(struct buf *out)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return false;
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    for (size_t i = 0; i < sizeof FOLDERS / sizeof FOLDERS[0]; i++) {
        join(out, self, FOLDERS[i]);
        if (access(out->p, R_OK | X_OK) == 0)
            return true;
    }
    return false;
}

struct client_files *
client_files_load(const struct cfg *cfg)
{
    struct client_files *files;
    struct buf found = {0};
    const char *folder = cfg->client_dir;
    if (!cfg->is_serve_client)
        return NULL;
    if (folder[0] == '\0')
        folder = find_folder(&found) ? found.p : NULL;
    files = xcalloc(1, sizeof *files);
    if (folder != NULL)
        read_files(files, folder);
    if (files->n_bytes == 0) {
        log_info("engine", "client.absent", LOG_Z("folder", folder ? folder : ""),
                 LOG_Z("what", "the JavaScript client is not served"));
        client_files_destroy(files);
        files = NULL;
    } else {
        if (!read_version(files, folder))
            hash_files(files);
        log_info("engine", "client.served", LOG_Z("folder", folder),
                 LOG_Z("etag", files->etag));
    }
    buf_fini(&found);
    return files;
}

void
client_files_destroy(struct client_files *files)
{
    for (size_t i = 0; files != NULL && i < N_FILES; i++) {
        buf_fini(&files->text[i]);
        buf_fini(&files->brotli[i]);
    }
    free(files);
}

/* ---- answering ---- */

/* The number of the file that a GET or HEAD names; N_FILES: none. */
static size_t
find(const struct cfg *cfg, const struct engine_request *r)
{
    size_t len = strlen(cfg->path), i = N_FILES;
    bool is_ours = (str_eqz(r->method, "GET") || str_eqz(r->method, "HEAD")) &&
                   str_has_prefix(r->path, str_of(cfg->path)) && r->path.len > len &&
                   r->path.p[len] == '/';
    for (i = is_ours ? 0 : N_FILES; i < N_FILES; i++)
        if (str_eqz(str_slice(r->path, len + 1, r->path.len), FILES[i].name))
            break;
    return i;
}

bool
client_files_is_name(const struct cfg *cfg, const struct engine_request *r)
{
    return find(cfg, r) < N_FILES;
}

/* If-None-Match: a list of tags, strong or weak, or a star. */
static bool
is_match(struct str tags, const char *etag)
{
    while (tags.len > 0) {
        struct str tag = str_cut(&tags, ',');
        if (str_has_prefix(tag, STR("W/")))
            tag = str_slice(tag, 2, tag.len);
        if (str_eqz(tag, etag) || str_eqz(tag, "*"))
            return true;
    }
    return false;
}

/* Accept-Encoding: is br in it, and not with q=0? */
static bool
accepts_brotli(struct str accept)
{
    while (accept.len > 0) {
        struct str q = str_cut(&accept, ',');
        struct str name = str_cut(&q, ';');
        if (!str_eq_nocase(name, "br"))
            continue;
        size_t equals = str_index(q, '=');
        q = str_slice(q, equals + 1, q.len);
        bool is_zero = q.len > 0;
        for (size_t i = 0; i < q.len; i++)
            is_zero &= q.p[i] == '0' || q.p[i] == '.' || q.p[i] == ' ';
        return !is_zero;
    }
    return false;
}

/* EIO-CLIENT-FILE */
bool
client_files_answer(const struct client_files *files, const struct cfg *cfg,
                    const struct engine_request *r, struct buf *headers,
                    struct engine_answer *out)
{
    size_t i = files != NULL ? find(cfg, r) : N_FILES;
    if (i == N_FILES || files->text[i].len == 0)
        return false;
    size_t threshold = (size_t)cfg->http_compression_bytes;
    buf_append_f(headers,
                 "Cache-Control: public, max-age=0\r\nETag: %s\r\n"
                 "Vary: Accept-Encoding\r\n",
                 files->etag);
    if (is_match(engine_header_get(r, "if-none-match"), files->etag))
        *out = (struct engine_answer){.status = 304};
    else
        *out = (struct engine_answer){
            .status = 200,
            .content_type = FILES[i].type,
            .body = buf_str(&files->text[i]),
            .can_compress = threshold > 0 && files->text[i].len >= threshold,
        };
    if (out->can_compress && files->brotli[i].len > 0 &&
        accepts_brotli(engine_header_get(r, "accept-encoding"))) {
        out->body = buf_str(&files->brotli[i]);
        out->can_compress = false;
        buf_append_z(headers, "Content-Encoding: br\r\n");
    }
    out->headers = buf_str(headers);
    return true;
}
