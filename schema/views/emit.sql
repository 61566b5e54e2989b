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

-- SELECT: the events that are still in the log. INSERT: emits one.
DROP VIEW IF EXISTS emit;
CREATE VIEW emit AS
    SELECT n.name AS nsp,                       -- the namespace; INSERT: NULL is '/'
           CASE p.to_kind WHEN 0 THEN NULL      -- NULL: everybody in the namespace. INSERT: one room or socket id
                WHEN 1 THEN coalesce((SELECT r.name FROM t_room r WHERE r.room_id = p.to_id), '(forgotten)')
                WHEN 2 THEN coalesce((SELECT s.sio_id FROM t_socket s WHERE s.socket_id = p.to_id), '(forgotten)')
                ELSE (SELECT CASE count(DISTINCT w.name) WHEN 1 THEN max(w.name)
                                  ELSE json_group_array(DISTINCT w.name) END -- several: a JSON array
                      FROM (SELECT coalesce(r.name, s.sio_id, '(forgotten)') AS name
                            FROM json_each('["' || replace(p.to_list, ',', '","') || '"]') k
                            LEFT JOIN t_room r ON k.value LIKE 'r%' AND r.room_id = CAST(substr(k.value, 2) AS INTEGER)
                            LEFT JOIN t_socket s ON k.value LIKE 's%' AND s.socket_id = CAST(substr(k.value, 2) AS INTEGER)
                           ) w)
           END AS room,
           CASE WHEN p.not_list IS NOT NULL     -- who does not get it, in the same form
                THEN (SELECT CASE count(DISTINCT w.name) WHEN 1 THEN max(w.name)
                                  ELSE json_group_array(DISTINCT w.name) END
                      FROM (SELECT coalesce(r.name, s.sio_id, '(forgotten)') AS name
                            FROM json_each('["' || replace(p.not_list, ',', '","') || '"]') k
                            LEFT JOIN t_room r ON k.value LIKE 'r%' AND r.room_id = CAST(substr(k.value, 2) AS INTEGER)
                            LEFT JOIN t_socket s ON k.value LIKE 's%' AND s.socket_id = CAST(substr(k.value, 2) AS INTEGER)
                           ) w)
           END AS except_room,
           CASE WHEN json_valid(p.body) THEN json_extract(p.body, '$[0]') END AS event, -- its name
           CASE WHEN json_valid(p.body) THEN json_remove(p.body, '$[0]') END AS args, -- JSON array; INSERT: NULL is '[]'
           p.is_volatile,                       -- 1: only to who can be reached right now; INSERT: NULL is 0
           -- the rest is shown only:
           (SELECT s.sio_id FROM t_socket s WHERE s.socket_id = p.skip_id) AS skip_socket, -- who is left out: the sender
           p.is_local,                          -- 1: only at the process that emitted it
           p.is_ask,                            -- 1: the receivers are asked for an answer
           p.kind = 5 AS is_binary,             -- 1: the places of binary data are marked in args
           p.seq                                -- place in the log
    FROM t_packet p JOIN t_nsp n USING (nsp_id)
    WHERE p.kind IN (2, 5);

-- Nobody there: no row. args go out as they are written here, numbers of any size included.
CREATE TRIGGER emit_insert INSTEAD OF INSERT ON emit
BEGIN
    SELECT CASE
        WHEN NOT EXISTS (SELECT 1 FROM t_nsp WHERE name = coalesce(new.nsp, '/'))
            THEN RAISE(ABORT, 'emit.nsp: no such namespace; allowed: one that the application has, or NULL for /')
        WHEN typeof(new.room) NOT IN ('text', 'null')
            THEN RAISE(ABORT, 'emit.room: must be text (a room or a socket id) or NULL (everybody)')
        WHEN typeof(new.except_room) NOT IN ('text', 'null')
            THEN RAISE(ABORT, 'emit.except_room: must be text (a room or a socket id) or NULL')
        WHEN typeof(new.event) <> 'text'
            THEN RAISE(ABORT, 'emit.event: must be text')
        WHEN new.event IN ('connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener')
            THEN RAISE(ABORT, 'emit.event: must not be one of the reserved names connect, connect_error, disconnect, disconnecting, newListener, removeListener')
        WHEN typeof(new.args) NOT IN ('text', 'null')
            THEN RAISE(ABORT, 'emit.args: must be a JSON array or NULL')
        WHEN new.args IS NOT NULL AND (instr(new.args, char(0)) > 0 OR NOT json_valid(new.args))
            THEN RAISE(ABORT, 'emit.args: must be a JSON array')
        WHEN json_type(new.args) <> 'array'
            THEN RAISE(ABORT, 'emit.args: must be a JSON array')
        WHEN new.is_volatile NOT IN (0, 1)
            THEN RAISE(ABORT, 'emit.is_volatile: must be 0 or 1')
        WHEN new.seq IS NOT NULL
            THEN RAISE(ABORT, 'emit.seq: is given by the log, leave it out')
        WHEN new.skip_socket IS NOT NULL
            THEN RAISE(ABORT, 'emit.skip_socket: cannot be set, use except_room')
        WHEN coalesce(new.is_local, 0) <> 0
            THEN RAISE(ABORT, 'emit.is_local: cannot be set')
        WHEN coalesce(new.is_ask, 0) <> 0
            THEN RAISE(ABORT, 'emit.is_ask: cannot be set')
        WHEN coalesce(new.is_binary, 0) <> 0
            THEN RAISE(ABORT, 'emit.is_binary: cannot be set')
        END;
    INSERT INTO t_packet (kind, nsp_id, to_kind, to_id, to_list, not_list, is_volatile, made_ms, body)
        SELECT 2, t.nsp_id,
               CASE WHEN new.room IS NULL THEN 0
                    WHEN t.room_id IS NOT NULL AND t.socket_id IS NOT NULL THEN 4
                    WHEN t.room_id IS NOT NULL THEN 1
                    ELSE 2 END,
               CASE WHEN new.room IS NULL THEN t.nsp_id
                    WHEN t.room_id IS NULL OR t.socket_id IS NULL THEN coalesce(t.room_id, t.socket_id) END,
               CASE WHEN t.room_id IS NOT NULL AND t.socket_id IS NOT NULL
                    THEN 'r' || t.room_id || ',s' || t.socket_id END,
               CASE WHEN t.not_room_id IS NOT NULL AND t.not_socket_id IS NOT NULL
                    THEN 'r' || t.not_room_id || ',s' || t.not_socket_id
                    ELSE coalesce('r' || t.not_room_id, 's' || t.not_socket_id) END,
               coalesce(new.is_volatile, 0),
               (SELECT now_ms FROM t_now),
               CASE WHEN coalesce(json_array_length(new.args), 0) = 0 THEN '[' || json_quote(new.event) || ']'
                    ELSE '[' || json_quote(new.event) || ',' || substr(ltrim(new.args, char(9, 10, 13, 32)), 2) END
        FROM (SELECT n.nsp_id,
                     (SELECT r.room_id FROM t_room r WHERE r.nsp_id = n.nsp_id AND r.name = new.room
                      AND (r.idle_seq IS NULL OR EXISTS (SELECT 1 FROM t_socket WHERE state = 1))) AS room_id,
                     (SELECT s.socket_id FROM t_socket s
                      WHERE s.sio_id = new.room AND s.nsp_id = n.nsp_id AND s.state < 2) AS socket_id,
                     (SELECT r.room_id FROM t_room r WHERE r.nsp_id = n.nsp_id AND r.name = new.except_room) AS not_room_id,
                     (SELECT s.socket_id FROM t_socket s
                      WHERE s.sio_id = new.except_room AND s.nsp_id = n.nsp_id) AS not_socket_id
              FROM t_nsp n WHERE n.name = coalesce(new.nsp, '/') LIMIT 1) t
        WHERE new.room IS NULL OR t.room_id IS NOT NULL OR t.socket_id IS NOT NULL;
END;
