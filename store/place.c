/*
 * The place of a database; see place.h.
 *
 * Before the database is opened; main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/place.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "store/open.h"
#include "store_schema.h"

enum {
    HEAD_BYTES = 100, /* of a database file: sqlite.org/fileformat.html */
    VERSION_AT = 60,
    APPLICATION_ID_AT = 68
};

/* Numbers of statfs(2) and linux/magic.h. */
static const struct {
    uint32_t type;
    enum store_place place;
    const char *name;
} PLACES[] = {
    {0x6969, STORE_PLACE_NETWORK, "NFS"},
    {0x517b, STORE_PLACE_NETWORK, "SMB"},
    {0xff534d42, STORE_PLACE_NETWORK, "CIFS"},
    {0xfe534d42, STORE_PLACE_NETWORK, "SMB2"},
    {0x564c, STORE_PLACE_NETWORK, "NCP"},
    {0x5346414f, STORE_PLACE_NETWORK, "AFS"},
    {0x6b414653, STORE_PLACE_NETWORK, "AFS"},
    {0x73757245, STORE_PLACE_NETWORK, "Coda"},
    {0x00c36400, STORE_PLACE_NETWORK, "Ceph"},
    {0x0bd00bd0, STORE_PLACE_NETWORK, "Lustre"},
    {0x47504653, STORE_PLACE_NETWORK, "GPFS"},
    {0x19830326, STORE_PLACE_NETWORK, "BeeGFS"},
    {0x65735546, STORE_PLACE_UNSURE, "FUSE"},
    {0x01021997, STORE_PLACE_UNSURE, "9p"},
    {0x786f4256, STORE_PLACE_UNSURE, "vboxsf"},
    {0x01161970, STORE_PLACE_UNSURE, "GFS2"},
    {0x7461636f, STORE_PLACE_UNSURE, "OCFS2"},
    {0xef53, STORE_PLACE_LOCAL, "ext4"},
    {0x58465342, STORE_PLACE_LOCAL, "XFS"},
    {0x9123683e, STORE_PLACE_LOCAL, "Btrfs"},
    {0x2fc12fc1, STORE_PLACE_LOCAL, "ZFS"},
    {0xf2f52010, STORE_PLACE_LOCAL, "F2FS"},
    {0x01021994, STORE_PLACE_LOCAL, "tmpfs"},
    {0x794c7630, STORE_PLACE_LOCAL, "overlay"},
};

enum store_place
store_place_classify(uint32_t type, const char **name)
{
    for (size_t i = 0; i < sizeof PLACES / sizeof *PLACES; i++) {
        if (PLACES[i].type == type) {
            *name = PLACES[i].name;
            return PLACES[i].place;
        }
    }
    *name = "a local file system";
    return STORE_PLACE_LOCAL;
}

enum store_place
store_place_find(const char *database, const char **name)
{
    struct statfs fs;
    int status = statfs(database, &fs);
    if (status != 0) {
        char *copy = xstrdup(database);
        status = statfs(dirname(copy), &fs);
        free(copy);
    }
    if (status != 0)
        memset(&fs, 0, sizeof fs);
    return store_place_classify((uint32_t)fs.f_type, name);
}

enum rc
store_place_check(const char *database, struct buf *err)
{
    const char *name;
    if (store_place_find(database, &name) != STORE_PLACE_NETWORK)
        return RC_OK;
    buf_append_f(err,
                 "%s: lies on %s, where the processes would not see each other's writes; "
                 "allowed: a file system of this machine's own disk",
                 database, name);
    return RC_INVALID;
}

void
store_place_say(struct buf *err, const char *file, int error)
{
    buf_append_f(err, "%s: %s", file, strerror(error));
    if (error == EACCES || error == EPERM)
        buf_append_f(err,
                     ": user %u can't write it; allowed: a database, files beside it and "
                     "a folder that all who use it may write (siolite doctor)",
                     (unsigned)geteuid());
    else if (error == EROFS)
        buf_append_z(err, "; allowed: one that is mounted for writing, also to read");
}

static int64_t
number_at(const unsigned char *head, size_t at)
{
    return (int64_t)head[at] << 24 | head[at + 1] << 16 | head[at + 2] << 8 |
           head[at + 3];
}

enum rc
store_place_peek(const char *database, struct store_peek *out)
{
    unsigned char head[HEAD_BYTES];
    int fd = open(database, O_RDONLY | O_CLOEXEC);
    ssize_t n;
    if (fd < 0)
        return errno == ENOENT ? RC_NOTFOUND : RC_IO;
    n = read(fd, head, sizeof head);
    close(fd);
    if (n <= 0)
        return n == 0 ? RC_NOTFOUND : RC_IO;
    if (n < HEAD_BYTES || memcmp(head, "SQLite format 3", 16) != 0)
        return RC_INVALID;
    out->version = number_at(head, VERSION_AT);
    out->application_id = number_at(head, APPLICATION_ID_AT);
    out->is_ours = out->application_id == STORE_APPLICATION_ID;
    out->is_newer = out->is_ours && out->version > STORE_SCHEMA_VERSION;
    out->is_older = out->is_ours && out->version < STORE_SCHEMA_VERSION;
    return RC_OK;
}

const char *
store_place_sqlite(void)
{
    return sqlite3_libversion();
}
