-- What comes in, for the triggers of an application in SQL. store/incoming.c
--
-- SPDX-License-Identifier: MIT

-- name: incoming_event
-- in: socket_id ack_id event args attachments; no columns
INSERT INTO event (event_id, socket, nsp, user, data, event, args, attachments, wants_ack)
SELECT s.sio_id || ':' || coalesce(:ack_id, ''), s.sio_id, n.name, s.user, s.data, :event, :args, :attachments,
       :ack_id IS NOT NULL
FROM t_socket s JOIN t_nsp n USING (nsp_id)
WHERE s.socket_id = :socket_id AND s.state = 0;

-- name: incoming_connection
-- in: socket_id; no columns
INSERT INTO connection (socket, nsp, user, data, auth, query, headers, remote, transport, protocol, is_recovered)
SELECT s.sio_id, n.name, s.user, s.data, s.auth, coalesce(e.handshake -> '$.query', '{}'),
       coalesce(e.handshake -> '$.headers', '{}'), e.remote,
       CASE l.transport WHEN 0 THEN 'polling' ELSE 'websocket' END, e.protocol, s.first_seq <> s.since_seq
FROM t_socket s JOIN t_nsp n USING (nsp_id) JOIN t_session e USING (session_id) JOIN t_lease l USING (session_id)
WHERE s.socket_id = :socket_id;

-- name: incoming_disconnect
-- in: socket_id reason rooms; no columns
INSERT INTO disconnect (socket, nsp, user, reason, is_recoverable, session_id, rooms)
SELECT s.sio_id, n.name, s.user, :reason, s.state = 1, s.session_id, :rooms
FROM t_socket s JOIN t_nsp n USING (nsp_id)
WHERE s.socket_id = :socket_id;

-- name: connecting_add
-- in: socket_id; one row
INSERT INTO t_connecting (socket_id) VALUES (:socket_id);

-- name: connecting_read
-- in: socket_id; out: is_refused message data; one row
SELECT is_refused, message, data FROM t_connecting WHERE socket_id = :socket_id;

-- name: connecting_remove
-- in: socket_id; one row
DELETE FROM t_connecting WHERE socket_id = :socket_id;

-- name: incoming_answer
-- in: ask_seq socket_id; no columns. Only questions that have a name
INSERT INTO answer (name, socket, is_answered, n, args, attachments)
SELECT a.name, w.sio_id, 1, w.n_before + 1, '[' || coalesce(w.body, '') || ']', CASE WHEN length(w.attachments) > 0 THEN w.attachments END
FROM t_ask a CROSS JOIN t_answer w ON w.ask_seq = a.seq
WHERE a.seq = :ask_seq AND a.name IS NOT NULL AND w.socket_id = :socket_id;

-- name: incoming_ask_end
-- in: ask_seq; no columns. Likewise
INSERT INTO answer (name, is_answered, n)
SELECT name, n_answers = n_expected, n_answers FROM t_ask WHERE seq = :ask_seq AND name IS NOT NULL;

-- name: incoming_presence
-- in: presence_id is_online; no columns
INSERT INTO presence (user, nsp, is_online, n_sockets)
SELECT p.user, n.name, :is_online, p.n_sockets FROM t_presence p CROSS JOIN t_nsp n USING (nsp_id)
WHERE p.presence_id = :presence_id;
