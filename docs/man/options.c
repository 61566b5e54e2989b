/*
 * Prints the options of the configuration for siolite.conf(5), when the pages are built.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/cfg.h"

int
main(void)
{
    cfg_print_man(stdout);
    return 0;
}
