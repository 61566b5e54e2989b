/*
 * core/engine/session.c, adapter.c, ring.c: who is due what, by every way.
 *
 * Several "processes" are engines assembled by hand, each with an adapter and a ring of
 * its own that may lag behind the store. Whatever a session is due after any point of a
 * random history must be the same rows, each once, in order, by the model, from the ring,
 * from SQL, from a ring that has half of it, and live.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/unit/engine_history.h"

#include "core/engine/internal.h"

enum {
    N_PROCESSES = 6,
    FOREIGN = 1000 /* added to the process id of an engine that made no row */
};

struct viewer { /* of a session, live */
    struct sub sub;
    bool is_live;
    struct due got;
    size_t n_closes;
    int from_op, load_op;
};

struct process {
    struct engine e;
    struct due tail; /* rows that it has not looked at yet */
    size_t n_seen;
    struct viewer viewers[N_SESSIONS];
};

static const struct nsp *
nsp_of(void *arg, int64_t nsp_id)
{
    return engine_nsp(arg, nsp_id);
}

static void
process_init(struct history *h, struct process *p, int64_t process_id, size_t ring_rows)
{
    p->e.cfg = &h->w.cfg;
    p->e.store = h->w.st;
    app_registry_init(&p->e.app);
    adapter_init(&p->e.adapter, process_id, 1, nsp_of, &p->e);
    ring_init(&p->e.ring, ring_rows, 1 << 20, 0);
}

static void
process_fini(struct process *p)
{
    size_t i = 0;
    struct nsp *n;
    assert_int_equal(p->e.adapter.targets.n, 0);
    while ((n = map_next(&p->e.nsps, &i, NULL)) != NULL) {
        free((char *)n->name.p);
        free(n);
    }
    map_fini(&p->e.nsps);
    ring_fini(&p->e.ring);
    adapter_fini(&p->e.adapter);
    app_registry_fini(&p->e.app);
    due_clear(&p->tail);
}

/* As the engine's on_packet. */
static void
process_see(struct process *p, size_t n)
{
    for (; n > 0 && p->n_seen < p->tail.n; n--) {
        struct store_packet *row = p->tail.p[p->n_seen++];
        adapter_apply(&p->e.adapter, row);
        ring_append(&p->e.ring, row);
    }
}

static void
on_row(struct world *w, struct store_packet *row)
{
    struct history *h = (struct history *)((char *)w - offsetof(struct history, w));
    for (int i = 0; i < N_PROCESSES; i++)
        due_add(&h->processes[i].tail, row);
}

static void
viewer_on_event(struct sub *s, struct store_packet *p, struct frame *f)
{
    struct viewer *v = (struct viewer *)((char *)s - offsetof(struct viewer, sub));
    assert_true(f != NULL && f->len > 0);
    if (v->n_closes == 0)
        due_add(&v->got, p);
}

static void
viewer_on_noop(struct sub *s)
{
    (void)s;
    fail_msg("nobody made a noop");
}

static void
viewer_on_close(struct sub *s, const struct store_packet *p)
{
    assert_true(str_eqz(p->body, "transport close"));
    ((struct viewer *)((char *)s - offsetof(struct viewer, sub)))->n_closes++;
}

static void
viewer_on_empty(struct sub *s)
{
    assert_null(s->sockets);
}

static const struct sub_ops viewer_ops = {.on_event = viewer_on_event,
                                          .on_noop = viewer_on_noop,
                                          .on_close = viewer_on_close,
                                          .on_empty = viewer_on_empty};

/* ---- comparing ---- */

static bool
is_seen_by(const struct process *p, const struct history *h, const struct owed *o)
{
    return !o->is_local || o->is_sender ||
           p->e.adapter.process_id == store_process_id(h->w.st);
}

static void
name_row(const struct store_packet *p, char *what)
{
    snprintf(what, sizeof((struct owed *)0)->what, "%d:%.*s", (int)p->kind,
             STR_ARG(p->body));
}

/* A session that lost a socket to another one may miss the end of what was that socket's.
 */
static void
compare_bereft(const struct list *list, const struct due *got)
{
    size_t at = 0;
    for (size_t i = 0; i < got->n; i++) {
        char what[48];
        name_row(got->p[i], what);
        while (at < list->n && strcmp(list->p[at].what, what) != 0)
            at++;
        if (at++ == list->n)
            fail_msg("%s: not due, or twice, or too late", what);
    }
}

/* `got` is what `list` owes after the operation from_op, volatile packets after
 * volatile_op. */
static void
compare(struct history *h, const struct process *p, const struct list *list, int from_op,
        int to_op, int volatile_op, const struct due *got, const char *way)
{
    size_t n = 0;
    for (size_t i = 0; i < list->n; i++) {
        const struct owed *o = &list->p[i];
        char what[48] = "nothing";
        if (o->op <= from_op || o->op > to_op || !is_seen_by(p, h, o) ||
            (o->is_volatile && o->op <= volatile_op))
            continue;
        if (n < got->n)
            name_row(got->p[n], what);
        if (strcmp(what, o->what) != 0)
            fail_msg("%s, process %d, operations %d to %d of %d: want %s%s%s, got %s",
                     way, (int)(p - h->processes), from_op, to_op, h->op, o->what,
                     o->is_local ? " (local)" : "", o->is_sender ? " (own)" : "", what);
        if (n > 0)
            assert_true(got->p[n - 1]->seq < got->p[n]->seq);
        n++;
        h->n_compared++;
    }
    if (n < got->n) {
        char what[48];
        name_row(got->p[n], what);
        fail_msg("%s, process %d, operations %d to %d of %d: want nothing more, got %s",
                 way, (int)(p - h->processes), from_op, to_op, h->op, what);
    }
}

static void
compare_replays(struct history *h, struct process *p, const struct due *got)
{
    for (size_t i = 0; i < got->n; i++) {
        struct due missed = {0};
        const struct store_packet *row = got->p[i];
        if (row->kind != STORE_CONNECT || row->arg_id == 0)
            continue;
        const struct m_recovery *r = NULL;
        for (int j = 0; j < h->n_recoveries && r == NULL; j++) {
            char n[16];
            snprintf(n, sizeof n, "\"n\":%d}", h->recoveries[j].op);
            if (row->body.len > strlen(n) &&
                memcmp(row->body.p + row->body.len - strlen(n), n, strlen(n)) == 0)
                r = &h->recoveries[j];
        }
        assert_non_null(r);
        assert_int_equal(row->socket_id, r->connect_socket_id);
        assert_int_equal(session_replay(&p->e, row, &missed), RC_OK);
        compare(h, p, &h->sockets[r->socket].missable, r->from_op, r->op, INT_MAX,
                &missed, "replay");
        h->n_replayed += missed.n;
        due_clear(&missed);
    }
}

static void
load(struct history *h, struct process *p, struct sub *s, int64_t cursor_seq,
     struct due *due)
{
    int64_t max_seq;
    while (store_read_begin(h->w.st, &max_seq) != RC_OK)
        world_turn(&h->w, 1);
    assert_int_equal(max_seq, store_last_seq(h->w.st));
    assert_int_equal(session_load(&p->e, s, cursor_seq, max_seq, due), RC_OK);
    store_read_end(h->w.st);
    assert_int_equal(s->from_seq, max_seq);
}

/* A session comes back after a time, once. */
static void
catch_up_once(struct history *h, struct process *p)
{
    int s = (int)dice(h, (unsigned)h->n_sessions),
        point = (int)dice(h, (unsigned)h->n_points);
    struct viewer v = {.sub = {.ops = &viewer_ops, .session_id = h->sessions[s].id}};
    if (dice(h, 2) && h->n_points > 4)
        point = h->n_points - 1 - (int)dice(h, 4);
    if (h->sessions[s].is_bereft)
        return;
    load(h, p, &v.sub, h->points[point].seq, &v.got);
    compare(h, p, &h->sessions[s].owed, h->points[point].op, h->op, INT_MAX, &v.got,
            "catch-up");
    compare_replays(h, p, &v.got);
    adapter_leave(&p->e.adapter, &v.sub);
    due_clear(&v.got);
}

/* A session comes back and stays. */
static void
viewer_enter(struct history *h, struct process *p, int s)
{
    int point = (int)dice(h, (unsigned)h->n_points);
    struct viewer *v = &p->viewers[s];
    if (v->is_live || !h->sessions[s].is_open || h->sessions[s].is_bereft)
        return;
    *v = (struct viewer){.sub = {.ops = &viewer_ops, .session_id = h->sessions[s].id},
                         .is_live = true,
                         .from_op = h->points[point].op,
                         .load_op = h->op};
    load(h, p, &v->sub, h->points[point].seq, &v->got);
    adapter_enter(&p->e.adapter, &v->sub);
}

static void
viewer_leave(struct history *h, struct process *p, int s)
{
    struct viewer *v = &p->viewers[s];
    if (!v->is_live)
        return;
    process_see(p, SIZE_MAX);
    assert_int_equal(v->n_closes, !h->sessions[s].is_open);
    if (h->sessions[s].is_bereft) {
        compare_bereft(&h->sessions[s].owed, &v->got);
    } else {
        compare(h, p, &h->sessions[s].owed, v->from_op, h->op, v->load_op, &v->got,
                "live");
        compare_replays(h, p, &v->got);
    }
    adapter_leave(&p->e.adapter, &v->sub);
    v->is_live = false;
    due_clear(&v->got);
}

static void
look(struct history *h)
{
    for (int i = 0; i < N_PROCESSES; i++) {
        struct process *p = &h->processes[i];
        bool is_lagging = i % 2 == 1;
        process_see(p, is_lagging ? dice(h, 4) : SIZE_MAX);
        int s = (int)dice(h, (unsigned)h->n_sessions);
        switch (dice(h, 4)) {
        case 0:
            catch_up_once(h, p);
            break;
        case 1:
        case 2:
            viewer_enter(h, p, s);
            break;
        default:
            if (dice(h, 4) == 0)
                viewer_leave(h, p, s);
        }
    }
}

/* ---- the tests ---- */

static int
set_up(void **state)
{
    struct history *h = xcalloc(1, sizeof *h);
    world_init(&h->w);
    h->w.cfg.recovery_ms = 3600000;
    h->w.on_packet = on_row;
    h->processes = xcalloc(N_PROCESSES, sizeof *h->processes);
    h->w.on_done = on_unit;
    world_open(&h->w, STORE_FRONT_FCGI);
    int64_t own_id = store_process_id(h->w.st);
    static const size_t ring_rows[] = {20000, 20000, 1, 1, 12, 40};
    for (int i = 0; i < N_PROCESSES; i++)
        process_init(h, &h->processes[i], own_id + (i % 3 == 2 ? FOREIGN : 0),
                     ring_rows[i]);
    step_alone(h, op_open);
    *state = h;
    return 0;
}

static int
tear_down(void **state)
{
    struct history *h = *state;
    for (int i = 0; i < N_PROCESSES; i++) {
        for (int s = 0; s < N_SESSIONS; s++)
            if (h->processes[i].viewers[s].is_live) { /* of a test that failed */
                adapter_leave(&h->processes[i].e.adapter,
                              &h->processes[i].viewers[s].sub);
                due_clear(&h->processes[i].viewers[s].got);
            }
        process_fini(&h->processes[i]);
    }
    for (int i = 0; i < N_SESSIONS; i++)
        free(h->sessions[i].owed.p);
    for (int i = 0; i < N_SOCKETS; i++)
        free(h->sockets[i].missable.p);
    free(h->processes);
    world_fini(&h->w);
    free(h);
    return 0;
}

static void
run_history(struct history *h, uint64_t seed)
{
    h->random = seed;
    for (int i = 0; i < 4; i++)
        step_alone(h, op_open);
    for (int i = 0; i < 6; i++)
        step_alone(h, op_connect);
    for (int i = 0; i < 400; i++) {
        step(h);
        look(h);
    }
    for (int i = 0; i < N_PROCESSES; i++)
        for (int s = 0; s < h->n_sessions; s++)
            viewer_leave(h, &h->processes[i], s);
}

static void
test_every_way_delivers_what_the_model_says(void **state)
{
    struct history *h = *state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        run_history(h, seed * 7919);
        if (h->n_compared < 2000 || h->n_replayed < 5)
            fail_msg("seed %llu compared %zu and replayed %zu", (unsigned long long)seed,
                     h->n_compared, h->n_replayed);
        assert_int_equal(tear_down(state), 0);
        assert_int_equal(set_up(state), 0);
        h = *state;
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        T(test_every_way_delivers_what_the_model_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
