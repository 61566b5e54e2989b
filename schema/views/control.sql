-- siolite: the verbs that change who is where, and what a socket is, as views that one INSERTs into; what is said in emit.sql
-- is true here too.
--
--   INSERT INTO room_join (socket, room) VALUES ('JjxVQdFdZUnPKXuAAAAB', 'lobby');
--   INSERT INTO room_join (in_room, room) VALUES ('lobby', 'hall');
--   INSERT INTO kick (user) VALUES ('mallory');
--
-- Whom they concern, those who are there at this moment: `socket`, or all that are `in_room`, or all of `user`, or all in the
-- namespace (`is_all`). No function of JSON is used here (see private.sql).
--
-- SPDX-License-Identifier: MIT

-- INSERT: the control row `kind` for all in a namespace, or those of them who are in a room or of a user. Nobody there: no row.
DROP VIEW IF EXISTS t_whom;
CREATE VIEW t_whom AS
    SELECT NULL AS kind, NULL AS nsp_id, NULL AS in_room, NULL AS user, NULL AS is_all, NULL AS arg_id;

CREATE TRIGGER t_whom_insert INSTEAD OF INSERT ON t_whom
BEGIN
    INSERT INTO t_control (kind, nsp_id, to_kind, to_id, to_list, arg_id)
        SELECT new.kind, new.nsp_id, iif(new.is_all, 0, 4), iif(new.is_all, new.nsp_id, NULL), iif(new.is_all, NULL, t.keys), new.arg_id
        FROM (SELECT group_concat(k.key) AS keys FROM (
                  SELECT 'r' || r.room_id AS key FROM t_room r
                  WHERE r.nsp_id = new.nsp_id AND r.name = new.in_room AND r.idle_seq IS NULL
                  UNION SELECT 's' || s.socket_id FROM t_socket s
                  WHERE s.sio_id = new.in_room AND s.nsp_id = new.nsp_id AND s.state = 0
                  UNION SELECT 's' || s.socket_id FROM t_socket s
                  WHERE s.user = new.user AND s.nsp_id = new.nsp_id AND s.state = 0) k) t
        WHERE new.is_all OR t.keys IS NOT NULL;
END;

-- INSERT: a socket joins a room, or many do. SELECT: as member.
DROP VIEW IF EXISTS room_join;
CREATE VIEW room_join AS
    SELECT nsp,                                 -- INSERT: NULL is the socket's, else '/'
           socket,                              -- who
           room,                                -- where
           NULL AS in_room,                     -- INSERT: or all that are in this room
           NULL AS user,                        -- INSERT: or all sockets of this user
           NULL AS is_all,                      -- INSERT: or 1: all in the namespace
           NULL AS is_history                   -- INSERT: 1: who was not in gets what the room keeps (room_history)
    FROM member;

CREATE TRIGGER room_join_insert INSTEAD OF INSERT ON room_join
BEGIN
    SELECT CASE
        WHEN new.is_all NOT IN (0, 1)
            THEN RAISE(ABORT, 'room_join.is_all: must be 0 or 1')
        WHEN (new.socket IS NOT NULL) + (new.in_room IS NOT NULL) + (new.user IS NOT NULL) + coalesce(new.is_all, 0) <> 1
            THEN RAISE(ABORT, 'room_join: exactly one of socket, in_room, user and is_all = 1 says who')
        WHEN NOT EXISTS (SELECT 1 FROM t_nsp WHERE (new.nsp IS NULL AND new.socket IS NOT NULL) OR name = coalesce(new.nsp, '/'))
            THEN RAISE(ABORT, 'room_join.nsp: no such namespace; allowed: one that the application has; NULL is that of the socket, else /')
        WHEN typeof(new.in_room) NOT IN ('text', 'null')
            THEN RAISE(ABORT, 'room_join.in_room: must be text (a room or a socket id)')
        WHEN typeof(new.user) NOT IN ('text', 'null')
            THEN RAISE(ABORT, 'room_join.user: must be text')
        WHEN new.is_history NOT IN (0, 1)
            THEN RAISE(ABORT, 'room_join.is_history: must be 0 or 1')
        WHEN new.socket IS NOT NULL AND (typeof(new.socket) <> 'text' OR NOT EXISTS (
            SELECT 1 FROM t_socket s JOIN t_nsp n USING (nsp_id)
            WHERE s.sio_id = new.socket AND s.state = 0 AND (new.nsp IS NULL OR n.name = new.nsp)))
            THEN RAISE(ABORT, 'room_join.socket: must be the id of an open socket of this namespace')
        WHEN typeof(new.room) <> 'text'
            THEN RAISE(ABORT, 'room_join.room: must be text')
        WHEN EXISTS (
            SELECT 1 FROM t_socket s JOIN t_member m USING (socket_id) WHERE s.sio_id = new.socket
            AND m.until_seq IS NULL LIMIT 1 OFFSET (SELECT coalesce((SELECT value FROM t_bound WHERE name = 'max_rooms'), n_rooms_max) - 1 FROM t_meta)) AND NOT EXISTS (
            SELECT 1 FROM member WHERE socket = new.socket AND room = new.room)
            THEN RAISE(ABORT, 'room_join.socket: is in max_rooms rooms')
        END;
    INSERT OR IGNORE INTO t_room (nsp_id, name, idle_seq)
        SELECT n.nsp_id, new.room, coalesce((SELECT max(seq) FROM t_packet), 0) FROM t_nsp n
        WHERE CASE WHEN new.socket IS NULL THEN n.name = coalesce(new.nsp, '/')
                   ELSE n.nsp_id = (SELECT s.nsp_id FROM t_socket s WHERE s.sio_id = new.socket) END;
    INSERT INTO t_control (kind, nsp_id, to_kind, to_id, arg_id)
        SELECT 16, s.nsp_id, 2, s.socket_id, r.room_id
        FROM t_socket s JOIN t_room r ON r.nsp_id = s.nsp_id AND r.name = new.room
        WHERE s.sio_id = new.socket AND NOT EXISTS (
            SELECT 1 FROM t_member m WHERE m.socket_id = s.socket_id AND m.room_id = r.room_id AND m.until_seq IS NULL);
    INSERT INTO t_whom (kind, nsp_id, in_room, user, is_all, arg_id)
        SELECT 16, n.nsp_id, new.in_room, new.user, new.is_all, r.room_id
        FROM t_nsp n CROSS JOIN t_room r ON r.nsp_id = n.nsp_id AND r.name = new.room
        WHERE new.socket IS NULL AND n.name = coalesce(new.nsp, '/');
    INSERT INTO t_packet (kind, nsp_id, to_kind, to_id, to_list, arg_id, ack_id, made_ms)
        SELECT 25, p.nsp_id, p.to_kind, p.to_id, p.to_list, p.arg_id, p.seq, p.made_ms
        FROM t_packet p CROSS JOIN t_room r ON r.room_id = p.arg_id
        WHERE new.is_history AND p.seq = (SELECT max(seq) FROM t_packet) AND p.kind = 16
          AND r.name = new.room AND r.history_n IS NOT NULL
          AND (new.socket IS NULL OR p.to_id = (SELECT s.socket_id FROM t_socket s WHERE s.sio_id = new.socket))
          AND EXISTS (SELECT 1 FROM t_history h WHERE h.room_id = r.room_id);
END;

-- INSERT: a socket leaves a room, or many do; nothing happens where one is not in. SELECT: as member.
DROP VIEW IF EXISTS room_leave;
CREATE VIEW room_leave AS
    SELECT nsp,                                 -- INSERT: NULL is the socket's, else '/'
           socket,                              -- who
           room,                                -- from where
           NULL AS in_room,                     -- INSERT: or all that are in this room
           NULL AS user,                        -- INSERT: or all sockets of this user
           NULL AS is_all                       -- INSERT: or 1: all in the namespace
    FROM member;

CREATE TRIGGER room_leave_insert INSTEAD OF INSERT ON room_leave
BEGIN
    SELECT CASE
        WHEN new.is_all NOT IN (0, 1)
            THEN RAISE(ABORT, 'room_leave.is_all: must be 0 or 1')
        WHEN (new.socket IS NOT NULL) + (new.in_room IS NOT NULL) + (new.user IS NOT NULL) + coalesce(new.is_all, 0) <> 1
            THEN RAISE(ABORT, 'room_leave: exactly one of socket, in_room, user and is_all = 1 says who')
        WHEN NOT EXISTS (SELECT 1 FROM t_nsp WHERE (new.nsp IS NULL AND new.socket IS NOT NULL) OR name = coalesce(new.nsp, '/'))
            THEN RAISE(ABORT, 'room_leave.nsp: no such namespace; allowed: one that the application has; NULL is that of the socket, else /')
        WHEN typeof(new.in_room) NOT IN ('text', 'null')
            THEN RAISE(ABORT, 'room_leave.in_room: must be text (a room or a socket id)')
        WHEN typeof(new.user) NOT IN ('text', 'null')
            THEN RAISE(ABORT, 'room_leave.user: must be text')
        WHEN typeof(new.socket) NOT IN ('text', 'null')
            THEN RAISE(ABORT, 'room_leave.socket: must be the id of a socket')
        WHEN typeof(new.room) <> 'text'
            THEN RAISE(ABORT, 'room_leave.room: must be text')
        END;
    INSERT INTO t_control (kind, nsp_id, to_kind, to_id, arg_id)
        SELECT 17, s.nsp_id, 2, s.socket_id, r.room_id
        FROM t_socket s JOIN t_nsp n USING (nsp_id) JOIN t_room r ON r.nsp_id = s.nsp_id AND r.name = new.room
        WHERE s.sio_id = new.socket AND s.state = 0 AND (new.nsp IS NULL OR n.name = new.nsp) AND EXISTS (
            SELECT 1 FROM t_member m WHERE m.socket_id = s.socket_id AND m.room_id = r.room_id AND m.until_seq IS NULL);
    INSERT INTO t_whom (kind, nsp_id, in_room, user, is_all, arg_id)
        SELECT 17, n.nsp_id, new.in_room, new.user, new.is_all, r.room_id
        FROM t_nsp n CROSS JOIN t_room r ON r.nsp_id = n.nsp_id AND r.name = new.room AND r.idle_seq IS NULL
        WHERE new.socket IS NULL AND n.name = coalesce(new.nsp, '/');
END;

-- INSERT: disconnects a socket, as socket.disconnect() does, or many; nothing happens where it has gone. The disconnect
-- handlers of the application run in a process of ours, so that it takes effect a moment later. SELECT: as socket.
DROP VIEW IF EXISTS kick;
CREATE VIEW kick AS
    SELECT nsp,                                 -- INSERT: NULL is the socket's; of a user: all; else '/'
           socket,                              -- who
           NULL AS in_room,                     -- INSERT: or all that are in this room
           NULL AS user,                        -- INSERT: or all sockets of this user
           NULL AS is_all,                      -- INSERT: or 1: all in the namespace
           0 AS is_close,                       -- INSERT: 1 closes the whole connection; NULL is 0
           NULL AS note                         -- INSERT: why, by whom, for the view audit: any text
    FROM socket;

CREATE TRIGGER kick_insert INSTEAD OF INSERT ON kick
BEGIN
    SELECT CASE
        WHEN new.is_all NOT IN (0, 1)
            THEN RAISE(ABORT, 'kick.is_all: must be 0 or 1')
        WHEN (new.socket IS NOT NULL) + (new.in_room IS NOT NULL) + (new.user IS NOT NULL) + coalesce(new.is_all, 0) <> 1
            THEN RAISE(ABORT, 'kick: exactly one of socket, in_room, user and is_all = 1 says who')
        WHEN NOT EXISTS (SELECT 1 FROM t_nsp WHERE (new.nsp IS NULL AND new.socket IS NOT NULL) OR name = coalesce(new.nsp, '/'))
            THEN RAISE(ABORT, 'kick.nsp: no such namespace; allowed: one that the application has; NULL is that of the socket, else /')
        WHEN typeof(new.in_room) NOT IN ('text', 'null')
            THEN RAISE(ABORT, 'kick.in_room: must be text (a room or a socket id)')
        WHEN typeof(new.user) NOT IN ('text', 'null')
            THEN RAISE(ABORT, 'kick.user: must be text')
        WHEN typeof(new.socket) NOT IN ('text', 'null')
            THEN RAISE(ABORT, 'kick.socket: must be the id of a socket')
        WHEN new.is_close NOT IN (0, 1)
            THEN RAISE(ABORT, 'kick.is_close: must be 0 or 1')
        WHEN typeof(new.note) NOT IN ('text', 'null')
            THEN RAISE(ABORT, 'kick.note: must be text or NULL')
        END;
    INSERT INTO t_audit (made_s, verb, what, note)
        VALUES (CAST(strftime('%s', 'now') AS INTEGER), 'kick',
                coalesce(new.nsp || ' ', '') || coalesce('socket ' || new.socket, 'in_room ' || new.in_room, 'user ' || new.user, 'is_all')
                    || iif(new.is_close, ' is_close', ''), new.note);
    INSERT INTO t_control (kind, nsp_id, to_kind, to_id, arg_id)
        SELECT 23, s.nsp_id, 2, s.socket_id, coalesce(new.is_close, 0)
        FROM t_socket s JOIN t_nsp n USING (nsp_id)
        WHERE s.sio_id = new.socket AND s.state = 0 AND (new.nsp IS NULL OR n.name = new.nsp);
    INSERT INTO t_whom (kind, nsp_id, in_room, user, is_all, arg_id)
        SELECT 23, n.nsp_id, new.in_room, new.user, new.is_all, coalesce(new.is_close, 0)
        FROM t_nsp n
        WHERE new.socket IS NULL AND (n.name = coalesce(new.nsp, '/') OR (new.nsp IS NULL AND new.user IS NOT NULL));
    UPDATE t_socket SET state = 2, recovery_pid = NULL -- who was lost does not come back either
        WHERE user = new.user AND state = 1
          AND (new.nsp IS NULL OR nsp_id = (SELECT n.nsp_id FROM t_nsp n WHERE n.name = new.nsp));
END;

-- INSERT: sets socket.data. SELECT: as socket.
DROP VIEW IF EXISTS socket_data;
CREATE VIEW socket_data AS
    SELECT nsp,                                 -- INSERT: may be left out
           socket,                              -- whose
           data                                 -- JSON; INSERT: NULL is 'null'
    FROM socket;

CREATE TRIGGER socket_data_insert INSTEAD OF INSERT ON socket_data
BEGIN
    SELECT CASE
        WHEN typeof(new.socket) <> 'text' OR NOT EXISTS (
            SELECT 1 FROM t_socket s JOIN t_nsp n USING (nsp_id)
            WHERE s.sio_id = new.socket AND s.state = 0 AND (new.nsp IS NULL OR n.name = new.nsp))
            THEN RAISE(ABORT, 'socket_data.socket: must be the id of an open socket of this namespace')
        WHEN new.data IS NOT NULL AND CASE WHEN typeof(new.data) <> 'text' THEN 1
                 ELSE instr(new.data, char(0)) > 0 OR NOT json_valid(new.data) END
            THEN RAISE(ABORT, 'socket_data.data: must be JSON text')
        END;
    UPDATE t_socket SET data = coalesce(new.data, 'null') WHERE sio_id = new.socket;
END;

-- INSERT: says who a socket is. SELECT: as socket.
DROP VIEW IF EXISTS socket_user;
CREATE VIEW socket_user AS
    SELECT nsp,                                 -- INSERT: may be left out
           socket,                              -- whose
           user                                 -- any text; INSERT: NULL is nobody
    FROM socket;

CREATE TRIGGER socket_user_insert INSTEAD OF INSERT ON socket_user
BEGIN
    SELECT CASE
        WHEN typeof(new.socket) <> 'text' OR NOT EXISTS (
            SELECT 1 FROM t_socket s JOIN t_nsp n USING (nsp_id)
            WHERE s.sio_id = new.socket AND s.state = 0 AND (new.nsp IS NULL OR n.name = new.nsp))
            THEN RAISE(ABORT, 'socket_user.socket: must be the id of an open socket of this namespace')
        WHEN typeof(new.user) NOT IN ('text', 'null') OR new.user = ''
            THEN RAISE(ABORT, 'socket_user.user: must be text with at least one character, or NULL')
        END;
    UPDATE t_socket SET user = new.user WHERE sio_id = new.socket;
END;
