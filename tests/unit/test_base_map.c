/*
 * core/base/map.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static char things[4096];

static void
test_zeroed_map_is_empty(void **state)
{
    struct map m = {0};
    size_t i = 0;
    (void)state;
    assert_null(map_find(&m, 7));
    assert_null(map_remove(&m, 7));
    assert_null(map_next(&m, &i, NULL));
    map_fini(&m);
    map_fini(&m);
}

static void
test_entry_is_found_replaced_and_removed(void **state)
{
    struct map m = {0};
    (void)state;
    map_put(&m, 7, &things[1]);
    assert_ptr_equal(map_find(&m, 7), &things[1]);
    assert_null(map_find(&m, 8));
    map_put(&m, 7, &things[2]);
    assert_int_equal(m.n, 1);
    assert_ptr_equal(map_remove(&m, 7), &things[2]);
    assert_null(map_remove(&m, 7));
    assert_int_equal(m.n, 0);
    map_fini(&m);
}

static void
test_any_number_is_a_key(void **state)
{
    static const int64_t keys[] = {0, 1, -1, INT64_MAX, INT64_MIN, (int64_t)1 << 40};
    struct map m = {0};
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        map_put(&m, keys[i], &things[i]);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_ptr_equal(map_find(&m, keys[i]), &things[i]);
    map_fini(&m);
}

static void
test_map_grows_and_shrinks(void **state)
{
    struct map m = {0};
    (void)state;
    for (int64_t i = 0; i < 4096; i++) {
        map_put(&m, i * 4 + 2, &things[i]); /* keys as store_key() makes them */
        assert_true(m.n * 4 <= m.cap * 3);
    }
    for (int64_t i = 0; i < 4096; i++)
        assert_ptr_equal(map_find(&m, i * 4 + 2), &things[i]);
    for (int64_t i = 0; i < 4090; i++)
        assert_ptr_equal(map_remove(&m, i * 4 + 2), &things[i]);
    assert_true(m.cap <= 64);
    for (int64_t i = 4090; i < 4096; i++)
        assert_ptr_equal(map_find(&m, i * 4 + 2), &things[i]);
    map_fini(&m);
}

static void
test_walk_meets_each_entry_once(void **state)
{
    struct map m = {0};
    size_t i = 0, n = 0;
    int64_t key, sum = 0;
    char *value;
    (void)state;
    for (int64_t k = 1; k <= 100; k++)
        map_put(&m, -k, &things[k]);
    while ((value = map_next(&m, &i, &key)) != NULL) {
        assert_ptr_equal(value, &things[-key]);
        sum += key;
        n++;
    }
    assert_int_equal(n, 100);
    assert_int_equal(sum, -5050);
    map_fini(&m);
}

/* Few keys, so that entries collide and are shifted back over the end of the table. */
static void
test_map_is_what_an_array_is_whatever_is_put_and_removed(void **state)
{
    enum { N_KEYS = 60 };
    struct map m = {0};
    char *model[N_KEYS] = {NULL};
    uint64_t random = 42;
    size_t n = 0;
    (void)state;
    for (int step = 0; step < 200000; step++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t k = (size_t)(random >> 33) % N_KEYS;
        int64_t key = (int64_t)k * ((int64_t)1 << (k % 3 * 18));
        bool is_growing = step / 500 % 2 == 0;
        if ((random >> 20) % 4 < (is_growing ? 3 : 1)) {
            n += model[k] == NULL;
            model[k] = &things[random >> 52];
            map_put(&m, key, model[k]);
        } else {
            assert_ptr_equal(map_remove(&m, key), model[k]);
            n -= model[k] != NULL;
            model[k] = NULL;
        }
        assert_int_equal(m.n, n);
        for (size_t j = step % 8; j < N_KEYS; j += 8)
            assert_ptr_equal(map_find(&m, (int64_t)j * ((int64_t)1 << (j % 3 * 18))),
                             model[j]);
    }
    map_fini(&m);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zeroed_map_is_empty),
        cmocka_unit_test(test_entry_is_found_replaced_and_removed),
        cmocka_unit_test(test_any_number_is_a_key),
        cmocka_unit_test(test_map_grows_and_shrinks),
        cmocka_unit_test(test_walk_meets_each_entry_once),
        cmocka_unit_test(test_map_is_what_an_array_is_whatever_is_put_and_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
