-- siolite: who is there.
--
--   SELECT … FROM process, session, nsp, socket, room, member, disconnect
--
-- SPDX-License-Identifier: MIT

-- The programs that run, or died a moment ago.
DROP VIEW IF EXISTS process;
CREATE VIEW process AS
    SELECT p.process_id,                        -- ours; owner of sessions
           p.front,                             -- fcgi, ws (the sidecar), cgi, ctl or hook (the web hook)
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

-- The namespaces that are known: those of the application, and the dynamic ones that somebody is in, or was a moment ago.
DROP VIEW IF EXISTS nsp;
CREATE VIEW nsp AS
    SELECT n.name AS nsp,                       -- its name
           n.is_static,                         -- 1: the application names it
           (SELECT count(*) FROM t_socket s WHERE s.nsp_id = n.nsp_id AND s.state = 0) AS n_sockets -- connected
    FROM t_nsp n;

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
           s.until_seq AS seq,                  -- in which order they went
           NULL AS rooms                        -- INSERT only: those that it was in, JSON array
    FROM t_socket s JOIN t_nsp n USING (nsp_id) CROSS JOIN t_meta t
    WHERE s.state IN (1, 2);

-- INSERT: see incoming.sql.
CREATE TRIGGER t_disconnect_none INSTEAD OF INSERT ON disconnect WHEN 0 BEGIN SELECT 1; END;

-- Which socket is in which room. A socket's own id, which is a room too in Socket.IO, is not among them.
DROP VIEW IF EXISTS member;
CREATE VIEW member AS
    SELECT n.name AS nsp,                       -- the namespace
           r.name AS room,                      -- the room
           s.sio_id AS socket,                  -- the socket
           s.user,                              -- whom the application says it is, or NULL
           s.data,                              -- socket.data, JSON
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
