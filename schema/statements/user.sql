-- Users: presence, outbox, expiry. store/user.c
--
-- SPDX-License-Identifier: MIT

-- name: user_limits
-- scan: t_user_limit has one row
-- in: expiry_lead_ms linger_ms n_outbox_max; zero rows
UPDATE t_user_limit SET expiry_lead_ms = :expiry_lead_ms, linger_ms = :linger_ms, n_outbox_max = :n_outbox_max
WHERE (expiry_lead_ms, linger_ms, n_outbox_max) <> (:expiry_lead_ms, :linger_ms, :n_outbox_max);

-- name: presence_read
-- in: presence_id; out: user nsp is_online is_told; at most one row
SELECT p.user, n.name, p.n_sockets > 0, p.is_told
FROM t_presence p CROSS JOIN t_nsp n USING (nsp_id) WHERE p.presence_id = :presence_id;

-- name: presence_tell
-- in: presence_id is_online limit_ms; no columns; zero rows changed: it was told, or is not so any more, or not for long enough
UPDATE t_presence SET is_told = :is_online
WHERE presence_id = :presence_id AND is_told <> :is_online AND (n_sockets > 0) = :is_online
    AND (:is_online OR since_ms <= :limit_ms);

-- name: presence_emit
-- in: presence_id is_online; no columns. To the rooms that want to know it.
INSERT INTO emit (nsp, room, event, args)
SELECT n.name, r.room, 'presence', json_array(p.user, json(CASE WHEN :is_online THEN 'true' ELSE 'false' END))
FROM t_presence p CROSS JOIN t_presence_room r USING (nsp_id) CROSS JOIN t_nsp n USING (nsp_id)
WHERE p.presence_id = :presence_id;

-- name: presence_forget
-- in: limit_ms n; no columns
DELETE FROM t_presence WHERE presence_id IN (
    SELECT presence_id FROM t_presence WHERE n_sockets = 0 AND since_ms <= :limit_ms ORDER BY since_ms LIMIT :n);

-- name: outbox_ack
-- in: seq socket_id answer now_ms; no columns; zero rows changed: no question of the outbox to this socket, or acknowledged
UPDATE t_outbox SET acked_ms = :now_ms, answer = :answer
WHERE outbox_id = (SELECT outbox_id FROM t_outbox_sent WHERE seq = :seq AND socket_id = :socket_id) AND acked_ms IS NULL;

-- name: outbox_forget
-- scan: the n rows of each subquery
-- in: limit_ms n; no columns. Acknowledged or expired before that time.
DELETE FROM t_outbox WHERE outbox_id IN (
    SELECT outbox_id FROM (SELECT outbox_id FROM t_outbox WHERE acked_ms <= :limit_ms ORDER BY acked_ms LIMIT :n)
    UNION ALL SELECT outbox_id FROM (
        SELECT outbox_id FROM t_outbox WHERE expires_ms <= :limit_ms AND acked_ms IS NULL ORDER BY expires_ms LIMIT :n));

-- name: expiry_read
-- in: socket_id; out: expires_ms is_close; at most one row
SELECT expires_ms, is_close FROM t_expiry WHERE socket_id = :socket_id;

-- name: socket_drop
-- in: socket_id; no columns. Lost: it can't come back any more.
UPDATE t_socket SET state = 2, recovery_pid = NULL WHERE socket_id = :socket_id AND state = 1;

-- name: shift_user
-- scan: once after a boot
-- in: delta; zero rows
UPDATE t_presence SET since_ms = since_ms + :delta;

-- name: shift_outbox
-- scan: once after a boot
-- in: delta; zero rows
UPDATE t_outbox SET made_ms = made_ms + :delta, expires_ms = expires_ms + :delta, sent_ms = sent_ms + :delta,
    acked_ms = acked_ms + :delta;

-- name: shift_expiry
-- scan: once after a boot
-- in: delta; zero rows
UPDATE t_expiry SET expires_ms = expires_ms + :delta;
