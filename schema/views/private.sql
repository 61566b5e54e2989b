-- siolite: the private views, which all the others build on.
--
-- SPDX-License-Identifier: MIT

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
--
-- In here, and in what leads here from control.sql, no function of JSON is used: so joins, leaves and kicks work where
-- trusted_schema is OFF, too.
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

-- close, noop, wake, server event: nothing but the row
CREATE TRIGGER t_control_row INSTEAD OF INSERT ON t_control
WHEN new.kind >= 20 AND NOT (new.kind = 23 AND new.arg_id IS NOT NULL)
BEGIN
    INSERT INTO t_packet (kind, nsp_id, to_kind, to_id, arg_id, origin_id, made_ms, body)
        VALUES (new.kind, new.nsp_id, coalesce(new.to_kind, 0), new.to_id, new.arg_id, new.origin_id,
                coalesce(new.made_ms, (SELECT now_ms FROM t_now)), new.body);
END;

-- all that the row's target names are kicked; arg_id: 1 closes their connections, too. A job for each hundred of them.
CREATE TRIGGER t_control_kick INSTEAD OF INSERT ON t_control
WHEN new.kind = 23 AND new.arg_id IS NOT NULL
BEGIN
    INSERT INTO t_packet (kind, nsp_id, to_kind, to_id, to_list, made_ms)
        VALUES (23, new.nsp_id, new.to_kind, new.to_id, new.to_list, (SELECT now_ms FROM t_now));
    INSERT INTO t_job (name, args)
        SELECT 'kick', '{"close":' || new.arg_id || ',"sockets":[' || group_concat(d.socket_id) || ']}'
        FROM (SELECT socket_id, row_number() OVER () / 100 AS part FROM t_due) d GROUP BY d.part;
END;
