-- Sweeping: what the dead held, and what nobody needs any more. Each a bounded slice. store/sweep.c
--
-- SPDX-License-Identifier: MIT

-- name: bury_mark
-- in: process_id; no columns. Its jobs are anybody's from now on.
UPDATE t_process SET is_dead = 1 WHERE process_id = :process_id AND is_dead = 0;

-- name: bury_list
-- in: process_id n; out: session_id transport state; at most n rows
SELECT session_id, transport, state FROM t_lease WHERE owner_id = :process_id LIMIT :n;

-- name: bury_free
-- in: session_id process_id; no columns. A poll that nobody holds any more, or a session that is closed.
UPDATE t_lease SET owner_id = NULL, gen = gen + 1 WHERE session_id = :session_id AND owner_id = :process_id;

-- name: bury_process
-- in: process_id; no columns. When it holds nothing any more.
DELETE FROM t_process WHERE process_id = :process_id
    AND NOT EXISTS (SELECT 1 FROM t_lease WHERE owner_id = :process_id);

-- name: socket_expire
-- in: limit_ms n; no columns. Lost before that time: nobody comes back.
UPDATE t_socket SET state = 2, recovery_pid = NULL WHERE socket_id IN (
    SELECT socket_id FROM t_socket WHERE state = 1 AND gone_ms <= :limit_ms ORDER BY gone_ms LIMIT :n);

-- name: forget_sockets
-- scan: t_meta has one row
-- in: n_keep n; out: session_id; at most n rows. Gone, not among the n_keep last ones, and no poll is owed a row to it.
DELETE FROM t_socket WHERE socket_id IN (
    SELECT s.socket_id FROM t_socket s WHERE s.state = 2
        AND NOT EXISTS (SELECT 1 FROM t_job j WHERE j.socket_id = s.socket_id AND j.name = 'disconnect')
        AND NOT EXISTS (SELECT 1 FROM t_hook h WHERE h.socket_id = s.socket_id AND h.is_parked = 0)
        AND s.until_seq <= (SELECT until_seq FROM t_socket WHERE state = 2 ORDER BY until_seq DESC LIMIT 1 OFFSET :n_keep)
        AND (s.until_seq <= (SELECT horizon_seq FROM t_meta)
             OR EXISTS (SELECT 1 FROM t_lease l WHERE l.session_id = s.session_id AND l.state = 1))
    ORDER BY s.until_seq LIMIT :n)
RETURNING session_id;

-- name: forget_session
-- in: session_id now_ms; no columns. Its last socket went; lease and half-received packet go with it.
DELETE FROM t_session WHERE session_id = :session_id
    AND EXISTS (SELECT 1 FROM t_lease l WHERE l.session_id = :session_id AND l.state = 1
                AND (l.forget_ms IS NULL OR l.forget_ms <= :now_ms))
    AND NOT EXISTS (SELECT 1 FROM t_socket s WHERE s.session_id = :session_id);

-- name: forget_later
-- in: now_ms n; no columns. Closed long enough, but its sockets are remembered: it goes with them.
UPDATE t_lease SET forget_ms = NULL WHERE session_id IN (
    SELECT l.session_id FROM t_lease l WHERE l.forget_ms <= :now_ms
        AND EXISTS (SELECT 1 FROM t_socket s WHERE s.session_id = l.session_id) ORDER BY l.forget_ms LIMIT :n);

-- name: forget_sessions
-- in: now_ms n; no columns. Closed long enough, without sockets.
DELETE FROM t_session WHERE session_id IN (
    SELECT l.session_id FROM t_lease l WHERE l.forget_ms <= :now_ms
        AND NOT EXISTS (SELECT 1 FROM t_socket s WHERE s.session_id = l.session_id) ORDER BY l.forget_ms LIMIT :n);

-- name: room_forget
-- scan: t_meta has one row
-- in: n; no columns. Empty, and every row of the log is younger than that; a room that keeps its events has none, and no rule
-- of its own.
DELETE FROM t_room WHERE room_id IN (
    SELECT room_id FROM t_room WHERE idle_seq <= (SELECT horizon_seq FROM t_meta) ORDER BY idle_seq LIMIT :n)
    AND (history_n IS NULL OR NOT EXISTS (SELECT 1 FROM t_history h WHERE h.room_id = t_room.room_id)
         AND NOT EXISTS (SELECT 1 FROM t_history_rule u
                         WHERE u.nsp_id = t_room.nsp_id AND u.is_pattern = 0 AND u.pattern = t_room.name));

-- name: room_postpone
-- scan: t_meta has one row
-- in: seq n; no columns. After room_forget: these are looked at again when the log has moved on.
UPDATE t_room SET idle_seq = :seq WHERE room_id IN (
    SELECT room_id FROM t_room WHERE idle_seq <= (SELECT horizon_seq FROM t_meta) ORDER BY idle_seq LIMIT :n)
    AND history_n IS NOT NULL;

-- name: nsp_forget
-- scan: t_meta has one row
-- in: n; no columns. Empty, every row of the log is younger than that, and nothing that is remembered names it.
DELETE FROM t_nsp WHERE nsp_id IN (
    SELECT n.nsp_id FROM t_nsp n WHERE n.idle_seq <= (SELECT horizon_seq FROM t_meta)
        AND NOT EXISTS (SELECT 1 FROM t_socket s WHERE s.nsp_id = n.nsp_id)
        AND NOT EXISTS (SELECT 1 FROM t_room r WHERE r.nsp_id = n.nsp_id)
    ORDER BY n.idle_seq LIMIT :n);

-- name: nsp_postpone
-- scan: t_meta has one row
-- in: seq n; no columns. After nsp_forget: these are in use again, or looked at again when the log has moved on.
UPDATE t_nsp SET idle_seq = CASE
        WHEN EXISTS (SELECT 1 FROM t_socket s WHERE s.nsp_id = t_nsp.nsp_id AND s.state = 0) THEN NULL ELSE :seq END
WHERE nsp_id IN (
    SELECT nsp_id FROM t_nsp WHERE idle_seq <= (SELECT horizon_seq FROM t_meta) ORDER BY idle_seq LIMIT :n);

-- name: dedup_forget
-- in: limit_ms n; no columns
DELETE FROM t_dedup WHERE key IN (SELECT key FROM t_dedup WHERE made_ms <= :limit_ms ORDER BY made_ms LIMIT :n);

-- name: asks_range
-- out: smallest and largest job_id of the questions without a time-out (NULL: there are none); one row
SELECT (SELECT min(job_id) FROM t_job WHERE due_ms = 9223372036854775807),
       (SELECT max(job_id) FROM t_job WHERE due_ms = 9223372036854775807);

-- name: asks_forget
-- scan: the n rows of its subquery
-- in: start_id n; out: ask_seq. Questions without a time-out which nobody can answer any more, among n from start_id on.
DELETE FROM t_job WHERE job_id IN (
    SELECT c.job_id FROM (
        SELECT job_id, ask_seq FROM t_job WHERE due_ms = 9223372036854775807 AND job_id >= :start_id
        ORDER BY job_id LIMIT :n) c
    WHERE c.ask_seq IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM t_answer a JOIN t_socket s ON s.socket_id = a.socket_id AND s.state < 2
        WHERE a.ask_seq = c.ask_seq AND a.n_before IS NULL))
RETURNING ask_seq;

-- name: asks_expire
-- in: now_ms n; no columns. Questions that were INSERTed, a day after their end; the answers go with them.
DELETE FROM t_ask WHERE seq IN (
    SELECT seq FROM t_ask WHERE forget_ms <= :now_ms ORDER BY forget_ms LIMIT :n);
