/*
 * A shared object without app_load(), for tests of the loader.
 *
 * SPDX-License-Identifier: MIT
 */
#include <siolite/app.h>

int app_unload(void);

int
app_unload(void)
{
    return APP_ABI;
}
