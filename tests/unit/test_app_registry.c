/*
 * core/app/registry.c: registering, finding, and every way in which an application fails
 * to load. The shared objects are tests/apps/{misfit,no_load,unresolved}.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/app/registry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
on_one(struct app_call *c)
{
    (void)c;
}

static void
on_two(struct app_call *c)
{
    (void)c;
}

static int
setup(void **state)
{
    struct app *a = xcalloc(1, sizeof *a);
    app_registry_init(a);
    *state = a;
    return 0;
}

static int
teardown(void **state)
{
    unsetenv("MISFIT");
    app_registry_fini(*state);
    free(*state);
    return 0;
}

/* The whole message that loading `file` of the build folder gives, without the folder. */
static void
assert_load(struct app *a, const char *file, enum rc want_rc, const char *want)
{
    const char *build = getenv("SIOLITE_BUILD");
    struct buf path = {0}, err = {0};
    const char *text;

    buf_append_f(&path, "%s/apps/%s%c", build ? build : "build/release", file, 0);
    assert_int_equal(app_registry_load(a, path.p, 0, &err), want_rc);
    buf_append_c(&err, 0);
    text = strstr(err.p, file);
    if (want && strcmp(text ? text : err.p, want) != 0)
        assert_string_equal(err.p, want);
    buf_fini(&path);
    buf_fini(&err);
}

static void
test_root_namespace_exists_without_registration(void **state)
{
    const struct app_nsp *n = app_registry_find(*state, STR("/"));
    assert_non_null(n);
    assert_ptr_equal(n, app_nsp(*state, "/"));
    assert_null(app_registry_find(*state, STR("/other")));
    assert_null(app_registry_find(*state, STR("")));
    assert_null(app_registry_find(*state, STR_NONE));
}

static void
test_exact_namespace_wins_over_pattern(void **state)
{
    struct app_nsp *pattern = app_nsp(*state, "~^/dyn-[0-9]+$");
    struct app_nsp *exact = app_nsp(*state, "/dyn-7");
    assert_ptr_equal(app_registry_find(*state, STR("/dyn-7")), exact);
    assert_ptr_equal(app_registry_find(*state, STR("/dyn-8")), pattern);
    assert_ptr_equal(app_nsp(*state, "~^/dyn-[0-9]+$"), pattern);
    assert_string_equal(pattern->name, "^/dyn-[0-9]+$");
    assert_null(((struct app *)*state)->error);
}

/* SIO-NSP-DYNAMIC */
static void
test_pattern_matches_the_whole_name_only(void **state)
{
    struct app_nsp *n = app_nsp(*state, "~/(a|ab)");
    assert_ptr_equal(app_registry_find(*state, STR("/a")), n);
    assert_ptr_equal(app_registry_find(*state, STR("/ab")), n);
    assert_null(app_registry_find(*state, STR("/abc")));
    assert_null(app_registry_find(*state, STR("x/ab")));
    assert_null(app_registry_find(*state, STR("/A")));
    assert_null(app_registry_find(*state, STR("/ab\n")));
    assert_null(app_registry_find(*state, STR("/ab\0c")));
}

static void
test_first_matching_pattern_wins(void **state)
{
    struct app_nsp *first = app_nsp(*state, "~/x.*");
    app_nsp(*state, "~/xy");
    assert_ptr_equal(app_registry_find(*state, STR("/xy")), first);
}

static void
test_event_handlers_are_found_by_name_then_fallback(void **state)
{
    struct app_nsp *n = app_nsp(*state, "/");
    app_on_event(n, NULL, on_two);
    app_on_event(n, "a", on_one);
    assert_ptr_equal(app_handler_find(n->on_event, STR("a"), true)->fn, on_one);
    assert_ptr_equal(app_handler_find(n->on_event, STR("a\0"), true)->fn, on_two);
    assert_ptr_equal(app_handler_find(n->on_event, STR("b"), true)->fn, on_two);
    assert_null(app_handler_find(n->on_event, STR("b"), false));
    assert_null(app_handler_find(NULL, STR("a"), true));
}

static void
test_nameless_handlers_keep_their_order(void **state)
{
    struct app_nsp *n = app_nsp(*state, "/");
    app_use(n, on_two);
    app_use(n, on_one);
    app_use_packet(n, on_one);
    app_on_connect(n, on_one);
    app_on_disconnect(n, on_one);
    app_on_later(n, "soon", on_one);
    assert_ptr_equal(n->use->fn, on_two);
    assert_ptr_equal(n->use->next->fn, on_one);
    assert_ptr_equal(app_handler_find(n->on_later, STR("soon"), false)->fn, on_one);
    assert_null(((struct app *)*state)->error);
}

static void
test_sql_is_kept_in_order(void **state)
{
    struct app *a = *state;
    app_schema(a, 1, "CREATE TABLE x(a)");
    app_schema(a, 3, "CREATE TABLE y(a)");
    app_sql(a, "first", "SELECT 1");
    app_sql(a, "second", "SELECT 2");
    assert_null(a->error);
    assert_int_equal(a->schemas->version, 1);
    assert_int_equal(a->schemas->next->version, 3);
    assert_null(a->schemas->name);
    assert_string_equal(a->statements->next->name, "second");
    assert_string_equal(a->statements->next->sql, "SELECT 2");
}

/* Each mistake by a verb, and what is said about it. */
static void
assert_mistake(const char *want, void (*make)(struct app *a, struct app_nsp *root))
{
    struct app a;
    app_registry_init(&a);
    make(&a, a.nsps);
    assert_non_null(a.error);
    assert_string_equal(a.error, want);
    app_registry_fini(&a);
}

static void
make_reserved(struct app *a, struct app_nsp *root)
{
    (void)root;
    app_on_event(app_nsp(a, "~/a+"), "newListener", on_one);
}

static void
make_twice(struct app *a, struct app_nsp *root)
{
    (void)a;
    app_on_event(root, "a", on_one);
    app_on_event(root, "a", on_two);
}

static void
make_fallback_twice(struct app *a, struct app_nsp *root)
{
    (void)a;
    app_on_event(root, NULL, on_one);
    app_on_event(root, NULL, on_one);
}

static void
make_no_headers(struct app *a, struct app_nsp *root)
{
    (void)root;
    app_on_headers(a, NULL);
}

static void
make_no_connection_error(struct app *a, struct app_nsp *root)
{
    (void)root;
    app_on_connection_error(a, NULL);
}

static void
make_no_function(struct app *a, struct app_nsp *root)
{
    (void)a;
    app_on_connect(root, NULL);
}

static void
make_later_without_name(struct app *a, struct app_nsp *root)
{
    (void)a;
    app_on_later(root, "", on_one);
}

static void
make_bad_regex(struct app *a, struct app_nsp *root)
{
    (void)root;
    app_on_event(app_nsp(a, "~/dyn-([0-9]"), "a", on_one);
}

static void
make_bad_name(struct app *a, struct app_nsp *root)
{
    (void)root;
    app_on_event(app_nsp(a, "chat"), "a", on_one);
}

static void
make_schema_back(struct app *a, struct app_nsp *root)
{
    (void)root;
    app_schema(a, 2, "CREATE TABLE x(a)");
    app_schema(a, 2, "CREATE TABLE y(a)");
}

static void
make_statement_twice(struct app *a, struct app_nsp *root)
{
    (void)root;
    app_sql(a, "keep", "SELECT 1");
    app_sql(a, "keep", "SELECT 2");
}

static void
make_two_mistakes(struct app *a, struct app_nsp *root)
{
    make_statement_twice(a, root);
    make_schema_back(a, root);
}

static void
test_mistakes_are_named(void **state)
{
    (void)state;
    assert_mistake("app_on_event(\"~/a+\", \"newListener\"): the name is reserved",
                   make_reserved);
    assert_mistake("app_on_event(\"/\", \"a\"): registered twice", make_twice);
    assert_mistake("app_on_event(\"/\", \"any other\"): registered twice",
                   make_fallback_twice);
    assert_mistake("app_on_connect(\"/\"): no function", make_no_function);
    assert_mistake("app_on_headers(): no function", make_no_headers);
    assert_mistake("app_on_connection_error(): no function", make_no_connection_error);
    assert_mistake("app_on_later(\"/\", \"\"): no name", make_later_without_name);
    assert_mistake("app_nsp(\"~/dyn-([0-9]\"): Unmatched ( or \\(", make_bad_regex);
    assert_mistake("app_nsp(\"chat\"): a namespace begins with '/' and has no ','",
                   make_bad_name);
    assert_mistake("app_schema(2): versions begin with 1 and grow; the last one was 2",
                   make_schema_back);
    assert_mistake("app_sql(\"keep\"): registered twice", make_statement_twice);
    assert_mistake("app_sql(\"keep\"): registered twice", make_two_mistakes);
}

static void
test_load_registers(void **state)
{
    struct app *a = *state;
    assert_load(a, "misfit.so", RC_OK, NULL);
    assert_non_null(app_handler_find(a->nsps->on_event, STR("hello"), false));
    assert_non_null(a->handle);
}

static void
test_load_names_a_missing_file(void **state)
{
    assert_load(*state, "absent.so", RC_NOTFOUND, "absent.so: No such file or directory");
}

static void
test_load_names_a_missing_symbol(void **state)
{
    assert_load(*state, "no_load.so", RC_INVALID,
                "no_load.so: not a siolite application: it exports no app_load()");
}

static void
test_load_refuses_what_is_no_shared_object(void **state)
{
    struct buf err = {0};
    char *text;
    assert_int_equal(app_registry_load(*state, "/proc/self/status", 0, &err), RC_INVALID);
    text = buf_take(&err, NULL);
    assert_non_null(strstr(text, "not a siolite application"));
    free(text);
}

static void
test_load_names_an_unresolved_verb(void **state)
{
    struct buf err = {0};
    const char *build = getenv("SIOLITE_BUILD");
    struct buf path = {0};
    char *text;
    buf_append_f(&path, "%s/apps/unresolved.so%c", build ? build : "build/release", 0);
    assert_int_equal(app_registry_load(*state, path.p, 0, &err), RC_INVALID);
    text = buf_take(&err, NULL);
    assert_non_null(strstr(text, "undefined symbol: app_verb_of_tomorrow"));
    free(text);
    buf_fini(&path);
}

static void
test_load_tells_both_abi_numbers(void **state)
{
    setenv("MISFIT", "abi", 1);
    assert_load(*state, "misfit.so", RC_INVALID,
                "misfit.so: built for application ABI 2, this siolite has 1");
}

static void
test_load_tells_that_the_application_refused(void **state)
{
    setenv("MISFIT", "refuse", 1);
    assert_load(*state, "misfit.so", RC_INVALID,
                "misfit.so: app_load() refused (it returned -1)");
}

static void
test_load_tells_the_first_mistake(void **state)
{
    setenv("MISFIT", "reserved", 1);
    assert_load(*state, "misfit.so", RC_INVALID,
                "misfit.so: app_load(): app_on_event(\"/\", \"disconnect\"): the name is "
                "reserved");
}

static void
test_option_nsp_adds_names_and_patterns(void **state)
{
    struct app *a = *state;
    struct buf err = {0};
    assert_int_equal(app_registry_add_nsps(a, " /chat  ~^/dyn-[0-9]+$ /chat", &err),
                     RC_OK);
    assert_non_null(app_registry_find(a, STR("/chat")));
    assert_non_null(app_registry_find(a, STR("/dyn-7")));
    assert_null(app_registry_find(a, STR("/dyn-x")));
    assert_string_equal(a->nsps->name, "/");
    assert_int_equal(app_registry_add_nsps(a, "/a chat", &err), RC_INVALID);
    assert_true(str_eqz(buf_str(&err), "nsp: app_nsp(\"chat\"): a namespace begins with "
                                       "'/' and has no ','"));
    buf_fini(&err);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_root_namespace_exists_without_registration),
        T(test_exact_namespace_wins_over_pattern),
        T(test_pattern_matches_the_whole_name_only),
        T(test_first_matching_pattern_wins),
        T(test_event_handlers_are_found_by_name_then_fallback),
        T(test_nameless_handlers_keep_their_order),
        T(test_sql_is_kept_in_order),
        T(test_mistakes_are_named),
        T(test_load_registers),
        T(test_load_names_a_missing_file),
        T(test_load_names_a_missing_symbol),
        T(test_load_refuses_what_is_no_shared_object),
        T(test_load_names_an_unresolved_verb),
        T(test_load_tells_both_abi_numbers),
        T(test_load_tells_that_the_application_refused),
        T(test_option_nsp_adds_names_and_patterns),
        T(test_load_tells_the_first_mistake),
    };
    return cmocka_run_group_tests_name("app_registry", tests, NULL, NULL);
}
