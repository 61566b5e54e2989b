/*
 * siolite: where the installation's programs and files are.
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/ctl/ctl.h"

char *
ctl_absolute(const char *path)
{
    char *real = realpath(path, NULL), *folder;
    const char *slash = strrchr(path, '/');
    struct buf b = {0};
    if (real)
        return real;
    if (slash == NULL) {
        folder = ctl_absolute(".");
    } else if (slash == path) {
        folder = xstrdup("");
    } else {
        char *up = str_dup((struct str){path, (size_t)(slash - path)});
        folder = ctl_absolute(up);
        free(up);
    }
    buf_append_z(&b, strcmp(folder, "/") == 0 ? "" : folder);
    buf_append_c(&b, '/');
    buf_append_z(&b, slash ? slash + 1 : path);
    free(folder);
    return buf_take(&b, NULL);
}

/* The folder of this program, with a slash at its end. In the tarball it is started by a
 * loader, and a script, which is what has the name. */
static void
find_self(char self[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", self, PATH_MAX - 1);
    char *slash;
    self[n > 0 ? n : 0] = 0;
    slash = strrchr(self, '/');
    if (slash && strncmp(slash, "/ld-linux", strlen("/ld-linux")) == 0 &&
        realpath(program_invocation_name, self))
        slash = strrchr(self, '/');
    if (slash)
        slash[1] = 0;
}

/* Beside this program in a build, or as `make install` and `make dist` put them. */
char *
ctl_program(const char *name, bool *is_there)
{
    static const char *const folders[] = {"", "../lib/siolite/", "../bin/",
                                          "../socket.io/"};
    char self[PATH_MAX], *found = NULL;
    find_self(self);
    *is_there = false;
    for (size_t i = 0; i < sizeof folders / sizeof *folders && !*is_there; i++) {
        struct buf b = {0};
        buf_append_f(&b, "%s%s%s", self, folders[i], name);
        buf_append_c(&b, 0);
        free(found);
        found = ctl_absolute(b.p);
        buf_fini(&b);
        *is_there = access(found, X_OK) == 0;
    }
    return found;
}
