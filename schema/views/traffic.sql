-- siolite: what goes through, how much, and who is behind.
--
--   SELECT … FROM log, traffic, backlog
--
-- SPDX-License-Identifier: MIT

-- All that happened, in its one order, as far as the log reaches.
DROP VIEW IF EXISTS log;
CREATE VIEW log AS
    SELECT p.seq,                               -- the order
           CASE WHEN t.wall_offset_ms <> 0
                THEN strftime('%Y-%m-%d %H:%M:%f', (p.made_ms + t.wall_offset_ms) / 1000.0, 'unixepoch') END AS time, -- UTC
           CASE p.kind WHEN 0 THEN 'connect' WHEN 1 THEN 'disconnect' WHEN 2 THEN 'event' WHEN 3 THEN 'ack'
                WHEN 4 THEN 'connect_error' WHEN 5 THEN 'event' WHEN 6 THEN 'ack' WHEN 16 THEN 'join' WHEN 17 THEN 'leave'
                WHEN 18 THEN 'lost' WHEN 19 THEN 'gone' WHEN 20 THEN 'close' WHEN 21 THEN 'noop' WHEN 22 THEN 'pong'
                WHEN 23 THEN 'wake' WHEN 24 THEN 'server_event' END AS kind, -- connect, event, ack, disconnect, connect_error: packets to
                                                -- clients; join, leave, lost, gone: of sockets; close, noop, pong: of connections;
                                                -- wake, server_event: for the processes
           (SELECT n.name FROM t_nsp n WHERE n.nsp_id = p.nsp_id) AS nsp, -- NULL: concerns the connection
           CASE WHEN p.kind = 0 THEN (SELECT s.sio_id FROM t_socket s WHERE s.socket_id = p.socket_id)
                ELSE CASE p.to_kind
                     WHEN 1 THEN coalesce((SELECT r.name FROM t_room r WHERE r.room_id = p.to_id), '(forgotten)')
                     WHEN 2 THEN coalesce((SELECT s.sio_id FROM t_socket s WHERE s.socket_id = p.to_id), '(forgotten)')
                     WHEN 4 THEN (SELECT CASE count(DISTINCT w.name) WHEN 1 THEN max(w.name) ELSE json_group_array(DISTINCT w.name) END
                        FROM (SELECT coalesce(r.name, s.sio_id, '(forgotten)') AS name
                              FROM json_each('["' || replace(p.to_list, ',', '","') || '"]') k
                              LEFT JOIN t_room r ON k.value LIKE 'r%' AND r.room_id = CAST(substr(k.value, 2) AS INTEGER)
                              LEFT JOIN t_socket s ON k.value LIKE 's%' AND s.socket_id = CAST(substr(k.value, 2) AS INTEGER)
                             ) w) END
                END AS target,                  -- whom it concerns: a room or socket id; several: a JSON array; NULL: all of nsp
           CASE WHEN p.not_list IS NOT NULL THEN (SELECT CASE count(DISTINCT w.name) WHEN 1 THEN max(w.name) ELSE json_group_array(DISTINCT w.name) END
                        FROM (SELECT coalesce(r.name, s.sio_id, '(forgotten)') AS name
                              FROM json_each('["' || replace(p.not_list, ',', '","') || '"]') k
                              LEFT JOIN t_room r ON k.value LIKE 'r%' AND r.room_id = CAST(substr(k.value, 2) AS INTEGER)
                              LEFT JOIN t_socket s ON k.value LIKE 's%' AND s.socket_id = CAST(substr(k.value, 2) AS INTEGER)
                             ) w)
                ELSE (SELECT s.sio_id FROM t_socket s WHERE s.socket_id = p.skip_id) END AS except_target, -- whom not, likewise
           CASE WHEN p.kind IN (16, 17)
                THEN coalesce((SELECT r.name FROM t_room r WHERE r.room_id = p.arg_id), '(forgotten)') END AS room, -- join, leave
           CASE WHEN p.kind IN (2, 5, 24) AND json_valid(p.body) THEN json_extract(p.body, '$[0]') END AS event, -- its name
           CASE WHEN p.kind IN (2, 5, 24) AND json_valid(p.body) THEN json_remove(p.body, '$[0]')
                WHEN p.kind IN (3, 6) THEN p.body END AS args, -- JSON array
           CASE WHEN p.kind IN (18, 19, 20) THEN p.body END AS reason, -- lost, gone, close: why
           CASE p.to_kind WHEN 3 THEN p.to_id END AS session_id,       -- the connection that it concerns alone
           p.origin_id AS process_id            -- who wrote it; NULL: an INSERT from outside
    FROM t_packet p CROSS JOIN t_meta t;

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
