-- Connection state recovery (design, section 7): a socket that was lost goes on in another session. store/recover.c
--
-- SPDX-License-Identifier: MIT

-- name: recovery_find
-- scan: t_meta has one row
-- in: pid; out: socket_id session_id state gone_ms first_seq sio_id nsp, the horizon, its rooms (those that the loss closed) as
-- a JSON array; at most one row
SELECT s.socket_id, s.session_id, s.state, s.gone_ms, s.first_seq, s.sio_id, n.name, (SELECT horizon_seq FROM t_meta),
    (SELECT json_group_array(r.name) FROM t_member m CROSS JOIN t_room r USING (room_id)
        WHERE m.socket_id = s.socket_id AND m.until_seq IS s.until_seq)
FROM t_socket s CROSS JOIN t_nsp n USING (nsp_id) WHERE s.recovery_pid = :pid AND s.state < 2;

-- name: recovery_take
-- scan: t_meta has one row
-- in: pid old_id (its session, as read) session_id offset; out: socket_id nsp_id until_seq; zero rows: it cannot be recovered
-- any more. since_seq and until_seq follow with its CONNECT row.
UPDATE t_socket SET session_id = :session_id, state = 0, reason = NULL, gone_ms = NULL
WHERE recovery_pid = :pid AND session_id = :old_id AND state = 1 AND :offset >= (SELECT horizon_seq FROM t_meta)
RETURNING socket_id, nsp_id, until_seq;

-- name: recovery_job
-- in: socket_id; no columns. Its loss was not told to the application yet: now it need not be, the socket goes on.
DELETE FROM t_job WHERE socket_id = :socket_id AND name = 'disconnect';

-- name: recovery_members
-- in: socket_id until_seq; out: room_id. The intervals that the loss closed are open again.
UPDATE t_member SET until_seq = NULL WHERE socket_id = :socket_id AND until_seq = :until_seq RETURNING room_id;

-- name: recovery_room
-- in: room_id; no columns
UPDATE t_room SET idle_seq = NULL WHERE room_id = :room_id;

-- name: recovery_begin
-- in: socket_id seq (its CONNECT row); no columns. Live rows are due from here on.
UPDATE t_socket SET since_seq = :seq, until_seq = NULL WHERE socket_id = :socket_id;

-- name: recovery_keep
-- in: session_id offset seq; no columns. The rows to replay stay until that CONNECT row was delivered.
UPDATE t_lease SET keep_seq = min(coalesce(keep_seq, :offset), :offset), replay_seq = :seq WHERE session_id = :session_id;
