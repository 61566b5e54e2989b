/*
 * What is done later, once: jobs; questions that wait for answers; and the guards that
 * make a unit's effects happen once.
 *
 * 1. A job is done by the unit whose guard deletes it in the generation that it knew.
 * Every change of owner raises the generation, so of several that try, one commits.
 * 2. A question has its job from the start, due at the deadline. The last answer makes it
 * due now and takes it over, in its own commit: then the keeper of the timer finds
 * another generation. If the time-out commits first, job, question and answers are gone
 * and the answer finds nothing.
 * 3. An answer counts once, and only from a socket that was asked.
 *
 * Run functions: store thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

#include "core/base/log.h"
#include "store/step.h"

struct guard_step {
    struct store_step head;
    int64_t job_id, gen;
};

struct job_step {
    struct store_step head;
    int64_t due_ms, socket_id;
    struct str name, args;
};

struct ask_step {
    struct store_step head;
    struct store_target target;
    int64_t due_ms, socket_id;
    struct str name, state;
};

struct answer_step {
    struct store_step head;
    int64_t ask_seq, socket_id;
    int64_t process_id; /* 0: a socket's */
    struct str body, attachments;
};

struct claim_step {
    struct store_step head;
    int64_t now_ms;
    size_t n;
};

/* ---- guards ---- */

enum rc
store_ask_forget(struct store_write *w, int64_t ask_seq)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_ask_forget);
    sqlite3_bind_int64(q, STORE_PARAM_ask_forget_ask_seq, ask_seq);
    return conn_done(q);
}

static enum rc
run_guard_job(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct guard_step *s = (struct guard_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_guard_job);
    int64_t ask_seq;
    enum rc rc;
    (void)u;
    sqlite3_bind_int64(q, STORE_PARAM_guard_job_job_id, s->job_id);
    sqlite3_bind_int64(q, STORE_PARAM_guard_job_gen, s->gen);
    sqlite3_bind_int64(q, STORE_PARAM_guard_job_process_id, w->process_id);
    rc = conn_step(q);
    if (rc != RC_OK)
        return rc == RC_NOTFOUND ? RC_CONFLICT : rc;
    ask_seq = sqlite3_column_int64(q, 0);
    sqlite3_reset(q);
    return ask_seq ? store_ask_forget(w, ask_seq) : RC_OK;
}

void
store_unit_guard_job(struct store_unit *u, int64_t job_id, int64_t gen)
{
    struct guard_step *s = store_step_add(u, sizeof *s, run_guard_job, STORE_STEP_GUARD);
    s->job_id = job_id;
    s->gen = gen;
}

/* ---- jobs ---- */

/* From the columns of job_take and jobs_claim. */
static void
note_job_row(struct store_unit *u, sqlite3_stmt *q)
{
    char *name = str_dup(conn_column(q, 3)), *args = str_dup(conn_column(q, 5));
    const struct store_job job = {.job_id = sqlite3_column_int64(q, 0),
                                  .gen = sqlite3_column_int64(q, 1),
                                  .due_ms = sqlite3_column_int64(q, 2),
                                  .name = name,
                                  .socket_id = sqlite3_column_int64(q, 4),
                                  .args = args};
    store_step_note_job_take(u, &job);
}

enum rc
store_job_create(struct store_write *w, struct store_unit *u, int64_t due_ms,
                 struct str name, int64_t socket_id, struct str args, int64_t ask_seq,
                 int64_t *job_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_job_create);
    struct store_job job = {.gen = 1, .due_ms = due_ms, .socket_id = socket_id};
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_job_create_due_ms, due_ms);
    conn_bind_str(q, STORE_PARAM_job_create_name, name);
    store_step_bind_id(q, STORE_PARAM_job_create_socket_id, socket_id);
    conn_bind_str(q, STORE_PARAM_job_create_args, args);
    store_step_bind_id(q, STORE_PARAM_job_create_ask_seq, ask_seq);
    sqlite3_bind_int64(q, STORE_PARAM_job_create_owner_id, w->process_id);
    rc = conn_done(q);
    if (rc != RC_OK)
        return rc;
    job.job_id = sqlite3_last_insert_rowid(w->conn->db);
    job.name = str_dup(name);
    job.args = str_dup(args);
    store_step_note_job_take(u, &job);
    if (job_id)
        *job_id = job.job_id;
    return RC_OK;
}

enum rc
store_job_remove(struct store_write *w, int64_t job_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_job_remove);
    sqlite3_bind_int64(q, STORE_PARAM_job_remove_job_id, job_id);
    return conn_done(q);
}

static enum rc
run_job(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct job_step *s = (struct job_step *)step;
    return store_job_create(w, u, s->due_ms, s->name, store_step_socket(u, s->socket_id),
                            s->args, 0, NULL);
}

void
store_unit_job(struct store_unit *u, int64_t due_ms, struct str name, int64_t socket_id,
               struct str args)
{
    struct job_step *s = store_step_add(u, sizeof *s, run_job, 0);
    s->due_ms = due_ms;
    s->name = store_step_copy(u, name);
    s->socket_id = socket_id;
    s->args = store_step_copy(u, args.len ? args : STR("null"));
}

/* ---- asking ---- */

static enum rc
expect_answers(struct store_write *w, int64_t ask_seq, const int64_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_answer_expect);
        enum rc rc;
        sqlite3_bind_int64(q, STORE_PARAM_answer_expect_ask_seq, ask_seq);
        sqlite3_bind_int64(q, STORE_PARAM_answer_expect_socket_id, ids[i]);
        rc = conn_done(q);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

static enum rc
create_ask(struct store_write *w, int64_t seq, int64_t job_id, size_t n_expected)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_ask_create);
    sqlite3_bind_int64(q, STORE_PARAM_ask_create_seq, seq);
    sqlite3_bind_int64(q, STORE_PARAM_ask_create_job_id, job_id);
    sqlite3_bind_int64(q, STORE_PARAM_ask_create_n_expected, (int64_t)n_expected);
    return conn_done(q);
}

static enum rc
create_ask_job(struct store_write *w, struct store_unit *u, const struct ask_step *s,
               int64_t seq, int64_t *job_id)
{
    struct buf args = {0};
    enum rc rc;
    buf_append_z(&args, "{\"ask\":");
    buf_append_int(&args, seq);
    buf_append_z(&args, ",\"state\":");
    buf_append_str(&args, s->state);
    buf_append_c(&args, '}');
    rc =
        store_job_create(w, u, seq ? s->due_ms : w->now_ms, s->name,
                         store_step_socket(u, s->socket_id), buf_str(&args), seq, job_id);
    buf_fini(&args);
    return rc;
}

/* One socket that owes too many answers is not asked: it is as if it were gone. Where the
 * engine knows the socket it has looked already: it can tell the application. */
static enum rc
check_full(struct store_write *w, const struct store_target *t, int64_t socket_id,
           size_t *n)
{
    if (*n != 1 || t->to == STORE_TO_SOCKET || w->cfg == NULL)
        return RC_OK;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_ask_full);
    sqlite3_bind_int64(q, STORE_PARAM_ask_full_socket_id, socket_id);
    sqlite3_bind_int64(q, STORE_PARAM_ask_full_n,
                       cfg_live(&w->cfg->n_pending_acks_max) - 1);
    enum rc rc = conn_step(q);
    sqlite3_reset(q);
    if (rc != RC_OK)
        return rc == RC_NOTFOUND ? RC_OK : rc;
    log_info("store", "ask.dropped", LOG_I("socket", socket_id),
             LOG_Z("reason", "the socket owes max_pending_acks answers"));
    *n = 0;
    return RC_OK;
}

/* The row, its job, and who is to answer. */
static enum rc
append_ask(struct store_write *w, struct store_unit *u, const struct ask_step *s,
           struct store_packet *p, const int64_t *ids, size_t n)
{
    int64_t job_id;
    p->is_ask = true;
    enum rc rc = store_log_append(w, p);
    if (rc == RC_OK)
        rc = create_ask_job(w, u, s, p->seq, &job_id);
    if (rc == RC_OK)
        rc = create_ask(w, p->seq, job_id, n);
    if (rc == RC_OK)
        rc = expect_answers(w, p->seq, ids, n);
    return rc;
}

static enum rc
run_ask(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct ask_step *s = (struct ask_step *)step;
    struct store_packet *p = step->packet;
    struct store_route r = {0};
    int64_t *ids = NULL, job_id;
    size_t n = 0;
    enum rc rc = store_target_route(w, u, &s->target, &r);
    if (rc == RC_OK)
        rc = store_route_sockets(w->conn, &r, &ids, &n);
    if (rc == RC_NOTFOUND)
        rc = RC_OK;
    if (rc == RC_OK && n == 1)
        rc = check_full(w, &s->target, ids[0], &n);
    if (rc != RC_OK)
        goto out;
    if (n == 0) {
        rc = create_ask_job(w, u, s, 0, &job_id);
        goto out;
    }
    store_route_apply(&r, p);
    rc = append_ask(w, u, s, p, ids, n);
out:
    free(ids);
    store_route_fini(&r);
    return rc;
}

static void
add_ask(struct store_unit *u, store_step_fn *run, const struct store_target *t,
        struct store_packet *p, int64_t due_ms, struct str name, int64_t socket_id,
        struct str state)
{
    struct ask_step *s = store_step_add(u, sizeof *s, run, 0);
    store_target_copy(u, &s->target, t);
    s->head.packet = p;
    s->due_ms = due_ms;
    s->name = store_step_copy(u, name);
    s->socket_id = socket_id;
    s->state = store_step_copy(u, state.len ? state : STR("null"));
}

void
store_unit_ask(struct store_unit *u, const struct store_target *t, struct store_packet *p,
               int64_t due_ms, struct str name, int64_t socket_id, struct str state)
{
    add_ask(u, run_ask, t, p, due_ms, name, socket_id, state);
}

/* In t_answer a process stands as its id below zero. */
static enum rc
list_processes(struct store_write *w, int64_t **ids, size_t *n)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_processes_asked);
    size_t cap = 0;
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_processes_asked_process_id, w->process_id);
    while ((rc = conn_step(q)) == RC_OK) {
        if (*n == cap) {
            cap = cap ? 2 * cap : 16;
            *ids = xrealloc(*ids, cap * sizeof **ids);
        }
        (*ids)[(*n)++] = -sqlite3_column_int64(q, 0);
    }
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

static enum rc
run_server_ask(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct ask_step *s = (struct ask_step *)step;
    struct store_packet *p = step->packet;
    struct store_route r = {0};
    int64_t *ids = NULL, job_id;
    size_t n = 0;
    enum rc rc = list_processes(w, &ids, &n);
    if (rc == RC_OK && n > 0)
        rc = store_target_route(w, u, &s->target, &r);
    if (rc == RC_NOTFOUND || (rc == RC_OK && n == 0)) {
        rc = create_ask_job(w, u, s, 0, &job_id);
        goto out;
    }
    if (rc != RC_OK)
        goto out;
    store_route_apply(&r, p);
    rc = append_ask(w, u, s, p, ids, n);
out:
    free(ids);
    store_route_fini(&r);
    return rc;
}

void
store_unit_server_ask(struct store_unit *u, struct str nsp, struct store_packet *p,
                      int64_t due_ms, struct str name, int64_t socket_id,
                      struct str state)
{
    const struct store_target t = {.nsp = nsp, .to = STORE_TO_NSP};
    add_ask(u, run_server_ask, &t, p, due_ms, name, socket_id, state);
}

/* ---- answering ---- */

static enum rc
take_job(struct store_write *w, struct store_unit *u, int64_t job_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_job_take);
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_job_take_job_id, job_id);
    sqlite3_bind_int64(q, STORE_PARAM_job_take_due_ms, w->now_ms);
    sqlite3_bind_int64(q, STORE_PARAM_job_take_process_id, w->process_id);
    rc = conn_step(q);
    if (rc == RC_OK)
        note_job_row(u, q);
    sqlite3_reset(q);
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

static enum rc
count_answer(struct store_write *w, struct store_unit *u, int64_t ask_seq)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_answer_count);
    int64_t job_id;
    bool is_last;
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_answer_count_ask_seq, ask_seq);
    rc = conn_step(q);
    if (rc != RC_OK)
        return rc == RC_NOTFOUND ? RC_OK : rc;
    job_id = sqlite3_column_int64(q, 0);
    is_last = sqlite3_column_int(q, 1) != 0;
    sqlite3_reset(q);
    return is_last ? take_job(w, u, job_id) : RC_OK;
}

static enum rc
run_answer(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct answer_step *s = (struct answer_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_answer_put);
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_answer_put_ask_seq, s->ask_seq);
    sqlite3_bind_int64(q, STORE_PARAM_answer_put_socket_id,
                       s->process_id ? -s->process_id
                                     : store_step_socket(u, s->socket_id));
    conn_bind_str(q, STORE_PARAM_answer_put_body, s->body);
    store_step_bind_blob(q, STORE_PARAM_answer_put_attachments, s->attachments);
    sqlite3_bind_int64(q, STORE_PARAM_answer_put_now_ms, w->now_ms);
    rc = store_step_change(w, q);
    store_step_note_answer(u, rc == RC_OK);
    if (rc == RC_CONFLICT)
        return store_outbox_ack(w, s->ask_seq, store_step_socket(u, s->socket_id),
                                s->body);
    return rc == RC_OK ? count_answer(w, u, s->ask_seq) : rc;
}

static struct answer_step *
add_answer(struct store_unit *u, int64_t ask_seq, struct str body, struct str attachments)
{
    struct answer_step *s = store_step_add(u, sizeof *s, run_answer, 0);
    s->ask_seq = ask_seq;
    s->body = store_step_copy(u, body);
    s->attachments = store_step_copy(u, attachments);
    return s;
}

void
store_unit_answer(struct store_unit *u, int64_t ask_seq, int64_t socket_id,
                  struct str body, struct str attachments)
{
    add_answer(u, ask_seq, body, attachments)->socket_id = socket_id;
}

void
store_unit_server_answer(struct store_unit *u, int64_t ask_seq, int64_t process_id,
                         struct str body, struct str attachments)
{
    add_answer(u, ask_seq, body, attachments)->process_id = process_id;
}

static enum rc
run_ask_end(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_ask_end);
    (void)u;
    sqlite3_bind_int64(q, STORE_PARAM_ask_end_ask_seq,
                       ((struct answer_step *)step)->ask_seq);
    return conn_done(q);
}

void
store_unit_ask_end(struct store_unit *u, int64_t ask_seq)
{
    struct answer_step *s = store_step_add(u, sizeof *s, run_ask_end, 0);
    s->ask_seq = ask_seq;
}

/* ---- claims ---- */

static enum rc
run_jobs_claim(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct claim_step *s = (struct claim_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_jobs_claim);
    size_t n = 0;
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_jobs_claim_now_ms, s->now_ms);
    sqlite3_bind_int64(q, STORE_PARAM_jobs_claim_process_id, w->process_id);
    sqlite3_bind_int64(q, STORE_PARAM_jobs_claim_n, (int64_t)s->n);
    for (; (rc = conn_step(q)) == RC_OK; n++)
        note_job_row(u, q);
    if (n == s->n)
        store_step_note_more(u);
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

void
store_unit_jobs_claim(struct store_unit *u, int64_t now_ms, size_t n)
{
    struct claim_step *s = store_step_add(u, sizeof *s, run_jobs_claim, 0);
    s->now_ms = now_ms;
    s->n = n;
}
