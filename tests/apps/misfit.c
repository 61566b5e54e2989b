/*
 * An application that makes the mistake which the environment variable MISFIT names; none
 * if it is not set. For tests of the loader; registers only, so that any program can
 * resolve its symbols.
 *
 * SPDX-License-Identifier: MIT
 */
#include <siolite/app.h>

#include <stdlib.h>
#include <string.h>

static void
on_hello(struct app_call *c)
{
    (void)c;
}

int
app_load(struct app *a, int abi)
{
    const char *misfit = getenv("MISFIT");
    struct app_nsp *n = app_nsp(a, "/");

    app_on_event(n, "hello", on_hello);
    app_on_event(n, NULL, on_hello);
    if (misfit == NULL)
        return 0;
    if (!strcmp(misfit, "abi"))
        return abi + 1;
    if (!strcmp(misfit, "reserved"))
        app_on_event(n, "disconnect", on_hello);
    if (!strcmp(misfit, "refuse"))
        return -1;
    return 0;
}
