-- What the web hook is still to be told. store/hook.c
--
-- SPDX-License-Identifier: MIT

-- name: hook_count
-- scan: t_hook_count has one row
-- out: how many wait, their bytes; one row
SELECT n_rows, n_bytes FROM t_hook_count;

-- name: hook_socket_full
-- in: sio_id n; out: 1; zero rows: n of it wait or fewer
SELECT 1 FROM t_hook WHERE sio_id = :sio_id AND is_parked = 0 LIMIT 1 OFFSET :n;

-- name: hook_session_nsp
-- in: session_id nsp; out: 1; zero rows: no connection of it to this namespace waits
SELECT 1 FROM t_hook WHERE session_id = :session_id AND nsp = :nsp;

-- name: hook_session_full
-- in: session_id n; out: 1; zero rows: n connections of it wait or fewer
SELECT 1 FROM t_hook WHERE session_id = :session_id LIMIT 1 OFFSET :n;

-- name: hook_drop
-- scan: t_hook_count has one row
-- in: now_ms; out: how many were dropped ever, is it to be logged?; one row
UPDATE t_hook_count SET n_dropped = n_dropped + 1,
    n_logged = CASE WHEN n_logged > 0 AND logged_ms BETWEEN :now_ms - 10000 AND :now_ms THEN n_logged ELSE n_dropped + 1 END,
    logged_ms = CASE WHEN n_logged > 0 AND logged_ms BETWEEN :now_ms - 10000 AND :now_ms THEN logged_ms ELSE :now_ms END
RETURNING n_dropped, n_logged = n_dropped;

-- name: hook_put
-- in: event_id kind sio_id socket_id session_id job_id nsp body attachments ack_id n_bytes now_ms; no columns; one row. Due
-- now if none of its socket waits.
INSERT INTO t_hook (event_id, kind, sio_id, socket_id, session_id, job_id, nsp, body, attachments, ack_id, n_bytes, made_ms,
    due_ms)
VALUES (:event_id, :kind, :sio_id, :socket_id, :session_id, :job_id, :nsp, :body, :attachments, :ack_id, :n_bytes, :now_ms,
    CASE WHEN NOT EXISTS (SELECT 1 FROM t_hook WHERE sio_id = :sio_id AND is_parked = 0) THEN :now_ms END);

-- name: hook_connected
-- in: sio_id; out: 1; zero rows: it is not there
SELECT 1 FROM t_socket WHERE sio_id = :sio_id AND state = 0;

-- name: hook_claim
-- in: hook_id gen process_id lease_ms; no columns; zero rows changed: somebody was first. Who had it before may have told of it.
UPDATE t_hook SET is_told = max(is_told, owner_id IS NOT NULL), owner_id = :process_id, lease_ms = :lease_ms, gen = gen + 1,
    n_tries = n_tries + 1
WHERE hook_id = :hook_id AND gen = :gen AND due_ms IS NOT NULL;

-- name: hook_retry
-- in: hook_id gen process_id due_ms is_told error; no columns; zero rows changed: somebody else's by now
UPDATE t_hook SET owner_id = NULL, lease_ms = NULL, due_ms = :due_ms, is_told = max(is_told, :is_told), error = :error
WHERE hook_id = :hook_id AND gen = :gen AND owner_id = :process_id AND is_parked = 0;

-- name: hook_done
-- in: hook_id gen process_id; out: sio_id job_id; zero rows: somebody else's by now
DELETE FROM t_hook WHERE hook_id = :hook_id AND gen = :gen AND owner_id = :process_id AND is_parked = 0
RETURNING sio_id, job_id;

-- name: hook_park
-- in: hook_id gen process_id error; out: sio_id job_id; zero rows: somebody else's by now
UPDATE t_hook SET is_parked = 1, due_ms = NULL, owner_id = NULL, lease_ms = NULL, session_id = NULL, gen = gen + 1, error = :error
WHERE hook_id = :hook_id AND gen = :gen AND owner_id = :process_id AND is_parked = 0
RETURNING sio_id, job_id;

-- name: hook_expire
-- in: event_id error; out: sio_id nsp, may the receiver know of it?; zero rows: it is over
UPDATE t_hook SET is_parked = 1, due_ms = NULL, is_told = max(is_told, owner_id IS NOT NULL), owner_id = NULL,
    lease_ms = NULL, session_id = NULL, gen = gen + 1, error = coalesce(error, :error)
WHERE event_id = :event_id AND is_parked = 0
RETURNING sio_id, nsp, is_told;

-- name: hook_next
-- in: sio_id now_ms; no columns. Where the head of its socket has ended, the next one is due.
UPDATE t_hook SET due_ms = :now_ms WHERE hook_id = (
        SELECT hook_id FROM t_hook WHERE sio_id = :sio_id AND is_parked = 0 ORDER BY hook_id LIMIT 1)
    AND NOT EXISTS (SELECT 1 FROM t_hook WHERE sio_id = :sio_id AND due_ms IS NOT NULL);

-- name: hook_trim
-- scan: the parked ones, at most n_max and one
-- in: n_max bytes_max; no columns. Of those that were given up, the newest stay.
DELETE FROM t_hook WHERE hook_id IN (
    SELECT hook_id FROM (
        SELECT hook_id, row_number() OVER newest AS n, sum(n_bytes) OVER newest AS n_bytes FROM t_hook WHERE is_parked = 1
        WINDOW newest AS (ORDER BY hook_id DESC))
    WHERE n > :n_max OR n_bytes > :bytes_max);

-- name: read_hooks_due
-- in: now_ms process_id n; out: hook_id gen kind event_id sio_id nsp socket_id session_id body attachments ack_id made_ms n_tries,
-- whose it is though its time is over; at most n rows. Of nobody, of the dead, of who is too late, or our own: the caller knows
-- what it is at.
SELECT hook_id, gen, kind, event_id, sio_id, nsp, socket_id, session_id, body, attachments, ack_id, made_ms, n_tries,
    CASE WHEN owner_id <> :process_id AND lease_ms <= :now_ms THEN owner_id END
FROM t_hook h WHERE due_ms <= :now_ms AND (owner_id IS NULL OR owner_id = :process_id OR lease_ms <= :now_ms
    OR NOT EXISTS (SELECT 1 FROM t_process p WHERE p.process_id = h.owner_id AND p.is_dead = 0))
ORDER BY due_ms LIMIT :n;

-- name: read_hook_next
-- scan: two rows
-- in: now_ms process_id; out: when the next one is due, or may be taken from another process; NULL: none; one row
SELECT min(at_ms) FROM (
    SELECT * FROM (SELECT due_ms AS at_ms FROM t_hook WHERE due_ms > :now_ms ORDER BY due_ms LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT lease_ms FROM t_hook WHERE lease_ms > :now_ms AND owner_id <> :process_id ORDER BY lease_ms LIMIT 1));
