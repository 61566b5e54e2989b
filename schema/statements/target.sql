-- Targets: names become keys at the commit, routes become sockets; joins and leaves. store/target.c
--
-- SPDX-License-Identifier: MIT

-- name: target_name
-- scan: one entry of i_socket_lost, whether there is any
-- in: nsp_id name; out: twice the room_id, plus 1 if the room keeps its events (one look is cheaper than two), socket_id; NULL
-- where there is none; one row. An empty room counts only while somebody is lost who may come back into it, or if it keeps its
-- events.
SELECT (SELECT r.room_id * 2 + (r.history_n IS NOT NULL) FROM t_room r WHERE r.nsp_id = :nsp_id AND r.name = :name
            AND (r.idle_seq IS NULL OR r.history_n IS NOT NULL OR EXISTS (SELECT 1 FROM t_socket WHERE state = 1))),
       (SELECT s.socket_id FROM t_socket s WHERE s.sio_id = :name AND s.nsp_id = :nsp_id AND s.state < 2);

-- name: target_user
-- in: nsp_id user; out: socket_id; zero or more rows
SELECT socket_id FROM t_socket WHERE user = :user AND nsp_id = :nsp_id AND state < 2;

-- name: target_socket
-- in: socket_id; out: nsp_id; zero rows: gone
SELECT nsp_id FROM t_socket WHERE socket_id = :socket_id AND state < 2;

-- name: target_session
-- in: session_id; out: 1; zero rows: closed
SELECT 1 FROM t_lease WHERE session_id = :session_id AND state = 0;

-- name: target_sockets
-- in: nsp_id to_kind to_id to_list not_list skip_id (as in t_packet); out: socket_id, each once, in order. As the view t_due.
-- scan: the lists in the parameters
SELECT s.socket_id FROM t_socket s WHERE :to_kind = 2 AND s.socket_id = :to_id AND s.state = 0
UNION SELECT m.socket_id FROM t_member m WHERE :to_kind = 1 AND m.room_id = :to_id AND m.until_seq IS NULL
UNION SELECT s.socket_id FROM t_socket s WHERE :to_kind = 0 AND s.nsp_id = :nsp_id AND s.state = 0
UNION SELECT s.socket_id FROM t_socket s WHERE :to_kind = 3 AND s.session_id = :to_id AND s.state = 0
UNION SELECT m.socket_id FROM json_each('["' || replace(:to_list, ',', '","') || '"]') k
    CROSS JOIN t_member m ON m.room_id = CAST(substr(k.value, 2) AS INTEGER) AND m.until_seq IS NULL
    WHERE :to_kind = 4 AND k.value LIKE 'r%'
UNION SELECT s.socket_id FROM json_each('["' || replace(:to_list, ',', '","') || '"]') k
    CROSS JOIN t_socket s ON s.socket_id = CAST(substr(k.value, 2) AS INTEGER) AND s.state = 0
    WHERE :to_kind = 4 AND k.value LIKE 's%'
EXCEPT SELECT m.socket_id FROM json_each('["' || replace(:not_list, ',', '","') || '"]') k
    CROSS JOIN t_member m ON m.room_id = CAST(substr(k.value, 2) AS INTEGER) AND m.until_seq IS NULL
    WHERE k.value LIKE 'r%'
EXCEPT SELECT CAST(substr(k.value, 2) AS INTEGER) FROM json_each('["' || replace(:not_list, ',', '","') || '"]') k
    WHERE k.value LIKE 's%'
EXCEPT SELECT :skip_id WHERE :skip_id IS NOT NULL
ORDER BY 1;

-- name: room_full
-- in: socket_id n; out: 1; zero rows: it is in n rooms or fewer
SELECT 1 FROM t_member WHERE socket_id = :socket_id AND until_seq IS NULL LIMIT 1 OFFSET :n;

-- name: room_find
-- in: nsp_id name; out: room_id; at most one row
SELECT room_id FROM t_room WHERE nsp_id = :nsp_id AND name = :name;

-- name: room_create
-- in: nsp_id name idle_seq; no columns, the id is last_insert_rowid(); one row. Idle until the first one is in.
INSERT INTO t_room (nsp_id, name, idle_seq) VALUES (:nsp_id, :name, :idle_seq);

-- name: member_find
-- in: socket_id room_id; out: 1; zero rows: it is not in
SELECT 1 FROM t_member WHERE socket_id = :socket_id AND room_id = :room_id AND until_seq IS NULL;

-- name: member_check
-- in: socket_id room_id; out: 1; zero rows: it is in, or has ended
SELECT 1 FROM t_socket s WHERE s.socket_id = :socket_id AND s.state = 0 AND NOT EXISTS (
    SELECT 1 FROM t_member m WHERE m.socket_id = s.socket_id AND m.room_id = :room_id AND m.until_seq IS NULL);
