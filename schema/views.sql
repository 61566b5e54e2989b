-- siolite: the views, made anew at every migration. First the private ones (t_…), then the administrator's interface:
--
--   SELECT … FROM process, session, socket, room, member, disconnect, emit    what is going on
--   SELECT … FROM traffic, backlog                                            how much, and who is behind
--   INSERT INTO emit, room_join, room_leave, kick                             do something, from any program with SQLite
--
--   INSERT INTO emit (event, args) VALUES ('news', '["hello", {"n": 1}]');                  -- to everybody in '/'
--   INSERT INTO emit (nsp, room, event, args) VALUES ('/chat', 'lobby', 'said', '["hi"]');  -- to a room
--   INSERT INTO kick (socket) VALUES ('JjxVQdFdZUnPKXuAAAAB');
--
-- An INSERT stands in the transaction of the program that does it: after a ROLLBACK nobody hears of it. These run in the
-- connections of others, so nothing but SQLite's built-in functions is used; `PRAGMA trusted_schema` must be ON (the
-- default) with SQLite before 3.41, whose JSON functions are not usable in triggers otherwise. last_insert_rowid() and
-- changes() say nothing after an INSERT into a view.
--
-- SPDX-License-Identifier: MIT

-- ------------------------------------------------------------------------------------------- private

-- What time it is in CLOCK_BOOTTIME, for outsiders; where no process of ours ever ran, that of the newest row.
DROP VIEW IF EXISTS t_now;
CREATE VIEW t_now AS
    SELECT CASE wall_offset_ms
               WHEN 0 THEN coalesce((SELECT made_ms FROM t_packet ORDER BY seq DESC LIMIT 1), 0)
               ELSE CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER) - wall_offset_ms
           END AS now_ms
    FROM t_meta;

-- The open sockets that the NEWEST row goes to, by who is where now, each once: for the statement that appends it. Every
-- arm names the row by itself, because SQLite does not push a condition into a compound with EXCEPT.
DROP VIEW IF EXISTS t_due;
CREATE VIEW t_due AS
    SELECT s.socket_id FROM t_packet p CROSS JOIN t_socket s ON s.socket_id = p.to_id AND s.state = 0
        WHERE p.seq = (SELECT max(seq) FROM t_packet) AND p.to_kind = 2
    UNION SELECT m.socket_id FROM t_packet p CROSS JOIN t_member m ON m.room_id = p.to_id AND m.until_seq IS NULL
        WHERE p.seq = (SELECT max(seq) FROM t_packet) AND p.to_kind = 1
    UNION SELECT s.socket_id FROM t_packet p CROSS JOIN t_socket s ON s.nsp_id = p.nsp_id AND s.state = 0
        WHERE p.seq = (SELECT max(seq) FROM t_packet) AND p.to_kind = 0
    UNION SELECT m.socket_id FROM t_packet p
        CROSS JOIN json_each('["' || replace(p.to_list, ',', '","') || '"]') k
        CROSS JOIN t_member m ON m.room_id = CAST(substr(k.value, 2) AS INTEGER) AND m.until_seq IS NULL
        WHERE p.seq = (SELECT max(seq) FROM t_packet) AND p.to_kind = 4 AND k.value LIKE 'r%'
    UNION SELECT s.socket_id FROM t_packet p
        CROSS JOIN json_each('["' || replace(p.to_list, ',', '","') || '"]') k
        CROSS JOIN t_socket s ON s.socket_id = CAST(substr(k.value, 2) AS INTEGER) AND s.state = 0
        WHERE p.seq = (SELECT max(seq) FROM t_packet) AND p.to_kind = 4 AND k.value LIKE 's%'
    EXCEPT SELECT m.socket_id FROM t_packet p
        CROSS JOIN json_each('["' || replace(p.not_list, ',', '","') || '"]') k
        CROSS JOIN t_member m ON m.room_id = CAST(substr(k.value, 2) AS INTEGER) AND m.until_seq IS NULL
        WHERE p.seq = (SELECT max(seq) FROM t_packet) AND k.value LIKE 'r%'
    EXCEPT SELECT CAST(substr(k.value, 2) AS INTEGER) FROM t_packet p
        CROSS JOIN json_each('["' || replace(p.not_list, ',', '","') || '"]') k
        WHERE p.seq = (SELECT max(seq) FROM t_packet) AND k.value LIKE 's%'
    EXCEPT SELECT p.skip_id FROM t_packet p
        WHERE p.seq = (SELECT max(seq) FROM t_packet) AND p.skip_id IS NOT NULL;

-- INSERT appends a control row and does its work: the only writer of t_member, and the only one that ends a socket.
-- made_ms may be NULL: now. RETURNING (SELECT max(seq) FROM t_packet) gives the seq.
DROP VIEW IF EXISTS t_control;
CREATE VIEW t_control AS
    SELECT kind, nsp_id, to_kind, to_id, to_list, not_list, skip_id, arg_id, socket_id, origin_id, made_ms, body
    FROM t_packet WHERE kind >= 16;

-- one socket joins arg_id
CREATE TRIGGER t_control_join INSTEAD OF INSERT ON t_control
WHEN new.kind = 16 AND new.to_kind = 2 AND new.skip_id IS NULL AND new.not_list IS NULL
BEGIN
    INSERT INTO t_packet (kind, nsp_id, to_kind, to_id, arg_id, origin_id, made_ms)
        VALUES (16, new.nsp_id, 2, new.to_id, new.arg_id, new.origin_id,
                coalesce(new.made_ms, (SELECT now_ms FROM t_now)));
    INSERT INTO t_member (socket_id, room_id, since_seq)
        SELECT s.socket_id, new.arg_id, last_insert_rowid() FROM t_socket s
        WHERE s.socket_id = new.to_id AND s.state = 0
          AND NOT EXISTS (SELECT 1 FROM t_member m WHERE m.socket_id = s.socket_id AND m.room_id = new.arg_id
                          AND m.until_seq IS NULL);
    UPDATE t_room SET idle_seq = NULL WHERE room_id = new.arg_id AND idle_seq IS NOT NULL
        AND EXISTS (SELECT 1 FROM t_member m WHERE m.room_id = new.arg_id AND m.until_seq IS NULL);
END;

-- all that the row's target names join arg_id
CREATE TRIGGER t_control_join_set INSTEAD OF INSERT ON t_control
WHEN new.kind = 16 AND NOT (new.to_kind = 2 AND new.skip_id IS NULL AND new.not_list IS NULL)
BEGIN
    INSERT INTO t_packet (kind, nsp_id, to_kind, to_id, to_list, not_list, skip_id, arg_id, origin_id, made_ms)
        VALUES (16, new.nsp_id, new.to_kind, new.to_id, new.to_list, new.not_list, new.skip_id, new.arg_id,
                new.origin_id, coalesce(new.made_ms, (SELECT now_ms FROM t_now)));
    INSERT INTO t_member (socket_id, room_id, since_seq)
        SELECT d.socket_id, new.arg_id, last_insert_rowid() FROM t_due d
        WHERE NOT EXISTS (SELECT 1 FROM t_member m WHERE m.socket_id = d.socket_id AND m.room_id = new.arg_id
                          AND m.until_seq IS NULL);
    UPDATE t_room SET idle_seq = NULL WHERE room_id = new.arg_id AND idle_seq IS NOT NULL
        AND EXISTS (SELECT 1 FROM t_member m WHERE m.room_id = new.arg_id AND m.until_seq IS NULL);
END;

-- one socket leaves arg_id
CREATE TRIGGER t_control_leave INSTEAD OF INSERT ON t_control
WHEN new.kind = 17 AND new.to_kind = 2 AND new.skip_id IS NULL AND new.not_list IS NULL
BEGIN
    INSERT INTO t_packet (kind, nsp_id, to_kind, to_id, arg_id, origin_id, made_ms)
        VALUES (17, new.nsp_id, 2, new.to_id, new.arg_id, new.origin_id,
                coalesce(new.made_ms, (SELECT now_ms FROM t_now)));
    UPDATE t_member SET until_seq = last_insert_rowid()
        WHERE socket_id = new.to_id AND room_id = new.arg_id AND until_seq IS NULL;
    UPDATE t_room SET idle_seq = last_insert_rowid() WHERE room_id = new.arg_id AND idle_seq IS NULL
        AND NOT EXISTS (SELECT 1 FROM t_member m WHERE m.room_id = new.arg_id AND m.until_seq IS NULL);
END;

-- all that the row's target names leave arg_id
CREATE TRIGGER t_control_leave_set INSTEAD OF INSERT ON t_control
WHEN new.kind = 17 AND NOT (new.to_kind = 2 AND new.skip_id IS NULL AND new.not_list IS NULL)
BEGIN
    INSERT INTO t_packet (kind, nsp_id, to_kind, to_id, to_list, not_list, skip_id, arg_id, origin_id, made_ms)
        VALUES (17, new.nsp_id, new.to_kind, new.to_id, new.to_list, new.not_list, new.skip_id, new.arg_id,
                new.origin_id, coalesce(new.made_ms, (SELECT now_ms FROM t_now)));
    UPDATE t_member SET until_seq = last_insert_rowid()
        WHERE room_id = new.arg_id AND until_seq IS NULL
          AND socket_id IN (SELECT socket_id FROM t_due);
    UPDATE t_room SET idle_seq = last_insert_rowid() WHERE room_id = new.arg_id AND idle_seq IS NULL
        AND NOT EXISTS (SELECT 1 FROM t_member m WHERE m.room_id = new.arg_id AND m.until_seq IS NULL);
END;

-- socket to_id ends, 18 lost (may be recovered) or 19 gone; body: the reason
CREATE TRIGGER t_control_end INSTEAD OF INSERT ON t_control WHEN new.kind IN (18, 19)
BEGIN
    INSERT INTO t_packet (kind, nsp_id, to_kind, to_id, origin_id, made_ms, body)
        VALUES (new.kind, new.nsp_id, 2, new.to_id, new.origin_id,
                coalesce(new.made_ms, (SELECT now_ms FROM t_now)), new.body);
    UPDATE t_socket SET state = new.kind - 17, until_seq = last_insert_rowid(), reason = new.body,
            gone_ms = coalesce(new.made_ms, (SELECT now_ms FROM t_now)),
            recovery_pid = CASE new.kind WHEN 18 THEN recovery_pid END
        WHERE socket_id = new.to_id AND state = 0;
    UPDATE t_member SET until_seq = last_insert_rowid() WHERE socket_id = new.to_id AND until_seq IS NULL;
    UPDATE t_room SET idle_seq = last_insert_rowid()
        WHERE room_id IN (SELECT w.room_id FROM t_member w
                          WHERE w.socket_id = new.to_id AND w.until_seq = last_insert_rowid())
          AND NOT EXISTS (SELECT 1 FROM t_member m WHERE m.room_id = t_room.room_id AND m.until_seq IS NULL);
END;

-- close, noop, wake: nothing but the row
CREATE TRIGGER t_control_row INSTEAD OF INSERT ON t_control WHEN new.kind >= 20
BEGIN
    INSERT INTO t_packet (kind, nsp_id, to_kind, to_id, origin_id, made_ms, body)
        VALUES (new.kind, new.nsp_id, coalesce(new.to_kind, 0), new.to_id, new.origin_id,
                coalesce(new.made_ms, (SELECT now_ms FROM t_now)), new.body);
END;

-- ------------------------------------------------------------------------------------------ who is there

-- The programs that run, or died a moment ago.
DROP VIEW IF EXISTS process;
CREATE VIEW process AS
    SELECT p.process_id,                        -- ours; owner of sessions
           p.front,                             -- fcgi, ws (the sidecar), cgi or ctl
           p.os_pid,                            -- the operating system's number
           p.address,                           -- where it listens
           p.is_draining,                       -- 1: it is about to end
           p.is_dead,                           -- 1: it was killed, others are clearing up
           p.last_seq,                          -- it had delivered the log up to here a second ago
           coalesce((SELECT max(seq) FROM t_packet), 0) - p.last_seq AS n_behind, -- rows that it has not seen yet
           p.config_hash,                       -- should be the same everywhere
           CASE WHEN t.wall_offset_ms <> 0
                THEN datetime((p.started_ms + t.wall_offset_ms) / 1000, 'unixepoch') END AS started -- UTC
    FROM t_process p CROSS JOIN t_meta t;

-- Connections (Engine.IO sessions), the closed ones for a while.
DROP VIEW IF EXISTS session;
CREATE VIEW session AS
    SELECT e.session_id,                        -- ours
           substr(e.eio_sid, 1, 6) || '…' AS eio_sid, -- the whole of it is a secret
           CASE l.transport WHEN 0 THEN 'polling' ELSE 'websocket' END AS transport,
           CASE l.state WHEN 0 THEN 'open' ELSE 'closed' END AS state,
           l.owner_id AS process_id,            -- holds its WebSocket or its pending poll; NULL: nobody at this moment
           e.remote,                            -- address of the client
           e.protocol,                          -- of Engine.IO: 4, or 3 for clients 1.x and 2.x
           CASE l.transport WHEN 0 THEN l.cursor_seq
                ELSE (SELECT p.last_seq FROM t_process p WHERE p.process_id = l.owner_id) END AS cursor_seq, -- delivered up to here
           CASE WHEN l.state = 0 THEN coalesce((SELECT max(seq) FROM t_packet), 0) -
                CASE l.transport WHEN 0 THEN l.cursor_seq
                ELSE (SELECT p.last_seq FROM t_process p WHERE p.process_id = l.owner_id) END END AS n_behind, -- rows
                                                -- since; a parked poll that is due nothing stays at its cursor
           l.reason,                            -- why it was closed
           CASE WHEN t.wall_offset_ms <> 0
                THEN datetime((e.started_ms + t.wall_offset_ms) / 1000, 'unixepoch') END AS started -- UTC
    FROM t_session e JOIN t_lease l USING (session_id) CROSS JOIN t_meta t;

-- Who is connected: one row a client and namespace.
DROP VIEW IF EXISTS socket;
CREATE VIEW socket AS
    SELECT s.sio_id AS socket,                  -- socket.id
           n.name AS nsp,                       -- the namespace
           s.user,                              -- whom the application says it is, or NULL
           s.data,                              -- socket.data, JSON
           s.session_id,                        -- its connection
           s.first_seq <> s.since_seq AS is_recovered -- 1: came back with what it had missed
    FROM t_socket s JOIN t_nsp n USING (nsp_id)
    WHERE s.state = 0;

-- Who has gone: at least the last 1000.
DROP VIEW IF EXISTS disconnect;
CREATE VIEW disconnect AS
    SELECT s.sio_id AS socket,                  -- socket.id
           n.name AS nsp,                       -- the namespace
           s.user,                              -- whom the application said it was, or NULL
           s.reason,                            -- as in Socket.IO: 'transport close', 'ping timeout', …
           s.state = 1 AS is_recoverable,       -- 1: may still come back
           CASE WHEN t.wall_offset_ms <> 0
                THEN datetime((s.gone_ms + t.wall_offset_ms) / 1000, 'unixepoch') END AS time, -- UTC
           s.session_id,                        -- its connection
           s.until_seq AS seq                   -- in which order they went
    FROM t_socket s JOIN t_nsp n USING (nsp_id) CROSS JOIN t_meta t
    WHERE s.state IN (1, 2);

-- Which socket is in which room. A socket's own id, which is a room too in Socket.IO, is not among them.
DROP VIEW IF EXISTS member;
CREATE VIEW member AS
    SELECT n.name AS nsp,                       -- the namespace
           r.name AS room,                      -- the room
           s.sio_id AS socket,                  -- the socket
           m.since_seq                          -- row of the log by which it joined
    FROM t_member m JOIN t_room r USING (room_id) JOIN t_socket s USING (socket_id) JOIN t_nsp n ON n.nsp_id = r.nsp_id
    WHERE m.until_seq IS NULL;

-- The rooms that somebody is in.
DROP VIEW IF EXISTS room;
CREATE VIEW room AS
    SELECT n.name AS nsp,                       -- the namespace
           r.name AS room,                      -- the room
           (SELECT count(*) FROM t_member m WHERE m.room_id = r.room_id AND m.until_seq IS NULL) AS n_members -- sockets
    FROM t_room r JOIN t_nsp n USING (nsp_id)
    WHERE r.idle_seq IS NULL;

-- ------------------------------------------------------------------------------------------- how much

-- What went through the log, minute by minute, as far as the log reaches. Reads all of it.
DROP VIEW IF EXISTS traffic;
CREATE VIEW traffic AS
    SELECT CASE WHEN t.wall_offset_ms <> 0
                THEN strftime('%Y-%m-%d %H:%M', (p.made_ms + t.wall_offset_ms) / 1000, 'unixepoch') END AS minute, -- UTC
           count(*) AS n_rows,                  -- all of them
           sum(p.kind IN (2, 5)) AS n_events,   -- emits, one row each whatever the number of receivers
           sum(p.kind IN (3, 6)) AS n_acks,     -- answers to clients
           sum(p.kind = 0) AS n_connects,       -- sockets that joined a namespace
           sum(p.kind IN (18, 19)) AS n_disconnects, -- sockets that ended
           sum(coalesce(length(CAST(p.body AS BLOB)), 0) + coalesce(length(p.attachments), 0)) AS n_bytes -- of their contents
    FROM t_packet p CROSS JOIN t_meta t
    GROUP BY (p.made_ms + t.wall_offset_ms) / 60000;

-- Open connections, and what waits for each of them in the log. Only a client that does not poll at this moment is owed
-- rows. What waits for a WebSocket is in the memory of its sidecar (at most max_queue): NULL. Reads the log once for each
-- polling client that is away.
DROP VIEW IF EXISTS backlog;
CREATE VIEW backlog AS
    SELECT e.session_id,                        -- ours
           e.remote,                            -- address of the client
           CASE l.transport WHEN 0 THEN 'polling' ELSE 'websocket' END AS transport,
           l.owner_id IS NOT NULL AS is_there,  -- 1: a process holds its poll or its WebSocket; 0: its next poll is awaited
           CASE l.transport WHEN 0 THEN count(p.seq) END AS n_queued, -- packets that wait for it
           CASE l.transport WHEN 0
                THEN coalesce(sum(coalesce(length(CAST(p.body AS BLOB)), 0) + coalesce(length(p.attachments), 0)), 0)
           END AS queued_bytes,                 -- of their contents
           CASE l.transport WHEN 0
                THEN coalesce(((SELECT now_ms FROM t_now) - min(p.made_ms)) / 1000, 0) END AS queued_s -- age of the oldest
    FROM t_lease l JOIN t_session e USING (session_id)
    LEFT JOIN t_packet p ON l.transport = 0 AND l.owner_id IS NULL AND p.seq > l.cursor_seq
        AND p.kind <= 6 AND NOT p.is_volatile AND NOT p.is_local
        AND (p.to_kind = 3 AND p.to_id = l.session_id OR EXISTS (
            SELECT 1 FROM t_socket s
            WHERE s.session_id = l.session_id AND p.seq > s.since_seq AND (s.until_seq IS NULL OR p.seq < s.until_seq)
              AND s.socket_id IS NOT p.skip_id
              AND CASE p.to_kind
                  WHEN 0 THEN p.nsp_id = s.nsp_id
                  WHEN 1 THEN EXISTS (SELECT 1 FROM t_member m WHERE m.socket_id = s.socket_id AND m.room_id = p.to_id
                                      AND m.since_seq < p.seq AND (m.until_seq IS NULL OR p.seq < m.until_seq))
                  WHEN 2 THEN p.to_id = s.socket_id
                  WHEN 4 THEN EXISTS (
                      SELECT 1 FROM json_each('["' || replace(p.to_list, ',', '","') || '"]') k
                      LEFT JOIN t_member m ON k.value LIKE 'r%' AND m.socket_id = s.socket_id
                          AND m.room_id = CAST(substr(k.value, 2) AS INTEGER)
                          AND m.since_seq < p.seq AND (m.until_seq IS NULL OR p.seq < m.until_seq)
                      WHERE m.room_id IS NOT NULL OR k.value = 's' || s.socket_id)
                  END
              AND NOT EXISTS (
                  SELECT 1 FROM json_each('["' || replace(p.not_list, ',', '","') || '"]') k
                  LEFT JOIN t_member m ON k.value LIKE 'r%' AND m.socket_id = s.socket_id
                      AND m.room_id = CAST(substr(k.value, 2) AS INTEGER)
                      AND m.since_seq < p.seq AND (m.until_seq IS NULL OR p.seq < m.until_seq)
                  WHERE m.room_id IS NOT NULL OR k.value = 's' || s.socket_id)))
    WHERE l.state = 0
    GROUP BY l.session_id;

-- ------------------------------------------------------------------------------------------------- emit

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

-- ------------------------------------------------------------------------------ room_join, room_leave, kick

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
