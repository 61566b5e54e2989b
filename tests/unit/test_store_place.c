/*
 * store/place.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/open.h"
#include "store_schema.h"

static void
test_file_systems_of_other_machines_are_told_apart(void **state)
{
    static const struct {
        uint32_t type;
        enum store_place place;
        const char *name;
    } cases[] = {{0x6969, STORE_PLACE_NETWORK, "NFS"},
                 {0xff534d42, STORE_PLACE_NETWORK, "CIFS"},
                 {0x65735546, STORE_PLACE_UNSURE, "FUSE"},
                 {0xef53, STORE_PLACE_LOCAL, "ext4"},
                 {0x1234, STORE_PLACE_LOCAL, "a local file system"}};
    const char *name;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(store_place_classify(cases[i].type, &name), cases[i].place);
        assert_string_equal(name, cases[i].name);
    }
}

static void
test_a_missing_file_lies_where_its_folder_does(void **state)
{
    const char *of_file, *of_folder;
    struct buf err = {0};
    (void)state;
    assert_int_equal(store_place_find("/tmp/siolite-none.db", &of_file),
                     store_place_find("/tmp", &of_folder));
    assert_string_equal(of_file, of_folder);
    assert_int_equal(store_place_check("/tmp/siolite-none.db", &err), RC_OK);
    assert_int_equal(store_place_check("/nowhere/at/all.db", &err), RC_OK);
    buf_fini(&err);
}

/* The head of a file, as SQLite writes it. */
static void
write_head(const char *file, const char *magic, uint32_t version, uint32_t id, size_t n)
{
    unsigned char head[100] = {0};
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    memcpy(head, magic, strlen(magic));
    for (size_t i = 0; i < 4; i++) {
        head[60 + i] = (unsigned char)(version >> (24 - 8 * i));
        head[68 + i] = (unsigned char)(id >> (24 - 8 * i));
    }
    assert_int_equal(fwrite(head, 1, n, f), n);
    fclose(f);
}

static void
test_a_file_says_what_it_is(void **state)
{
    char file[] = "/tmp/siolite-place-XXXXXX";
    struct store_peek p;
    (void)state;
    close(mkstemp(file));
    assert_int_equal(store_place_peek(file, &p), RC_NOTFOUND);
    write_head(file, "SQLite format 3", 7, 99, 100);
    assert_int_equal(store_place_peek(file, &p), RC_OK);
    assert_int_equal(p.version, 7);
    assert_int_equal(p.application_id, 99);
    assert_false(p.is_ours || p.is_newer || p.is_older);
    write_head(file, "SQLite format 3", STORE_SCHEMA_VERSION, STORE_APPLICATION_ID, 100);
    assert_int_equal(store_place_peek(file, &p), RC_OK);
    assert_true(p.is_ours && !p.is_newer && !p.is_older);
    write_head(file, "SQLite format 3", STORE_SCHEMA_VERSION + 1, STORE_APPLICATION_ID,
               100);
    assert_int_equal(store_place_peek(file, &p), RC_OK);
    assert_true(p.is_newer);
    write_head(file, "SQLite format 3", 0, STORE_APPLICATION_ID, 100);
    assert_int_equal(store_place_peek(file, &p), RC_OK);
    assert_true(p.is_older);
    write_head(file, "SQLite format 3", 1, 1, 99);
    assert_int_equal(store_place_peek(file, &p), RC_INVALID);
    write_head(file, "Something else", 1, 1, 100);
    assert_int_equal(store_place_peek(file, &p), RC_INVALID);
    unlink(file);
    assert_int_equal(store_place_peek(file, &p), RC_NOTFOUND);
    assert_int_equal(store_place_peek("/tmp", &p), RC_IO);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file_systems_of_other_machines_are_told_apart),
        cmocka_unit_test(test_a_missing_file_lies_where_its_folder_does),
        cmocka_unit_test(test_a_file_says_what_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
