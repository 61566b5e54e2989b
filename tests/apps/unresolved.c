/*
 * An application that calls what no program has, for tests of the loader.
 *
 * SPDX-License-Identifier: MIT
 */
#include <siolite/app.h>

void app_verb_of_tomorrow(struct app *a);

int
app_load(struct app *a, int abi)
{
    app_verb_of_tomorrow(a);
    return abi == APP_ABI ? 0 : APP_ABI;
}
