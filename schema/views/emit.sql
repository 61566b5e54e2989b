-- siolite: to emit is to INSERT INTO a view.
--
--   INSERT INTO emit (event, args) VALUES ('news', '["hello", {"n": 1}]');                  -- to everybody in '/'
--   INSERT INTO emit (nsp, room, event, args) VALUES ('/chat', 'lobby', 'said', '["hi"]');  -- to a room
--
-- An INSERT stands in the transaction of the program that does it: after a ROLLBACK nobody hears of it. These run in the
-- connections of others, so nothing but SQLite's built-in functions is used; `PRAGMA trusted_schema` must be ON (the
-- default) with SQLite before 3.41, whose JSON functions are not usable in triggers otherwise. last_insert_rowid() and
-- changes() say nothing after an INSERT into a view.
--
-- SPDX-License-Identifier: MIT

-- SELECT: the events that are still in the log. INSERT: emits one. Whom it is for: those in `room`, in one of `rooms`, or of
-- `user`; everybody in `nsp` if all three are NULL; but nobody in `except_room` or one of `except_rooms`.
DROP VIEW IF EXISTS emit;
CREATE VIEW emit AS
    SELECT n.name AS nsp,                       -- the namespace; INSERT: NULL is '/'
           CASE p.to_kind                       -- one room or socket id
           WHEN 1 THEN coalesce((SELECT r.name FROM t_room r WHERE r.room_id = p.to_id), '(forgotten)')
           WHEN 2 THEN coalesce((SELECT s.sio_id FROM t_socket s WHERE s.socket_id = p.to_id), '(forgotten)')
           WHEN 4 THEN (SELECT CASE count(DISTINCT w.name) WHEN 1 THEN max(w.name) END
            FROM (SELECT coalesce(r.name, s.sio_id, '(forgotten)') AS name
                  FROM json_each('["' || replace(p.to_list, ',', '","') || '"]') k
                  LEFT JOIN t_room r ON k.value LIKE 'r%' AND r.room_id = CAST(substr(k.value, 2) AS INTEGER)
                  LEFT JOIN t_socket s ON k.value LIKE 's%' AND s.socket_id = CAST(substr(k.value, 2) AS INTEGER)) w) END AS room,
           (SELECT CASE WHEN count(DISTINCT w.name) > 1 THEN json_group_array(DISTINCT w.name) END
            FROM (SELECT coalesce(r.name, s.sio_id, '(forgotten)') AS name
                  FROM json_each('["' || replace(p.to_list, ',', '","') || '"]') k
                  LEFT JOIN t_room r ON k.value LIKE 'r%' AND r.room_id = CAST(substr(k.value, 2) AS INTEGER)
                  LEFT JOIN t_socket s ON k.value LIKE 's%' AND s.socket_id = CAST(substr(k.value, 2) AS INTEGER)) w) AS rooms,        -- several: a JSON array
           (SELECT CASE count(DISTINCT w.name) WHEN 1 THEN max(w.name) END
            FROM (SELECT coalesce(r.name, s.sio_id, '(forgotten)') AS name
                  FROM json_each('["' || replace(p.not_list, ',', '","') || '"]') k
                  LEFT JOIN t_room r ON k.value LIKE 'r%' AND r.room_id = CAST(substr(k.value, 2) AS INTEGER)
                  LEFT JOIN t_socket s ON k.value LIKE 's%' AND s.socket_id = CAST(substr(k.value, 2) AS INTEGER)) w) AS except_room,   -- who does not get it, in the same form
           (SELECT CASE WHEN count(DISTINCT w.name) > 1 THEN json_group_array(DISTINCT w.name) END
            FROM (SELECT coalesce(r.name, s.sio_id, '(forgotten)') AS name
                  FROM json_each('["' || replace(p.not_list, ',', '","') || '"]') k
                  LEFT JOIN t_room r ON k.value LIKE 'r%' AND r.room_id = CAST(substr(k.value, 2) AS INTEGER)
                  LEFT JOIN t_socket s ON k.value LIKE 's%' AND s.socket_id = CAST(substr(k.value, 2) AS INTEGER)) w) AS except_rooms,       -- several, likewise
           NULL AS user,                        -- INSERT only: all sockets of this user, as they are now
           CASE WHEN json_valid(p.body) THEN json_extract(p.body, '$[0]') END AS event, -- its name
           CASE WHEN json_valid(p.body) THEN json_remove(p.body, '$[0]') END AS args, -- JSON array; INSERT: NULL is '[]'
           p.is_volatile,                       -- 1: only to who can be reached right now; INSERT: NULL is 0
           p.is_plain,                          -- 1: is not compressed; INSERT: NULL is 0
           p.attachments,                       -- binary data: BLOBs, each behind its length (4 bytes, big endian). Their places in
                                                -- args are {"_placeholder":true,"num":0} …; INSERT: without these they follow args
           NULL AS attachment,                  -- INSERT only: one BLOB as it is
           (SELECT s.sio_id FROM t_socket s WHERE s.socket_id = p.skip_id) AS skip_socket, -- shown only: who is left out, the sender
           p.is_local,                          -- shown only; 1: only at the process that emitted it
           p.is_ask,                            -- shown only; 1: the receivers are asked for an answer
           p.kind = 5 AS is_binary,             -- shown only; 1: the places of binary data are marked in args
           p.seq                                -- shown only: place in the log
    FROM t_packet p JOIN t_nsp n USING (nsp_id)
    WHERE p.kind IN (2, 5);

-- Nobody there: no row. args go out as they are written here, numbers of any size included.
CREATE TRIGGER emit_insert INSTEAD OF INSERT ON emit
BEGIN
    SELECT CASE
        WHEN typeof(new.event) <> 'text'
            THEN RAISE(ABORT, 'emit.event: must be text')
        WHEN new.event IN ('connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener')
            THEN RAISE(ABORT, 'emit.event: must not be one of the reserved names connect, connect_error, disconnect, disconnecting, newListener, removeListener')
        WHEN new.is_volatile NOT IN (0, 1)
            THEN RAISE(ABORT, 'emit.is_volatile: must be 0 or 1')
        WHEN new.is_plain NOT IN (0, 1)
            THEN RAISE(ABORT, 'emit.is_plain: must be 0 or 1')
        WHEN new.seq IS NOT NULL
            THEN RAISE(ABORT, 'emit.seq: is given by the log, leave it out')
        WHEN new.skip_socket IS NOT NULL
            THEN RAISE(ABORT, 'emit.skip_socket: cannot be set, use except_room')
        WHEN coalesce(new.is_local, 0) <> 0
            THEN RAISE(ABORT, 'emit.is_local: cannot be set: who INSERTs holds no client')
        WHEN coalesce(new.is_ask, 0) <> 0
            THEN RAISE(ABORT, 'emit.is_ask: cannot be set, INSERT INTO ask')
        WHEN coalesce(new.is_binary, 0) <> 0
            THEN RAISE(ABORT, 'emit.is_binary: cannot be set, use attachments')
        END;
    INSERT INTO t_aim (verb, kind, nsp, room, rooms, except_room, except_rooms, user, event, args, is_volatile, is_plain,
                       attachments, attachment, n_attachments)
        VALUES ('emit', 2, new.nsp, new.room, new.rooms, new.except_room, new.except_rooms, new.user, new.event, new.args,
                new.is_volatile, new.is_plain, new.attachments, new.attachment,
                iif(new.attachments IS NULL AND new.attachment IS NULL, 0, NULL));
END;

-- INSERT: an event for the handlers of the other processes (C: app_on_server_event), as io.serverSideEmit(). SELECT: those
-- that are still in the log.
DROP VIEW IF EXISTS server_emit;
CREATE VIEW server_emit AS
    SELECT n.name AS nsp,                       -- the namespace; INSERT: NULL is '/'
           CASE WHEN json_valid(p.body) THEN json_extract(p.body, '$[0]') END AS event, -- its name
           CASE WHEN json_valid(p.body) THEN json_remove(p.body, '$[0]') END AS args, -- JSON array; INSERT: NULL is '[]'
           p.seq                                -- shown only: place in the log
    FROM t_packet p JOIN t_nsp n USING (nsp_id)
    WHERE p.kind = 24;

CREATE TRIGGER server_emit_insert INSTEAD OF INSERT ON server_emit
BEGIN
    SELECT CASE
        WHEN NOT EXISTS (SELECT 1 FROM t_nsp WHERE name = coalesce(new.nsp, '/'))
            THEN RAISE(ABORT, 'server_emit.nsp: no such namespace; allowed: one that the application has, or NULL for /')
        WHEN typeof(new.event) <> 'text'
            THEN RAISE(ABORT, 'server_emit.event: must be text')
        WHEN new.event IN ('connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener')
            THEN RAISE(ABORT, 'server_emit.event: must not be one of the reserved names connect, connect_error, disconnect, disconnecting, newListener, removeListener')
        WHEN new.args IS NOT NULL AND (typeof(new.args) <> 'text' OR instr(new.args, char(0)) > 0 OR NOT json_valid(new.args))
            THEN RAISE(ABORT, 'server_emit.args: must be a JSON array')
        WHEN json_type(new.args) <> 'array'
            THEN RAISE(ABORT, 'server_emit.args: must be a JSON array')
        WHEN new.seq IS NOT NULL
            THEN RAISE(ABORT, 'server_emit.seq: is given by the log, leave it out')
        END;
    INSERT INTO t_control (kind, nsp_id, to_id, body)
        SELECT 24, n.nsp_id, n.nsp_id,
               CASE WHEN coalesce(json_array_length(new.args), 0) = 0 THEN '[' || json_quote(new.event) || ']'
                    ELSE '[' || json_quote(new.event) || ',' || substr(ltrim(new.args, char(9, 10, 13, 32)), 2) END
        FROM t_nsp n WHERE n.name = coalesce(new.nsp, '/');
END;
