-- Jobs, questions and answers, units that must not run twice. store/job.c
--
-- SPDX-License-Identifier: MIT

-- name: guard_job
-- in: job_id gen process_id; out: ask_seq; zero rows: re-owned meanwhile, or done: drop the effects
DELETE FROM t_job WHERE job_id = :job_id AND gen = :gen AND owner_id = :process_id RETURNING ask_seq;

-- name: job_remove
-- in: job_id; no columns. It is not needed any more; whoever keeps its timer finds nothing.
DELETE FROM t_job WHERE job_id = :job_id;

-- name: ask_forget
-- in: ask_seq; no columns. The answers go with it.
DELETE FROM t_ask WHERE seq = :ask_seq;

-- name: job_create
-- in: due_ms name socket_id args ask_seq owner_id; no columns, the id is last_insert_rowid(); one row. Its gen is 1.
INSERT INTO t_job (due_ms, name, socket_id, args, ask_seq, owner_id, gen)
VALUES (:due_ms, :name, :socket_id, :args, :ask_seq, :owner_id, 1);

-- name: processes_asked
-- scan: a list of some ten processes
-- in: process_id; out: process_id; the others that hear server events and do not end
SELECT process_id FROM t_process
WHERE process_id <> :process_id AND front IN ('fcgi', 'ws') AND is_dead = 0 AND is_draining = 0;

-- name: ask_full
-- in: socket_id n; out: 1; zero rows: it owes n answers or fewer
SELECT 1 FROM t_answer WHERE socket_id = :socket_id AND n_before IS NULL LIMIT 1 OFFSET :n;

-- name: ask_create
-- in: seq job_id n_expected; no columns; one row
INSERT INTO t_ask (seq, job_id, n_expected) VALUES (:seq, :job_id, :n_expected);

-- name: answer_expect
-- in: ask_seq socket_id; no columns; one row
INSERT INTO t_answer (ask_seq, socket_id) VALUES (:ask_seq, :socket_id);

-- name: answer_put
-- in: ask_seq socket_id body attachments now_ms; no columns; zero rows changed: a stranger, a duplicate, or late
UPDATE t_answer SET n_before = (SELECT n_answers FROM t_ask WHERE seq = :ask_seq), body = :body, attachments = :attachments
WHERE ask_seq = :ask_seq AND socket_id = :socket_id AND n_before IS NULL
    AND NOT EXISTS (SELECT 1 FROM t_ask WHERE seq = :ask_seq AND due_ms <= :now_ms);

-- name: ask_end
-- in: ask_seq; no columns. Its time is over, or all have answered: who has not, owes nothing any more.
UPDATE t_answer SET n_before = -1 WHERE ask_seq = :ask_seq AND n_before IS NULL;

-- name: answer_count
-- in: ask_seq; out: job_id, is it the last answer?; one row
UPDATE t_ask SET n_answers = n_answers + 1 WHERE seq = :ask_seq RETURNING job_id, n_answers = n_expected;

-- name: job_take
-- in: job_id due_ms process_id; out: job_id gen due_ms name socket_id args; one row. Whoever kept its timer finds another
-- generation.
UPDATE t_job SET due_ms = :due_ms, owner_id = :process_id, gen = gen + 1 WHERE job_id = :job_id
RETURNING job_id, gen, due_ms, name, socket_id, args;

-- name: jobs_claim
-- in: now_ms process_id n; out: as job_take; at most n rows. Nobody's: never owned, or the owner is gone or seen dead.
UPDATE t_job SET owner_id = :process_id, gen = gen + 1 WHERE job_id IN (
    SELECT j.job_id FROM t_job j WHERE j.due_ms <= :now_ms AND (j.owner_id IS NULL
        OR NOT EXISTS (SELECT 1 FROM t_process p WHERE p.process_id = j.owner_id AND p.is_dead = 0))
    ORDER BY j.due_ms LIMIT :n)
RETURNING job_id, gen, due_ms, name, socket_id, args;
