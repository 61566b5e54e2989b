/*
 * store/session.c and store/unit.c: who may answer a poll, post, upgrade; the
 * interleavings of design.md, section 4, as orders of commits of two processes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/unit/store_fixture.h"

struct two {
    struct fx fx;
    struct fx_process a, b, ws; /* two FastCGI processes and a sidecar */
    int64_t session;
};

static int
set_up(void **state)
{
    struct two *t = xcalloc(1, sizeof *t);
    fx_open(&t->fx);
    fx_process_open(&t->fx, &t->a);
    fx_process_open(&t->fx, &t->b);
    fx_process_open(&t->fx, &t->ws);
    t->session = fx_session(&t->a, "sid-secret", false);
    *state = t;
    return 0;
}

static int
tear_down(void **state)
{
    struct two *t = *state;
    fx_process_close(&t->a);
    fx_process_close(&t->b);
    fx_process_close(&t->ws);
    fx_close(&t->fx);
    free(t);
    return 0;
}

/* ---- one call a step, as the engine's units ---- */

static struct fx_outcome
claim_as_read(struct fx_process *p, int64_t session, int64_t gen, int64_t dead_id)
{
    struct store_unit *u = store_unit_create();
    store_unit_poll_claim(u, session, gen, dead_id, FX_NOW_MS);
    return fx_run(p, u);
}

static struct fx_outcome
claim(struct fx_process *p, int64_t session, int64_t dead_id)
{
    return claim_as_read(p, session, fx_int(p, "SELECT gen FROM t_lease"), dead_id);
}

static struct fx_outcome
answer(struct fx_process *p, int64_t session, int64_t gen, int64_t cursor_seq,
       bool is_ping)
{
    struct store_unit *u = store_unit_create();
    store_unit_poll_answer(u, session, gen, cursor_seq, is_ping);
    return fx_run(p, u);
}

static struct fx_outcome
once(struct fx_process *p, int64_t session, int64_t gen, int64_t dead_id,
     int64_t cursor_seq)
{
    struct store_unit *u = store_unit_create();
    store_unit_poll_once(u, session, gen, dead_id, cursor_seq, false);
    return fx_run(p, u);
}

static struct fx_outcome
post(struct fx_process *p, int64_t session, int64_t post_gen, const char *body)
{
    struct store_unit *u = store_unit_create();
    store_unit_guard_post(u, session, post_gen);
    store_unit_packet(u, FX_TO_ALL, fx_event(body));
    return fx_run(p, u);
}

static struct fx_outcome
probe(struct fx_process *p, int64_t session, int64_t dead_id, int64_t now_ms)
{
    struct store_unit *u = store_unit_create();
    store_unit_upgrade_claim(u, session, dead_id, now_ms + 10000, now_ms);
    return fx_run(p, u);
}

static struct fx_outcome
upgrade(struct fx_process *p, int64_t session)
{
    struct store_unit *u = store_unit_create();
    store_unit_upgrade_commit(u, session);
    return fx_run(p, u);
}

static struct fx_outcome
close_session(struct fx_process *p, int64_t session, const char *reason)
{
    struct store_unit *u = store_unit_create();
    store_unit_session_close(u, session, str_of(reason), false, FX_NOW_MS, 7);
    return fx_run(p, u);
}

/* A POST of the session, with a row, by which the answer of a poll of generation `gen`
 * goes. */
static struct fx_outcome
ride(struct fx_process *p, int64_t session, int64_t post_gen, int64_t gen,
     struct store_seen seen)
{
    struct store_unit *u = store_unit_create();
    store_unit_guard_post(u, session, post_gen);
    store_unit_packet(u, FX_TO_ALL, fx_event("[\"y\"]"));
    store_unit_poll_ride(u, &(struct store_ride){session, gen, seen, 100});
    return fx_run(p, u);
}

#define LEASE                                                                            \
    "SELECT printf('%d %d %d %d %d', cursor_seq, keep_seq, gen, owner_id IS NULL, "      \
    "(SELECT count(*) FROM t_packet)) FROM t_lease"

/* ---- polls ---- */

static void
test_new_session_begins_at_the_end_of_the_log(void **state)
{
    struct two *t = *state;
    struct store_unit *u = store_unit_create();
    int64_t session;
    store_unit_packet(u, FX_TO_ALL, fx_event("[\"x\"]"));
    (void)fx_run(&t->a, u);
    session = fx_session(&t->a, "sid-2", false);
    assert_int_equal(session, 2);
    FX_ASSERT_TEXT(
        &t->a,
        "SELECT printf('%d %d %d %d %d', cursor_seq, keep_seq, gen, owner_id IS NULL, "
        "due_ms) FROM t_lease WHERE session_id = 2",
        "1 1 0 1 1045000");
}

static void
test_websocket_session_is_owned_from_the_start(void **state)
{
    struct two *t = *state;
    struct store_unit *u = store_unit_create();
    int64_t session = fx_session(&t->ws, "sid-ws", true);
    FX_ASSERT_TEXT(
        &t->a,
        "SELECT printf('%d %d %d', gen, keep_seq IS NULL, due_ms IS NULL) FROM t_lease "
        "WHERE transport = 1",
        "1 1 1");
    store_unit_guard_ws(u, session, 1);
    assert_int_equal(fx_run(&t->ws, u).rc, RC_OK);
}

static void
test_second_claim_finds_the_poll_taken(void **state)
{
    struct two *t = *state;
    struct fx_outcome o = claim(&t->a, t->session, 0);
    assert_int_equal(o.rc, RC_OK);
    assert_int_equal(o.lease.gen, 1);
    assert_int_equal(o.lease.session_id, t->session);
    assert_int_equal(claim(&t->b, t->session, 0).rc, RC_CONFLICT);
    assert_int_equal(claim(&t->a, t->session, 0).rc, RC_CONFLICT);
}

static void
test_claim_takes_a_poll_from_the_dead_only(void **state)
{
    struct two *t = *state;
    (void)claim(&t->a, t->session, 0);
    assert_int_equal(claim(&t->b, t->session, t->ws.w.process_id).rc, RC_CONFLICT);
    assert_int_equal(claim(&t->b, t->session, t->a.w.process_id).rc, RC_OK);
}

static void
test_answer_after_a_takeover_is_revoked(void **state)
{
    struct two *t = *state;
    struct fx_outcome first = claim(&t->a, t->session, 0), second;
    second = claim(&t->b, t->session, t->a.w.process_id);
    assert_int_equal(answer(&t->a, t->session, first.lease.gen, 7, false).rc,
                     RC_CONFLICT);
    FX_ASSERT_INT(&t->a, "SELECT cursor_seq FROM t_lease", 0);
    assert_int_equal(answer(&t->b, t->session, second.lease.gen, 9, false).rc, RC_OK);
    FX_ASSERT_INT(&t->a, "SELECT cursor_seq FROM t_lease", 9);
}

static void
test_answer_commits_once(void **state)
{
    struct two *t = *state;
    struct fx_outcome o = claim(&t->a, t->session, 0);
    assert_int_equal(answer(&t->a, t->session, o.lease.gen, 5, true).rc, RC_OK);
    assert_int_equal(answer(&t->a, t->session, o.lease.gen, 6, false).rc, RC_CONFLICT);
    FX_ASSERT_TEXT(
        &t->a,
        "SELECT printf('%d %d %d %d', cursor_seq, keep_seq, is_pinged, owner_id IS NULL) "
        "FROM t_lease",
        "5 5 1 1");
}

static void
test_answer_of_an_earlier_claim_of_the_same_process_conflicts(void **state)
{
    struct two *t = *state;
    struct fx_outcome first = claim(&t->a, t->session, 0), second;
    (void)answer(&t->a, t->session, first.lease.gen, 5, false);
    second = claim(&t->a, t->session, 0);
    assert_int_equal(answer(&t->a, t->session, first.lease.gen, 6, false).rc,
                     RC_CONFLICT);
    assert_int_equal(answer(&t->a, t->session, second.lease.gen, 6, false).rc, RC_OK);
}

static void
test_poll_once_with_an_old_generation_conflicts(void **state)
{
    struct two *t = *state;
    /* a and b both read gen 0; a answers at once */
    assert_int_equal(once(&t->a, t->session, 0, 0, 3).rc, RC_OK);
    assert_int_equal(once(&t->b, t->session, 0, 0, 3).rc, RC_CONFLICT);
    /* b looked while a held the poll: after a's answer that look is worth nothing */
    (void)claim(&t->a, t->session, 0);
    assert_int_equal(once(&t->b, t->session, 2, 0, 4).rc, RC_CONFLICT);
    (void)answer(&t->a, t->session, 2, 4, false);
    assert_int_equal(once(&t->b, t->session, 2, 0, 4).rc, RC_CONFLICT);
    assert_int_equal(once(&t->b, t->session, 3, 0, 4).rc, RC_OK);
}

static void
test_replay_keeps_its_rows_until_it_was_answered(void **state)
{
    struct two *t = *state;
    struct fx_outcome o = claim(&t->a, t->session, 0);
    fx_exec(&t->a, "UPDATE t_lease SET keep_seq = 2, replay_seq = 10");
    (void)answer(&t->a, t->session, o.lease.gen, 9, false);
    FX_ASSERT_INT(&t->a, "SELECT keep_seq FROM t_lease", 2);
    (void)once(&t->a, t->session, o.lease.gen + 1, 0, 10);
    FX_ASSERT_INT(&t->a, "SELECT keep_seq FROM t_lease", 10);
}

/* ---- answers that ride ---- */

static void
test_answer_rides_with_the_row_that_it_carries(void **state)
{
    struct two *t = *state;
    struct fx_outcome o = ride(&t->a, t->session, 0, 0, (struct store_seen){0});
    assert_int_equal(o.rc, RC_OK);
    assert_int_equal(o.ride.gen, 1);
    assert_int_equal(o.ride.cursor_seq, o.last_seq);
    FX_ASSERT_TEXT(&t->a, LEASE, "1 1 1 1 1");
}

static void
test_answer_of_a_claimed_poll_rides_in_its_process_only(void **state)
{
    struct two *t = *state;
    struct store_seen none = {0};
    (void)claim(&t->a, t->session, 0);
    assert_int_equal(ride(&t->b, t->session, 0, 1, none).ride.gen, 0);
    FX_ASSERT_TEXT(&t->a, LEASE, "0 0 1 0 1");
    t->a.w.n_bytes = 0;
    assert_int_equal(ride(&t->a, t->session, 1, 1, (struct store_seen){1, 0}).ride.gen,
                     2);
    FX_ASSERT_TEXT(&t->a, LEASE, "2 2 2 1 2");
}

static void
test_post_stands_where_its_poll_was_revoked(void **state)
{
    struct two *t = *state;
    assert_int_equal(once(&t->b, t->session, 0, 0, 0).rc, RC_OK);
    struct fx_outcome o = ride(&t->a, t->session, 0, 0, (struct store_seen){0});
    assert_int_equal(o.rc, RC_OK);
    assert_int_equal(o.ride.gen, 0);
    FX_ASSERT_TEXT(&t->a, LEASE, "0 0 1 1 1");
}

static void
test_nothing_rides_with_a_unit_that_has_no_effects(void **state)
{
    struct two *t = *state;
    struct fx_outcome o = ride(&t->a, t->session, 7, 0, (struct store_seen){0});
    assert_int_equal(o.rc, RC_CONFLICT);
    assert_int_equal(o.ride.gen, 0);
    FX_ASSERT_TEXT(&t->a, LEASE, "0 0 0 1 0");
}

static void
test_nothing_rides_past_rows_that_are_not_known(void **state)
{
    struct two *t = *state;
    struct store_seen none = {0};
    t->a.w.odd_seq = 1; /* of another process, say */
    assert_int_equal(ride(&t->a, t->session, 0, 0, none).ride.gen, 0);
    struct store_unit *u = store_unit_create();
    struct store_packet *p = fx_event("[\"missed\"]");
    p->kind = STORE_HISTORY;
    store_unit_packet(u, FX_TO_ALL, p);
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
    assert_int_equal(ride(&t->a, t->session, 1, 0, (struct store_seen){1, 0}).ride.gen,
                     0);
    assert_int_equal(ride(&t->a, t->session, 2, 0, (struct store_seen){3, 0}).ride.gen,
                     1);
}

static void
test_nothing_rides_that_is_more_than_one_answer_takes(void **state)
{
    struct two *t = *state;
    struct store_unit *u = store_unit_create();
    char body[102];
    memset(body, 'x', sizeof body - 1);
    body[sizeof body - 1] = '\0';
    store_unit_packet(u, FX_TO_ALL, fx_event(body));
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
    assert_int_equal(ride(&t->a, t->session, 0, 0, (struct store_seen){0}).ride.gen, 0);
    assert_int_equal(
        ride(&t->a, t->session, 1, 0, (struct store_seen){2, t->a.w.n_bytes}).ride.gen,
        1);
}

/* ---- posts ---- */

/* EIO-POST-OVERLAP */
static void
test_overlapping_post_has_no_effects(void **state)
{
    struct two *t = *state;
    assert_int_equal(post(&t->a, t->session, 0, "[\"first\"]").rc, RC_OK);
    assert_int_equal(post(&t->b, t->session, 0, "[\"second\"]").rc, RC_CONFLICT);
    FX_ASSERT_TEXT(&t->a, "SELECT group_concat(body) FROM t_packet", "[\"first\"]");
    assert_int_equal(post(&t->b, t->session, 1, "[\"third\"]").rc, RC_OK);
}

static void
test_post_has_no_effects_after_the_session_closed(void **state)
{
    struct two *t = *state;
    assert_int_equal(close_session(&t->b, t->session, "ping timeout").rc, RC_OK);
    assert_int_equal(post(&t->a, t->session, 0, "[\"late\"]").rc, RC_CONFLICT);
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_packet WHERE kind = 2", 0);
}

static void
test_post_has_no_effects_after_the_upgrade(void **state)
{
    struct two *t = *state;
    (void)probe(&t->ws, t->session, 0, FX_NOW_MS);
    (void)upgrade(&t->ws, t->session);
    assert_int_equal(post(&t->a, t->session, 0, "[\"late\"]").rc, RC_CONFLICT);
    assert_int_equal(post(&t->a, t->session, 1, "[\"late\"]").rc, RC_CONFLICT);
}

static void
test_conflict_leaves_the_batch_of_others_alone(void **state)
{
    struct two *t = *state;
    struct store_unit *units[3];
    struct fx_outcome o[3];
    for (int i = 0; i < 3; i++) {
        units[i] = store_unit_create();
        store_unit_guard_post(units[i], t->session, i == 2 ? 1 : 0);
        store_unit_packet(units[i], FX_TO_ALL,
                          fx_event(i == 0   ? "[\"a\"]"
                                   : i == 1 ? "[\"b\"]"
                                            : "[\"c\"]"));
    }
    fx_batch(&t->a, units, o, 3);
    assert_int_equal(o[0].rc, RC_OK);
    assert_int_equal(o[1].rc, RC_CONFLICT);
    assert_int_equal(o[2].rc, RC_OK);
    assert_int_equal(o[2].last_seq, 2);
    FX_ASSERT_TEXT(&t->a, "SELECT group_concat(body) FROM t_packet", "[\"a\"],[\"c\"]");
    assert_int_equal(t->a.w.n_packets, 2);
}

static void
test_guard_behind_a_write_undoes_the_whole_unit(void **state)
{
    struct two *t = *state;
    struct store_unit *units[2] = {store_unit_create(), store_unit_create()};
    struct fx_outcome o[2];
    int64_t other = fx_session(&t->a, "sid-other", false);
    (void)close_session(&t->a, other, "transport close");
    FX_ASSERT_INT(&t->a, "SELECT max(seq) FROM t_packet", 1);
    store_unit_guard_post(units[0], t->session, 0);
    store_unit_packet(units[0], FX_TO_ALL, fx_event("[\"gone\"]"));
    store_unit_guard_session(units[0], other); /* finds zero rows */
    store_unit_packet(units[1], FX_TO_ALL, fx_event("[\"stays\"]"));
    fx_batch(&t->a, units, o, 2);
    assert_int_equal(o[0].rc, RC_CONFLICT);
    assert_int_equal(o[0].last_seq, 0);
    assert_int_equal(o[1].rc, RC_OK);
    assert_int_equal(o[1].last_seq, 2); /* no seq was used up, none is noted twice */
    assert_int_equal(t->a.w.n_packets, 1);
    FX_ASSERT_INT(&t->a, "SELECT post_gen FROM t_lease WHERE session_id = 1", 0);
    FX_ASSERT_TEXT(&t->a, "SELECT group_concat(body) FROM t_packet WHERE kind = 2",
                   "[\"stays\"]");
    /* undone as the last of its batch: the batch still knows where the log ends */
    units[0] = store_unit_create();
    store_unit_packet(units[0], FX_TO_ALL, fx_event("[\"gone\"]"));
    store_unit_guard_post(units[0], t->session, 99);
    assert_int_equal(fx_run(&t->a, units[0]).rc, RC_CONFLICT);
    assert_int_equal(t->a.w.last_seq, 2);
    assert_int_equal(t->a.w.n_rows, 0);
}

static void
test_unit_can_be_cut_back_to_what_it_was(void **state)
{
    struct two *t = *state;
    struct store_unit *u = store_unit_create();
    store_unit_packet(u, FX_TO_ALL, fx_event("[\"kept\"]"));
    for (int i = 0; i < 100; i++)
        store_unit_packet(u, FX_TO_ALL, fx_event("[\"dropped\"]"));
    assert_int_equal(store_unit_n_steps(u), 101);
    store_unit_truncate(u, 1);
    store_unit_truncate(u, 7);
    assert_int_equal(store_unit_n_steps(u), 1);
    store_unit_packet(u, FX_TO_ALL, fx_event("[\"added\"]"));
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
    FX_ASSERT_TEXT(&t->a, "SELECT group_concat(body) FROM t_packet",
                   "[\"kept\"],[\"added\"]");
}

/* ---- upgrades ---- */

static void
test_upgrade_revokes_the_answer_that_comes_later(void **state)
{
    struct two *t = *state;
    struct fx_outcome parked = claim(&t->a, t->session, 0), o;
    o = probe(&t->ws, t->session, 0, FX_NOW_MS);
    assert_int_equal(o.rc, RC_OK);
    FX_ASSERT_TEXT(&t->a, "SELECT printf('%d %d %d', kind, to_kind, to_id) FROM t_packet",
                   "21 3 1");
    o = upgrade(&t->ws, t->session);
    assert_int_equal(o.rc, RC_OK);
    assert_int_equal(o.lease.gen, parked.lease.gen + 1);
    /* everything after its cursor is the sidecar's to send */
    assert_int_equal(o.lease.cursor_seq, 0);
    assert_int_equal(answer(&t->a, t->session, parked.lease.gen, 1, false).rc,
                     RC_CONFLICT);
    FX_ASSERT_TEXT(
        &t->a,
        "SELECT printf('%d %d %d', transport, cursor_seq, due_ms IS NULL) FROM t_lease",
        "1 0 1");
}

static void
test_upgrade_goes_on_where_an_earlier_answer_ended(void **state)
{
    struct two *t = *state;
    struct fx_outcome parked = claim(&t->a, t->session, 0), o;
    (void)probe(&t->ws, t->session, 0, FX_NOW_MS);
    assert_int_equal(answer(&t->a, t->session, parked.lease.gen, 1, false).rc, RC_OK);
    o = upgrade(&t->ws, t->session);
    assert_int_equal(o.rc, RC_OK);
    assert_int_equal(o.lease.cursor_seq, 1);
    assert_int_equal(claim(&t->a, t->session, 0).rc, RC_CONFLICT); /* no poll any more */
}

static void
test_claim_tells_that_an_upgrade_is_under_way(void **state)
{
    struct two *t = *state;
    (void)probe(&t->ws, t->session, 0, FX_NOW_MS);
    assert_int_equal(claim(&t->a, t->session, 0).lease.upgrade_id, t->ws.w.process_id);
}

static void
test_second_probe_is_refused_until_the_first_is_late_or_dead(void **state)
{
    struct two *t = *state;
    (void)probe(&t->ws, t->session, 0, FX_NOW_MS);
    assert_int_equal(probe(&t->b, t->session, 0, FX_NOW_MS).rc, RC_CONFLICT);
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_packet",
                  1); /* no noop of the refused one */
    assert_int_equal(probe(&t->b, t->session, t->ws.w.process_id, FX_NOW_MS).rc, RC_OK);
    assert_int_equal(probe(&t->ws, t->session, 0, FX_NOW_MS + 10001).rc, RC_OK);
    assert_int_equal(upgrade(&t->b, t->session).rc, RC_CONFLICT);
    assert_int_equal(upgrade(&t->ws, t->session).rc, RC_OK);
}

static void
test_upgrade_that_was_reset_comes_too_late(void **state)
{
    struct two *t = *state;
    struct store_unit *u = store_unit_create();
    (void)probe(&t->ws, t->session, 0, FX_NOW_MS);
    store_unit_upgrade_reset(u, t->session, t->ws.w.process_id);
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
    assert_int_equal(upgrade(&t->ws, t->session).rc, RC_CONFLICT);
    assert_int_equal(claim(&t->a, t->session, 0).rc, RC_OK); /* polling goes on */
}

static void
test_reset_leaves_a_finished_upgrade_alone(void **state)
{
    struct two *t = *state;
    struct store_unit *u = store_unit_create();
    (void)probe(&t->ws, t->session, 0, FX_NOW_MS);
    (void)upgrade(&t->ws, t->session);
    store_unit_upgrade_reset(u, t->session, t->ws.w.process_id);
    assert_int_equal(fx_run(&t->a, u).rc, RC_CONFLICT);
    FX_ASSERT_INT(&t->a, "SELECT transport FROM t_lease", 1);
}

static void
test_websocket_message_of_another_generation_has_no_effects(void **state)
{
    struct two *t = *state;
    struct store_unit *u;
    struct fx_outcome o;
    (void)probe(&t->ws, t->session, 0, FX_NOW_MS);
    o = upgrade(&t->ws, t->session);
    u = store_unit_create();
    store_unit_guard_ws(u, t->session, o.lease.gen);
    store_unit_packet(u, FX_TO_ALL, fx_event("[\"ok\"]"));
    assert_int_equal(fx_run(&t->ws, u).rc, RC_OK);
    u = store_unit_create();
    store_unit_guard_ws(u, t->session, o.lease.gen - 1);
    store_unit_packet(u, FX_TO_ALL, fx_event("[\"old\"]"));
    assert_int_equal(fx_run(&t->ws, u).rc, RC_CONFLICT);
    u = store_unit_create();
    store_unit_guard_ws(u, t->session, o.lease.gen);
    store_unit_packet(u, FX_TO_ALL, fx_event("[\"not yours\"]"));
    assert_int_equal(fx_run(&t->b, u).rc, RC_CONFLICT);
    (void)close_session(&t->a, t->session, "forced close");
    u = store_unit_create();
    store_unit_guard_ws(u, t->session, o.lease.gen);
    store_unit_packet(u, FX_TO_ALL, fx_event("[\"closed\"]"));
    assert_int_equal(fx_run(&t->ws, u).rc, RC_CONFLICT);
    FX_ASSERT_TEXT(&t->a, "SELECT group_concat(body) FROM t_packet WHERE kind = 2",
                   "[\"ok\"]");
}

static void
test_caught_up_sidecar_speaks_for_the_session(void **state)
{
    struct two *t = *state;
    struct store_unit *u;
    struct fx_outcome o;
    (void)probe(&t->ws, t->session, 0, FX_NOW_MS);
    o = upgrade(&t->ws, t->session);
    FX_ASSERT_TEXT(&t->a, "SELECT keep_seq FROM t_lease", "0");
    u = store_unit_create();
    store_unit_caught_up(u, t->session, o.lease.gen - 1, 1);
    (void)fx_run(&t->ws, u);
    FX_ASSERT_TEXT(&t->a, "SELECT keep_seq FROM t_lease", "0");
    u = store_unit_create();
    store_unit_caught_up(u, t->session, o.lease.gen, 1);
    (void)fx_run(&t->ws, u);
    FX_ASSERT_TEXT(&t->a, "SELECT keep_seq IS NULL FROM t_lease", "1");
}

/* ---- closing ---- */

static void
test_session_closes_once_with_a_job_for_each_socket(void **state)
{
    struct two *t = *state;
    int64_t s1 = fx_socket(&t->a, t->session, "one"),
            s2 = fx_socket(&t->a, t->session, "two");
    struct fx_outcome o = close_session(&t->b, t->session, "ping \"timeout\"");
    assert_int_equal(o.rc, RC_OK);
    FX_ASSERT_INT(&t->a, "SELECT arg_id FROM t_packet WHERE kind = 20", 7);
    assert_int_equal(o.n_jobs, 2);
    assert_int_equal(o.jobs[0].socket_id, s1);
    assert_int_equal(o.jobs[1].socket_id, s2);
    assert_string_equal(o.jobs[0].name, "disconnect");
    assert_string_equal(o.jobs[0].args,
                        "{\"reason\":\"ping \\\"timeout\\\"\",\"rooms\":[]}");
    assert_int_equal(o.jobs[0].due_ms, FX_NOW_MS);
    o = close_session(&t->a, t->session, "transport close");
    assert_int_equal(o.rc, RC_OK); /* it stays as it is */
    assert_int_equal(o.n_jobs, 0);
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_job", 2);
    FX_ASSERT_TEXT(&t->a,
                   "SELECT group_concat(printf('%d %d %d %s', to_kind, to_id, nsp_id IS "
                   "NULL, body)) "
                   "FROM t_packet WHERE kind = 20",
                   "3 1 1 ping \"timeout\"");
}

static void
test_closed_session_may_be_answered_but_keeps_no_row(void **state)
{
    struct two *t = *state;
    struct fx_outcome parked = claim(&t->a, t->session, 0);
    (void)close_session(&t->b, t->session, "forced close");
    assert_int_equal(answer(&t->a, t->session, parked.lease.gen, 1, false).rc, RC_OK);
    FX_ASSERT_TEXT(&t->a, "SELECT keep_seq IS NULL FROM t_lease", "1");
    assert_int_equal(claim(&t->a, t->session, 0).rc, RC_CONFLICT);
    assert_int_equal(once(&t->a, t->session, parked.lease.gen + 1, 0, 1).rc, RC_CONFLICT);
    assert_int_equal(probe(&t->ws, t->session, 0, FX_NOW_MS).rc, RC_CONFLICT);
}

static void
test_client_is_told_of_the_close_once(void **state)
{
    struct two *t = *state;
    enum rc expected[3] = {RC_CONFLICT, RC_OK, RC_CONFLICT};
    for (int i = 0; i < 3; i++) {
        struct store_unit *u = store_unit_create();
        store_unit_session_told(u, t->session, 7, true);
        assert_int_equal(fx_run(i == 1 ? &t->a : &t->b, u).rc, expected[i]);
        if (i == 0)
            (void)close_session(&t->b, t->session, "forced close");
    }
}

static void
test_heartbeat_moves_the_death_of_an_open_session_only(void **state)
{
    struct two *t = *state;
    struct store_unit *u = store_unit_create();
    store_unit_heartbeat(u, t->session, 5, true, 6);
    (void)fx_run(&t->a, u);
    FX_ASSERT_TEXT(&t->a,
                   "SELECT printf('%d %d %d', ping_ms, is_pinged, due_ms) FROM t_lease",
                   "5 1 6");
    (void)close_session(&t->a, t->session, "x");
    u = store_unit_create();
    store_unit_heartbeat(u, t->session, 7, false, 8);
    (void)fx_run(&t->a, u);
    FX_ASSERT_TEXT(&t->a, "SELECT printf('%d %d', ping_ms, due_ms IS NULL) FROM t_lease",
                   "5 1");
}

static void
test_half_received_packet_is_kept_and_dropped(void **state)
{
    struct two *t = *state;
    struct store_unit *u = store_unit_create();
    store_unit_partial(u, t->session, STR("51-[\"a\",{}]"), (struct str){"\0\0\0\1x", 5});
    (void)fx_run(&t->a, u);
    FX_ASSERT_TEXT(&t->a,
                   "SELECT body || hex(attachments) || is_partial FROM t_partial JOIN "
                   "t_lease USING (session_id)",
                   "51-[\"a\",{}]00000001781");
    u = store_unit_create();
    store_unit_partial(u, t->session, STR("52-[]"), STR_NONE);
    (void)fx_run(&t->b, u);
    FX_ASSERT_TEXT(&t->a, "SELECT body || length(attachments) FROM t_partial", "52-[]0");
    u = store_unit_create();
    store_unit_partial(u, t->session, STR_NONE, STR_NONE);
    (void)fx_run(&t->b, u);
    FX_ASSERT_TEXT(&t->a,
                   "SELECT is_partial || (SELECT count(*) FROM t_partial) FROM t_lease",
                   "00");
}

static void
test_parser_is_kept_with_the_session(void **state)
{
    struct two *t = *state;
    struct store_unit *u = store_unit_create();
    FX_ASSERT_INT(&t->b, "SELECT parser FROM t_session", 0);
    store_unit_guard_post(u, t->session, 0);
    store_unit_session_parser(u, t->session, 1);
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
    FX_ASSERT_INT(&t->b, "SELECT parser FROM t_session", 1);
    u = store_unit_create();
    store_unit_guard_post(u, t->session, 0); /* has grown */
    store_unit_session_parser(u, t->session, 0);
    assert_int_equal(fx_run(&t->b, u).rc, RC_CONFLICT);
    FX_ASSERT_INT(&t->a, "SELECT parser FROM t_session", 1);
}

static void
test_session_id_that_exists_fails_alone(void **state)
{
    struct two *t = *state;
    struct store_unit *units[2] = {store_unit_create(), store_unit_create()};
    struct fx_outcome o[2];
    store_unit_session_create(units[0], &(struct store_session_new){
                                            .eio_sid = STR("sid-secret"), .protocol = 4});
    store_unit_packet(units[1], FX_TO_ALL, fx_event("[\"x\"]"));
    fx_batch(&t->a, units, o, 2);
    assert_int_equal(o[0].rc, RC_INVALID);
    assert_string_equal(o[0].error, "UNIQUE constraint failed: t_session.eio_sid");
    assert_int_equal(o[1].rc, RC_OK);
}

/* ---- any order ---- */

/* What a process believes about the session: as it claimed or read it, maybe long ago. */
struct belief {
    struct fx_process *p;
    int64_t dead_id; /* somebody whom it saw dead */
    bool has_claim, has_read;
    int64_t gen, cursor_seq, read_gen, read_cursor_seq;
};

static int64_t
newest_row(struct two *t)
{
    return fx_int(&t->a, "SELECT coalesce(max(seq), 0) FROM t_packet");
}

/* It dies and is started again: another process, which knows nothing. */
static void
restart(struct belief *who, struct belief *all, size_t n)
{
    int64_t dead_id = who->p->w.process_id;
    fx_exec(who->p, "INSERT INTO t_process (front) VALUES ('fcgi')");
    who->p->w.process_id = sqlite3_last_insert_rowid(who->p->conn.db);
    who->has_claim = who->has_read = false;
    for (size_t i = 0; i < n; i++)
        all[i].dead_id = dead_id;
}

static void
act_ride(struct two *t, struct belief *b, int64_t *sent)
{
    if (!b->has_claim && !b->has_read)
        return;
    struct fx_outcome o =
        ride(b->p, t->session, fx_int(b->p, "SELECT post_gen FROM t_lease"),
             b->has_claim ? b->gen : b->read_gen,
             (struct store_seen){INT64_MAX, b->p->w.n_bytes});
    if (o.ride.gen != 0) {
        assert_int_equal(b->has_claim ? b->cursor_seq : b->read_cursor_seq, *sent);
        *sent = o.last_seq;
    }
    b->has_claim = b->has_read = false;
}

/* One random act; *sent: what the client has. Each answer must go on exactly there.
 * False: upgraded, the polls are over. */
static bool
act(struct two *t, struct belief *all, int64_t *sent)
{
    struct belief *b = &all[rand() % 2];
    int64_t newest = newest_row(t);
    struct fx_outcome o;
    struct store_unit *u;
    switch (rand() % 10) {
    case 0:
    case 1:
        u = store_unit_create();
        store_unit_packet(u, FX_TO_ALL, fx_event("[\"x\"]"));
        (void)fx_run(b->p, u);
        break;
    case 2:
    case 3:
        if (!b->has_read)
            break;
        o = claim_as_read(b->p, t->session, b->read_gen, b->dead_id);
        if (o.rc == RC_OK) {
            assert_int_equal(b->read_cursor_seq, *sent);
            b->has_read = false;
            b->has_claim = true;
            b->gen = o.lease.gen;
            b->cursor_seq = o.lease.cursor_seq;
            assert_int_equal(b->cursor_seq, *sent);
        }
        break;
    case 4:
    case 5:
        if (!b->has_claim)
            break;
        b->has_claim = false;
        if (answer(b->p, t->session, b->gen, newest, false).rc == RC_OK) {
            assert_int_equal(b->cursor_seq, *sent);
            *sent = newest;
        }
        break;
    case 6:
        b->has_read = true;
        b->read_gen = fx_int(b->p, "SELECT gen FROM t_lease");
        b->read_cursor_seq = fx_int(b->p, "SELECT cursor_seq FROM t_lease");
        break;
    case 7:
        if (!b->has_read)
            break;
        b->has_read = false;
        if (once(b->p, t->session, b->read_gen, b->dead_id, newest).rc == RC_OK) {
            assert_int_equal(b->read_cursor_seq, *sent);
            *sent = newest;
        }
        break;
    case 9: /* a parked poll, claimed or not yet */
        act_ride(t, b, sent);
        break;
    case 8:
        switch (rand() % 8) {
        case 0:
            restart(b, all, 2);
            break;
        case 1:
            (void)probe(&t->ws, t->session, 0, FX_NOW_MS);
            break;
        case 2:
            o = upgrade(&t->ws, t->session);
            if (o.rc == RC_OK) {
                assert_int_equal(o.lease.cursor_seq, *sent);
                return false;
            }
            break;
        case 3:
            u = store_unit_create();
            store_unit_upgrade_reset(u, t->session, t->ws.w.process_id);
            (void)fx_run(b->p, u);
            break;
        default:
            break;
        }
        break;
    }
    return true;
}

static void
test_no_order_of_commits_sends_a_row_twice_or_never(void **state)
{
    struct two *t = *state;
    srand(1);
    for (int round = 0; round < 30; round++) {
        struct belief all[2] = {{.p = &t->a}, {.p = &t->b}};
        int64_t sent = newest_row(t);
        bool is_polling = true;
        fx_exec(&t->a,
                "UPDATE t_lease SET transport = 0, owner_id = NULL, upgrade_id = NULL, "
                "cursor_seq = (SELECT coalesce(max(seq), 0) FROM t_packet)");
        for (int i = 0; i < 60 && is_polling; i++)
            is_polling = act(t, all, &sent);
        for (size_t i = 0; i < 2 && !is_polling;
             i++) { /* whatever they still believe is void */
            assert_int_equal(answer(all[i].p, t->session, all[i].gen, 1, false).rc,
                             RC_CONFLICT);
            assert_int_equal(once(all[i].p, t->session, all[i].read_gen, 0, 1).rc,
                             RC_CONFLICT);
        }
    }
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_new_session_begins_at_the_end_of_the_log),
        T(test_websocket_session_is_owned_from_the_start),
        T(test_second_claim_finds_the_poll_taken),
        T(test_claim_takes_a_poll_from_the_dead_only),
        T(test_answer_after_a_takeover_is_revoked),
        T(test_answer_commits_once),
        T(test_answer_of_an_earlier_claim_of_the_same_process_conflicts),
        T(test_poll_once_with_an_old_generation_conflicts),
        T(test_replay_keeps_its_rows_until_it_was_answered),
        T(test_answer_rides_with_the_row_that_it_carries),
        T(test_answer_of_a_claimed_poll_rides_in_its_process_only),
        T(test_post_stands_where_its_poll_was_revoked),
        T(test_nothing_rides_with_a_unit_that_has_no_effects),
        T(test_nothing_rides_past_rows_that_are_not_known),
        T(test_nothing_rides_that_is_more_than_one_answer_takes),
        T(test_overlapping_post_has_no_effects),
        T(test_post_has_no_effects_after_the_session_closed),
        T(test_post_has_no_effects_after_the_upgrade),
        T(test_conflict_leaves_the_batch_of_others_alone),
        T(test_guard_behind_a_write_undoes_the_whole_unit),
        T(test_unit_can_be_cut_back_to_what_it_was),
        T(test_upgrade_revokes_the_answer_that_comes_later),
        T(test_upgrade_goes_on_where_an_earlier_answer_ended),
        T(test_claim_tells_that_an_upgrade_is_under_way),
        T(test_second_probe_is_refused_until_the_first_is_late_or_dead),
        T(test_upgrade_that_was_reset_comes_too_late),
        T(test_reset_leaves_a_finished_upgrade_alone),
        T(test_websocket_message_of_another_generation_has_no_effects),
        T(test_caught_up_sidecar_speaks_for_the_session),
        T(test_session_closes_once_with_a_job_for_each_socket),
        T(test_closed_session_may_be_answered_but_keeps_no_row),
        T(test_client_is_told_of_the_close_once),
        T(test_heartbeat_moves_the_death_of_an_open_session_only),
        T(test_half_received_packet_is_kept_and_dropped),
        T(test_parser_is_kept_with_the_session),
        T(test_session_id_that_exists_fails_alone),
        T(test_no_order_of_commits_sends_a_row_twice_or_never),
    };
    return cmocka_run_group_tests_name("store_session", tests, NULL, NULL);
}
