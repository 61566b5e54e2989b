/*
 * Test vectors: folders DIR/CASE with a file `input` and a file of what is expected. Each
 * case becomes one cmocka test named after its folder; the test gets a struct vector.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_TESTS_UNIT_VECTOR_H
#define SIOLITE_TESTS_UNIT_VECTOR_H

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/buf.h"

struct vector {
    char *name;
    struct str input; /* exactly as long as its allocation, for the sanitizer to watch */
    char *expect;
};

static struct str
vector_read(const char *dir, const char *name, const char *file)
{
    struct buf path = {0}, text = {0};
    struct str exact;
    FILE *f;
    size_t n;
    buf_append_f(&path, "%s/%s/%s", dir, name, file);
    buf_append_c(&path, 0);
    f = fopen(path.p, "rb");
    if (f == NULL) {
        fprintf(stderr, "%s is missing\n", path.p);
        abort();
    }
    do {
        n = fread(buf_reserve(&text, 4096), 1, 4096, f);
        text.len += n;
    } while (n > 0);
    fclose(f);
    exact = (struct str){memcpy(xmalloc(text.len), text.p, text.len), text.len};
    buf_fini(&path);
    buf_fini(&text);
    return exact;
}

/* Runs `test` on every case of `dir`; the file of expectations is named `expect_file`. */
static int
vector_run(const char *dir, const char *expect_file, CMUnitTestFunction test)
{
    struct dirent **entries = NULL;
    int n = scandir(dir, &entries, NULL, alphasort), n_failed;
    size_t n_tests = 0;
    struct CMUnitTest *tests = xcalloc((size_t)(n > 0 ? n : 1), sizeof *tests);
    struct vector *vectors = xcalloc((size_t)(n > 0 ? n : 1), sizeof *vectors);
    for (int i = 0; i < n; i++) {
        if (entries[i]->d_name[0] != '.') {
            struct vector *v = &vectors[n_tests];
            struct str text = vector_read(dir, entries[i]->d_name, expect_file);
            v->name = xstrdup(entries[i]->d_name);
            v->input = vector_read(dir, v->name, "input");
            v->expect = str_dup(text);
            free((char *)text.p);
            tests[n_tests++] = (struct CMUnitTest){v->name, test, NULL, NULL, v};
        }
        free(entries[i]);
    }
    free(entries);
    if (n_tests == 0) {
        fprintf(stderr, "no cases in %s\n", dir);
        abort();
    }
    n_failed = _cmocka_run_group_tests(dir, tests, n_tests, NULL, NULL);
    for (size_t i = 0; i < n_tests; i++) {
        free(vectors[i].name);
        free((char *)vectors[i].input.p);
        free(vectors[i].expect);
    }
    free(vectors);
    free(tests);
    return n_failed;
}

#endif
