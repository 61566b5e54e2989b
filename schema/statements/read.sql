-- Reads on the loop's own connection. store/read.c
--
-- SPDX-License-Identifier: MIT

-- name: read_begin
-- zero rows
BEGIN;

-- name: read_end
-- zero rows
COMMIT;

-- name: read_session
-- in: eio_sid; out: as read_session_by_id; at most one row
SELECT e.session_id, e.protocol, l.state, l.transport, l.is_partial, l.owner_id, l.gen, l.post_gen, l.cursor_seq,
    l.upgrade_id, l.upgrade_due_ms, l.ping_ms, l.due_ms, l.connect_due_ms, l.is_pinged, l.is_told, e.parser,
    l.reason, e.utf8, l.poll_ms
FROM t_session e JOIN t_lease l ON l.session_id = e.session_id WHERE e.eio_sid = :eio_sid;

-- name: read_session_by_id
-- in: session_id; out: session_id protocol state transport is_partial owner_id gen post_gen cursor_seq upgrade_id
-- upgrade_due_ms ping_ms due_ms connect_due_ms is_pinged is_told parser reason utf8 poll_ms; at most one row
SELECT e.session_id, e.protocol, l.state, l.transport, l.is_partial, l.owner_id, l.gen, l.post_gen, l.cursor_seq,
    l.upgrade_id, l.upgrade_due_ms, l.ping_ms, l.due_ms, l.connect_due_ms, l.is_pinged, l.is_told, e.parser,
    l.reason, e.utf8, l.poll_ms
FROM t_session e JOIN t_lease l ON l.session_id = e.session_id WHERE e.session_id = :session_id;

-- name: read_handshake
-- in: session_id; out: handshake remote; at most one row
SELECT handshake, remote FROM t_session WHERE session_id = :session_id;

-- name: read_partial
-- in: session_id; out: body attachments; at most one row
SELECT body, attachments FROM t_partial WHERE session_id = :session_id;

-- name: read_sockets
-- in: session_id above_seq; out: socket_id nsp_id sio_id since_seq until_seq state; in order of their ids. Once a request
SELECT socket_id, nsp_id, sio_id, since_seq, until_seq, state
FROM t_socket WHERE session_id = :session_id AND (state = 0 OR until_seq > :above_seq) ORDER BY socket_id;

-- name: read_socket
-- in: socket_id; out: socket_id nsp_id session_id sio_id nsp user data auth reason since_seq until_seq state first_seq; at
-- most one row
SELECT s.socket_id, s.nsp_id, s.session_id, s.sio_id, n.name, s.user, s.data, s.auth, s.reason, s.since_seq, s.until_seq,
    s.state, s.first_seq
FROM t_socket s JOIN t_nsp n ON n.nsp_id = s.nsp_id WHERE s.socket_id = :socket_id;

-- name: read_target
-- scan: the list in the parameter
-- in: ids (JSON array); out: as read_socket; ordered by sio_id
SELECT s.socket_id, s.nsp_id, s.session_id, s.sio_id, n.name, s.user, s.data, s.auth, s.reason, s.since_seq, s.until_seq,
    s.state, s.first_seq
FROM json_each(:ids) k CROSS JOIN t_socket s ON s.socket_id = k.value CROSS JOIN t_nsp n ON n.nsp_id = s.nsp_id
ORDER BY s.sio_id;

-- name: read_members
-- in: socket_id above_seq; out: room_id since_seq until_seq
SELECT room_id, since_seq, until_seq FROM t_member
WHERE socket_id = :socket_id AND (until_seq IS NULL OR until_seq > :above_seq);

-- name: read_rooms
-- in: socket_id; out: name; ordered by bytes
SELECT r.name FROM t_member m CROSS JOIN t_room r ON r.room_id = m.room_id
WHERE m.socket_id = :socket_id AND m.until_seq IS NULL ORDER BY r.name;

-- name: read_nsp_name
-- in: nsp_id; out: name; at most one row
SELECT name FROM t_nsp WHERE nsp_id = :nsp_id;

-- name: read_dynamic_nsps
-- scan: all of them are wanted
-- out: name; those that no application names
SELECT name FROM t_nsp WHERE is_static = 0 ORDER BY nsp_id;

-- name: read_ask
-- in: ask_seq; out: n_expected; at most one row
SELECT n_expected FROM t_ask WHERE seq = :ask_seq;

-- name: read_answers
-- in: ask_seq; out: socket_id body attachments; in the order in which they came
SELECT socket_id, body, attachments FROM t_answer WHERE ask_seq = :ask_seq AND n_before IS NOT NULL ORDER BY n_before;

-- name: read_owes_answers
-- in: socket_id n; out: 1; zero rows: it owes n answers or fewer
SELECT 1 FROM t_answer WHERE socket_id = :socket_id AND n_before IS NULL LIMIT 1 OFFSET :n;

-- name: read_due_sessions
-- in: now_ms n; out: session_id; at most n rows, the longest overdue first
SELECT session_id FROM t_lease WHERE state = 0 AND due_ms <= :now_ms ORDER BY due_ms LIMIT :n;

-- name: read_processes
-- scan: t_process has some ten rows
-- out: process_id; all rows
SELECT process_id FROM t_process ORDER BY process_id;

-- name: read_single_processes
-- scan: t_process has some ten rows
-- out: process_id; the processes that serve one request at a time and are occupied: CGI by any request, mod_fcgid by a poll
SELECT p.process_id FROM t_process p WHERE p.front = 'cgi'
    OR (p.address = 'mod_fcgid' AND EXISTS (SELECT 1 FROM t_lease l WHERE l.owner_id = p.process_id));

-- name: read_stray_job
-- in: until_ms; out: when the first one is due; zero rows: none until then. As jobs_claim.
SELECT j.due_ms FROM t_job j WHERE j.due_ms <= :until_ms AND (j.owner_id IS NULL
    OR NOT EXISTS (SELECT 1 FROM t_process p WHERE p.process_id = j.owner_id AND p.is_dead = 0))
ORDER BY j.due_ms LIMIT 1;
