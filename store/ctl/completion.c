/*
 * siolite completion: what bash completes, from the same tables as the help.
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>

#include "store/ctl/ctl.h"

static void
print_options(const struct ctl_option *list)
{
    for (; list && list->name; list++)
        printf(" --%s", list->name);
}

static void
print_case(const struct ctl_command *command)
{
    printf("    %s) words='", command->name);
    print_options(command->options);
    puts("' ;;");
}

static int
run_completion(struct ctl *c)
{
    const struct ctl_command *k;
    (void)c;
    puts("# siolite for bash; made by `siolite completion`\n"
         "_siolite() {\n"
         "    local word=${COMP_WORDS[COMP_CWORD]} command= words= i\n"
         "    case ${COMP_WORDS[COMP_CWORD - 1]} in\n"
         "    --config | --database | --attachment)\n"
         "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
         "        return ;;\n"
         "    esac\n"
         "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
         "        case ${COMP_WORDS[i]} in\n"
         "        --config | --database | --set) ((i++)) ;;\n"
         "        --*) ;;\n"
         "        *)\n"
         "            command=${COMP_WORDS[i]}\n"
         "            break ;;\n"
         "        esac\n"
         "    done\n"
         "    case $command in");
    printf("    '') words='");
    for (size_t i = 0; (k = ctl_at(i)) != NULL; i++)
        printf("%s%s", i ? " " : "", k->name);
    puts("' ;;");
    for (size_t i = 0; (k = ctl_at(i)) != NULL; i++)
        print_case(k);
    printf("    esac\n    words+='");
    print_options(ctl_common_options);
    puts("'\n"
         "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
         "}\n"
         "complete -F _siolite siolite");
    return 0;
}

const struct ctl_command ctl_completion = {
    .name = "completion",
    .words = "",
    .help = "Prints what bash needs to complete these commands: source <(siolite "
            "completion)",
    .run = run_completion,
};
