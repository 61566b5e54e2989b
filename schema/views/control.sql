-- siolite: the verbs that change who is where, as views that one INSERTs into; what is said in emit.sql is true here too.
--
--   INSERT INTO room_join (socket, room) VALUES ('JjxVQdFdZUnPKXuAAAAB', 'lobby');
--   INSERT INTO kick (socket) VALUES ('JjxVQdFdZUnPKXuAAAAB');
--
-- SPDX-License-Identifier: MIT

-- INSERT: a socket joins a room. SELECT: as member.
DROP VIEW IF EXISTS room_join;
CREATE VIEW room_join AS
    SELECT nsp,                                 -- the socket's namespace; INSERT: may be left out
           socket,                              -- who
           room                                 -- where
    FROM member;

CREATE TRIGGER room_join_insert INSTEAD OF INSERT ON room_join
BEGIN
    SELECT CASE
        WHEN NOT EXISTS (SELECT 1 FROM t_nsp WHERE new.nsp IS NULL OR name = new.nsp)
            THEN RAISE(ABORT, 'room_join.nsp: no such namespace; allowed: that of the socket, or leave it out')
        WHEN typeof(new.socket) <> 'text' OR NOT EXISTS (
            SELECT 1 FROM t_socket s JOIN t_nsp n USING (nsp_id)
            WHERE s.sio_id = new.socket AND s.state = 0 AND (new.nsp IS NULL OR n.name = new.nsp))
            THEN RAISE(ABORT, 'room_join.socket: must be the id of an open socket of this namespace')
        WHEN typeof(new.room) <> 'text'
            THEN RAISE(ABORT, 'room_join.room: must be text')
        WHEN EXISTS (
            SELECT 1 FROM t_socket s JOIN t_member m USING (socket_id) WHERE s.sio_id = new.socket
            AND m.until_seq IS NULL LIMIT 1 OFFSET (SELECT n_rooms_max - 1 FROM t_meta)) AND NOT EXISTS (
            SELECT 1 FROM member WHERE socket = new.socket AND room = new.room)
            THEN RAISE(ABORT, 'room_join.socket: is in max_rooms rooms')
        END;
    INSERT OR IGNORE INTO t_room (nsp_id, name, idle_seq)
        SELECT s.nsp_id, new.room, coalesce((SELECT max(seq) FROM t_packet), 0) FROM t_socket s
        WHERE s.sio_id = new.socket;
    INSERT INTO t_control (kind, nsp_id, to_kind, to_id, arg_id)
        SELECT 16, s.nsp_id, 2, s.socket_id, r.room_id
        FROM t_socket s JOIN t_room r ON r.nsp_id = s.nsp_id AND r.name = new.room
        WHERE s.sio_id = new.socket AND NOT EXISTS (
            SELECT 1 FROM t_member m WHERE m.socket_id = s.socket_id AND m.room_id = r.room_id AND m.until_seq IS NULL);
END;

-- INSERT: a socket leaves a room; nothing happens where it is not in. SELECT: as member.
DROP VIEW IF EXISTS room_leave;
CREATE VIEW room_leave AS
    SELECT nsp,                                 -- the socket's namespace; INSERT: may be left out
           socket,                              -- who
           room                                 -- from where
    FROM member;

CREATE TRIGGER room_leave_insert INSTEAD OF INSERT ON room_leave
BEGIN
    SELECT CASE
        WHEN NOT EXISTS (SELECT 1 FROM t_nsp WHERE new.nsp IS NULL OR name = new.nsp)
            THEN RAISE(ABORT, 'room_leave.nsp: no such namespace; allowed: that of the socket, or leave it out')
        WHEN typeof(new.socket) <> 'text'
            THEN RAISE(ABORT, 'room_leave.socket: must be the id of a socket')
        WHEN typeof(new.room) <> 'text'
            THEN RAISE(ABORT, 'room_leave.room: must be text')
        END;
    INSERT INTO t_control (kind, nsp_id, to_kind, to_id, arg_id)
        SELECT 17, s.nsp_id, 2, s.socket_id, r.room_id
        FROM t_socket s JOIN t_nsp n USING (nsp_id) JOIN t_room r ON r.nsp_id = s.nsp_id AND r.name = new.room
        WHERE s.sio_id = new.socket AND s.state = 0 AND (new.nsp IS NULL OR n.name = new.nsp) AND EXISTS (
            SELECT 1 FROM t_member m WHERE m.socket_id = s.socket_id AND m.room_id = r.room_id AND m.until_seq IS NULL);
END;

-- INSERT: disconnects a socket, as socket.disconnect() does; nothing happens where it has gone. The disconnect handlers of
-- the application run in a process of ours, so that it takes effect a moment later. SELECT: as socket.
DROP VIEW IF EXISTS kick;
CREATE VIEW kick AS
    SELECT nsp,                                 -- the socket's namespace; INSERT: may be left out
           socket,                              -- who
           0 AS is_close                        -- INSERT: 1 closes its whole connection; NULL is 0
    FROM socket;

CREATE TRIGGER kick_insert INSTEAD OF INSERT ON kick
BEGIN
    SELECT CASE
        WHEN NOT EXISTS (SELECT 1 FROM t_nsp WHERE new.nsp IS NULL OR name = new.nsp)
            THEN RAISE(ABORT, 'kick.nsp: no such namespace; allowed: that of the socket, or leave it out')
        WHEN typeof(new.socket) <> 'text'
            THEN RAISE(ABORT, 'kick.socket: must be the id of a socket')
        WHEN new.is_close NOT IN (0, 1)
            THEN RAISE(ABORT, 'kick.is_close: must be 0 or 1')
        END;
    INSERT INTO t_job (name, socket_id, args)
        SELECT 'kick', s.socket_id, '{"close":' || coalesce(new.is_close, 0) || '}'
        FROM t_socket s JOIN t_nsp n USING (nsp_id)
        WHERE s.sio_id = new.socket AND s.state = 0 AND (new.nsp IS NULL OR n.name = new.nsp);
    INSERT INTO t_control (kind)
        SELECT 23 FROM t_socket s JOIN t_nsp n USING (nsp_id)
        WHERE s.sio_id = new.socket AND s.state = 0 AND (new.nsp IS NULL OR n.name = new.nsp);
END;
