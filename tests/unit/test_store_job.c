/*
 * store/job.c: jobs, questions and answers happen once, whichever process commits first.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/unit/store_fixture.h"

struct two {
    struct fx fx;
    struct fx_process a, b;
    int64_t session, s[3];
};

static int
set_up(void **state)
{
    struct two *t = xcalloc(1, sizeof *t);
    fx_open(&t->fx);
    fx_process_open(&t->fx, &t->a);
    fx_process_open(&t->fx, &t->b);
    t->session = fx_three_sockets(&t->a, t->s);
    *state = t;
    return 0;
}

static int
tear_down(void **state)
{
    struct two *t = *state;
    fx_process_close(&t->a);
    fx_process_close(&t->b);
    fx_close(&t->fx);
    free(t);
    return 0;
}

static struct fx_outcome
later(struct fx_process *p, int64_t due_ms, const char *name)
{
    struct store_unit *u = store_unit_create();
    store_unit_job(u, due_ms, str_of(name), 0, STR("{\"n\":1}"));
    return fx_run(p, u);
}

static struct fx_outcome
claim(struct fx_process *p, int64_t now_ms, size_t n)
{
    struct store_unit *u = store_unit_create();
    store_unit_jobs_claim(u, now_ms, n);
    return fx_run(p, u);
}

/* Runs the job: its effect is an emit of its name. */
static struct fx_outcome
done(struct fx_process *p, const struct fx_outcome *from, size_t i)
{
    struct store_unit *u = store_unit_create();
    char body[64];
    (void)snprintf(body, sizeof body, "[\"%s\"]", from->jobs[i].name);
    store_unit_guard_job(u, from->jobs[i].job_id, from->jobs[i].gen);
    store_unit_packet(u, FX_TO_ALL, fx_event(body));
    return fx_run(p, u);
}

static struct fx_outcome
ask(struct fx_process *p, const struct store_target *t, int64_t due_ms)
{
    struct store_unit *u = store_unit_create();
    store_unit_ask(u, t, fx_event("[\"how are you\"]"), due_ms, STR("answered"), 0,
                   STR("[7]"));
    return fx_run(p, u);
}

static struct fx_outcome
answer(struct fx_process *p, int64_t ask_seq, int64_t socket_id, const char *body)
{
    struct store_unit *u = store_unit_create();
    store_unit_answer(u, ask_seq, socket_id, str_of(body), STR_NONE);
    return fx_run(p, u);
}

static int64_t
n_effects(struct two *t)
{
    return fx_int(&t->a, "SELECT count(*) FROM t_packet WHERE kind = 2 AND is_ask = 0");
}

/* ---- jobs ---- */

static void
test_job_belongs_to_the_process_that_made_it(void **state)
{
    struct two *t = *state;
    struct fx_outcome o = later(&t->a, 5000, "tick");
    assert_int_equal(o.n_jobs, 1);
    assert_int_equal(o.jobs[0].due_ms, 5000);
    assert_string_equal(o.jobs[0].name, "tick");
    assert_string_equal(o.jobs[0].args, "{\"n\":1}");
    assert_int_equal(claim(&t->b, 6000, 10).n_jobs, 0); /* its keeper lives */
    assert_int_equal(done(&t->b, &o, 0).rc, RC_CONFLICT);
    assert_int_equal(done(&t->a, &o, 0).rc, RC_OK);
    assert_int_equal(done(&t->a, &o, 0).rc, RC_CONFLICT);
    assert_int_equal(n_effects(t), 1);
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_job", 0);
}

static void
test_two_claimers_never_get_the_same_job(void **state)
{
    struct two *t = *state;
    struct fx_outcome first, second;
    fx_exec(&t->a,
            "INSERT INTO t_job (name, due_ms) VALUES ('x', 1), ('y', 2), ('z', 9)");
    first = claim(&t->a, 5, 1);
    second = claim(&t->b, 5, 10);
    assert_int_equal(first.n_jobs, 1);
    assert_string_equal(first.jobs[0].name, "x");
    assert_string_equal(first.jobs[0].args, "null");
    assert_int_equal(second.n_jobs, 1);
    assert_string_equal(second.jobs[0].name, "y");
    assert_int_equal(claim(&t->a, 5, 10).n_jobs, 0);
}

static void
test_job_of_the_dead_is_claimed_and_the_dead_commits_nothing(void **state)
{
    struct two *t = *state;
    struct fx_outcome made = later(&t->a, 10, "tick"), taken;
    struct store_unit *u = store_unit_create();
    store_unit_bury(u, t->a.w.process_id, STR("transport close"), false, FX_NOW_MS, 100);
    (void)fx_run(&t->b, u);
    taken = claim(&t->b, 20, 10);
    assert_int_equal(taken.n_jobs, 1);
    assert_int_equal(taken.jobs[0].job_id, made.jobs[0].job_id);
    assert_int_equal(taken.jobs[0].gen, made.jobs[0].gen + 1);
    assert_int_equal(done(&t->a, &made, 0).rc, RC_CONFLICT); /* it was only slow */
    assert_int_equal(done(&t->b, &taken, 0).rc, RC_OK);
    assert_int_equal(n_effects(t), 1);
}

static void
test_job_whose_process_row_is_gone_is_anybodys(void **state)
{
    struct two *t = *state;
    (void)later(&t->a, 10, "tick");
    fx_exec(&t->a, "DELETE FROM t_process WHERE process_id = 1");
    assert_int_equal(claim(&t->b, 9, 10).n_jobs, 0); /* not due */
    assert_int_equal(claim(&t->b, 10, 10).n_jobs, 1);
}

static void
test_key_is_used_once(void **state)
{
    struct two *t = *state;
    enum rc expected[2] = {RC_OK, RC_CONFLICT};
    for (int i = 0; i < 2; i++) {
        struct store_unit *u = store_unit_create();
        store_unit_guard_once(
            u, &(struct store_once){.key = STR("request-1"), .now_ms = FX_NOW_MS});
        store_unit_packet(u, FX_TO_ALL, fx_event("[\"x\"]"));
        assert_int_equal(fx_run(i ? &t->b : &t->a, u).rc, expected[i]);
    }
    assert_int_equal(n_effects(t), 1);
}

static void
test_used_key_keeps_the_job(void **state)
{
    struct two *t = *state;
    struct fx_outcome made = later(&t->a, 10, "tick");
    struct store_unit *u = store_unit_create();
    fx_exec(&t->a, "INSERT INTO t_dedup (key, made_ms) VALUES ('k', 1)");
    store_unit_guard_job(u, made.jobs[0].job_id, made.jobs[0].gen);
    store_unit_guard_once(u, &(struct store_once){.key = STR("k"), .now_ms = FX_NOW_MS});
    assert_int_equal(fx_run(&t->a, u).rc, RC_CONFLICT);
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_job",
                  1); /* the first guard's work was undone */
}

/* ---- questions ---- */

static void
test_question_expects_everybody_who_is_due_it(void **state)
{
    struct two *t = *state;
    struct fx_outcome o;
    fx_join(&t->a, t->s[0], "R");
    fx_join(&t->a, t->s[2], "R");
    o = ask(&t->a, FX_TO_ROOM("R"), 60000);
    assert_int_equal(o.n_jobs, 1);
    assert_int_equal(o.jobs[0].due_ms, 60000);
    FX_ASSERT_TEXT(&t->a, "SELECT group_concat(socket_id) FROM t_answer", "1,3");
    FX_ASSERT_TEXT(&t->a,
                   "SELECT printf('%d %d %d %d', a.n_expected, a.n_answers, p.is_ask, "
                   "j.ask_seq = p.seq) FROM t_ask a JOIN "
                   "t_packet p USING (seq) JOIN t_job j USING (job_id)",
                   "2 0 1 1");
    assert_string_equal(o.jobs[0].args, "{\"ask\":6,\"state\":[7]}");
}

static void
test_nobody_there_makes_the_continuation_due_at_once(void **state)
{
    struct two *t = *state;
    struct fx_outcome o = ask(&t->a, FX_TO_ROOM("nowhere"), 60000);
    assert_int_equal(o.n_jobs, 1);
    assert_int_equal(o.jobs[0].due_ms, FX_NOW_MS);
    assert_string_equal(o.jobs[0].args, "{\"ask\":0,\"state\":[7]}");
    assert_int_equal(o.last_seq, 0);
    assert_int_equal(done(&t->a, &o, 0).rc, RC_OK);
}

static void
test_last_answer_makes_the_job_due_in_its_commit(void **state)
{
    struct two *t = *state;
    struct fx_outcome asked = ask(&t->a, FX_TO_ALL, STORE_NEVER_MS), o;
    assert_int_equal(answer(&t->b, asked.last_seq, t->s[1], "[1]").n_jobs, 0);
    assert_int_equal(answer(&t->b, asked.last_seq, t->s[0], "[2]").n_jobs, 0);
    o = answer(&t->b, asked.last_seq, t->s[2], "[3]");
    assert_int_equal(o.n_jobs, 1);
    assert_int_equal(o.jobs[0].job_id, asked.jobs[0].job_id);
    assert_int_equal(o.jobs[0].due_ms, FX_NOW_MS);
    assert_string_equal(o.jobs[0].args, asked.jobs[0].args);
    FX_ASSERT_TEXT(
        &t->a,
        "SELECT group_concat(body) FROM (SELECT body FROM t_answer ORDER BY n_before)",
        "[1],[2],[3]");
    assert_int_equal(done(&t->a, &asked, 0).rc, RC_CONFLICT); /* it is b's now */
    assert_int_equal(done(&t->b, &o, 0).rc, RC_OK);
    FX_ASSERT_TEXT(&t->a,
                   "SELECT (SELECT count(*) FROM t_ask) || (SELECT count(*) FROM "
                   "t_answer) || (SELECT count(*) FROM t_job)",
                   "000");
}

static void
test_strangers_and_duplicates_do_not_count(void **state)
{
    struct two *t = *state;
    struct fx_outcome asked;
    fx_join(&t->a, t->s[0], "R");
    fx_join(&t->a, t->s[1], "R");
    asked = ask(&t->a, FX_TO_ROOM("R"), 60000);
    assert_int_equal(answer(&t->a, asked.last_seq, t->s[2], "[\"stranger\"]").n_jobs, 0);
    assert_int_equal(answer(&t->a, asked.last_seq, t->s[0], "[\"first\"]").n_jobs, 0);
    assert_int_equal(answer(&t->b, asked.last_seq, t->s[0], "[\"again\"]").n_jobs, 0);
    assert_int_equal(answer(&t->a, asked.last_seq + 1, t->s[1], "[\"other\"]").n_jobs, 0);
    FX_ASSERT_TEXT(
        &t->a,
        "SELECT n_answers || (SELECT body FROM t_answer WHERE socket_id = 1) FROM t_ask",
        "1[\"first\"]");
    assert_int_equal(answer(&t->b, asked.last_seq, t->s[1], "[]").n_jobs, 1);
    assert_int_equal(answer(&t->b, asked.last_seq, t->s[1], "[]").n_jobs, 0);
}

static void
test_time_out_that_commits_first_wins_over_the_last_answer(void **state)
{
    struct two *t = *state;
    struct fx_outcome asked = ask(&t->a, FX_TO_SOCKET(t->s[0]), FX_NOW_MS);
    assert_int_equal(done(&t->a, &asked, 0).rc, RC_OK);
    assert_int_equal(answer(&t->b, asked.last_seq, t->s[0], "[]").n_jobs, 0);
    assert_int_equal(n_effects(t), 1);
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_job", 0);
}

static void
test_last_answer_that_commits_first_wins_over_the_time_out(void **state)
{
    struct two *t = *state;
    struct fx_outcome asked = ask(&t->a, FX_TO_SOCKET(t->s[0]), FX_NOW_MS), o;
    o = answer(&t->b, asked.last_seq, t->s[0], "[]");
    assert_int_equal(done(&t->a, &asked, 0).rc, RC_CONFLICT);
    assert_int_equal(done(&t->b, &o, 0).rc, RC_OK);
    assert_int_equal(n_effects(t), 1);
}

static void
test_answer_and_time_out_in_one_batch_run_the_continuation_once(void **state)
{
    struct two *t = *state;
    for (int order = 0; order < 2; order++) {
        struct fx_outcome asked = ask(&t->a, FX_TO_SOCKET(t->s[0]), FX_NOW_MS), o[2];
        struct store_unit *units[2] = {store_unit_create(), store_unit_create()};
        store_unit_answer(units[order], asked.last_seq, t->s[0], STR("[]"), STR_NONE);
        store_unit_guard_job(units[1 - order], asked.jobs[0].job_id, asked.jobs[0].gen);
        fx_batch(&t->a, units, o, 2);
        assert_int_equal(o[1 - order].rc, order ? RC_OK : RC_CONFLICT);
        assert_int_equal(o[order].n_jobs, order ? 0 : 1);
        if (!order)
            assert_int_equal(done(&t->a, &o[0], 0).rc, RC_OK);
        FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_job", 0);
    }
}

static void
test_attachments_of_an_answer_are_kept(void **state)
{
    struct two *t = *state;
    struct fx_outcome asked = ask(&t->a, FX_TO_ALL, 60000);
    struct store_unit *u = store_unit_create();
    store_unit_answer(u, asked.last_seq, t->s[0], STR("[{}]"),
                      (struct str){"\0\0\0\1\0", 5});
    (void)fx_run(&t->a, u);
    FX_ASSERT_TEXT(&t->a,
                   "SELECT body || hex(attachments) FROM t_answer WHERE n_before = 0",
                   "[{}]0000000100");
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_job_belongs_to_the_process_that_made_it),
        T(test_two_claimers_never_get_the_same_job),
        T(test_job_of_the_dead_is_claimed_and_the_dead_commits_nothing),
        T(test_job_whose_process_row_is_gone_is_anybodys),
        T(test_key_is_used_once),
        T(test_used_key_keeps_the_job),
        T(test_question_expects_everybody_who_is_due_it),
        T(test_nobody_there_makes_the_continuation_due_at_once),
        T(test_last_answer_makes_the_job_due_in_its_commit),
        T(test_strangers_and_duplicates_do_not_count),
        T(test_time_out_that_commits_first_wins_over_the_last_answer),
        T(test_last_answer_that_commits_first_wins_over_the_time_out),
        T(test_answer_and_time_out_in_one_batch_run_the_continuation_once),
        T(test_attachments_of_an_answer_are_kept),
    };
    return cmocka_run_group_tests_name("store_job", tests, NULL, NULL);
}
