-- Namespaces and sockets. store/socket.c
--
-- SPDX-License-Identifier: MIT

-- name: nsp_find
-- in: name; out: nsp_id; at most one row
SELECT nsp_id FROM t_nsp WHERE name = :name;

-- name: nsp_create
-- in: name; no columns, the id is last_insert_rowid(); one row
INSERT INTO t_nsp (name) VALUES (:name);

-- name: nsp_keep
-- in: nsp_id; no columns. The application names it.
UPDATE t_nsp SET is_static = 1, idle_seq = NULL WHERE nsp_id = :nsp_id AND is_static = 0;

-- name: nsp_idle
-- in: nsp_id seq; no columns. Perhaps its last socket has ended.
UPDATE t_nsp SET idle_seq = :seq WHERE nsp_id = :nsp_id AND is_static = 0
    AND NOT EXISTS (SELECT 1 FROM t_socket WHERE nsp_id = :nsp_id AND state = 0);

-- name: socket_free_id
-- in: sio_id; no columns. The id of one that is gone may come again: those of revision 3 follow from the session's.
UPDATE t_socket SET sio_id = sio_id || '~' || socket_id WHERE sio_id = :sio_id AND state = 2;

-- name: socket_create
-- in: sio_id nsp_id session_id recovery_pid data auth; no columns, the id is last_insert_rowid(); one row
INSERT INTO t_socket (sio_id, nsp_id, session_id, recovery_pid, data, auth)
VALUES (:sio_id, :nsp_id, :session_id, :recovery_pid, :data, :auth);

-- name: socket_begin
-- in: socket_id seq (its CONNECT reply); no columns; one row changed
UPDATE t_socket SET first_seq = :seq, since_seq = :seq WHERE socket_id = :socket_id;

-- name: socket_connected
-- in: session_id due_ms (NULL: as it is); no columns. The first CONNECT came.
UPDATE t_lease SET connect_due_ms = NULL, due_ms = CASE WHEN due_ms IS NULL THEN NULL ELSE coalesce(:due_ms, due_ms) END
WHERE session_id = :session_id AND (connect_due_ms IS NOT NULL OR :due_ms IS NOT NULL);

-- name: socket_last
-- in: session_id due_ms; no columns. No socket of an open session is left: it ends then, unless another namespace is joined.
UPDATE t_lease SET connect_due_ms = :due_ms, due_ms = CASE WHEN due_ms IS NULL THEN NULL ELSE min(due_ms, :due_ms) END
WHERE session_id = :session_id AND state = 0
    AND NOT EXISTS (SELECT 1 FROM t_socket WHERE session_id = :session_id AND state = 0);

-- name: socket_ending
-- in: socket_id; out: nsp_id session_id, may it be recovered?, its rooms as a JSON array; zero rows: it has ended
SELECT s.nsp_id, s.session_id, s.recovery_pid IS NOT NULL,
    (SELECT json_group_array(r.name) FROM t_member m CROSS JOIN t_room r USING (room_id)
        WHERE m.socket_id = s.socket_id AND m.until_seq IS NULL)
FROM t_socket s WHERE s.socket_id = :socket_id AND s.state = 0;

-- name: socket_session
-- in: socket_id; out: session_id; zero rows: it has ended
SELECT session_id FROM t_socket WHERE socket_id = :socket_id AND state = 0;

-- name: socket_data
-- in: socket_id data; no columns
UPDATE t_socket SET data = :data WHERE socket_id = :socket_id;

-- name: socket_user
-- in: socket_id user; no columns
UPDATE t_socket SET user = :user WHERE socket_id = :socket_id;
